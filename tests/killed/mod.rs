//! Real processes of the built command are killed (SIGKILL) in whatever they are doing: what was acknowledged is there once,
//! producers that send again end with each record once, the answers are those of a model, and nothing is left behind.
//!
//! `WATERSHED_TEST_KILLS` sets how many kills; 24 without it.

mod campaign;
mod ledger;
mod left_behind;
mod payments;

use std::hash::{BuildHasher, RandomState};

use rand::{Rng, SeedableRng, rngs::StdRng};

use self::campaign::Campaign;

const KILLS: u64 = 24;

/// A generator whose seed is printed, and taken from `WATERSHED_TEST_SEED` to repeat the choices of a run (not its timing).
fn generator() -> StdRng {
    let given = number("WATERSHED_TEST_SEED");
    let seed: u64 = given.unwrap_or_else(|| RandomState::new().hash_one("seed"));
    eprintln!("WATERSHED_TEST_SEED={seed} makes these choices again");
    StdRng::seed_from_u64(seed)
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text:?} is not a number")))
}

#[test]
fn processes_killed_in_any_phase_lose_nothing_and_leave_nothing() {
    let kills = number("WATERSHED_TEST_KILLS").unwrap_or(KILLS);
    let mut campaign = Campaign::new(generator());
    // The first three are one of each, so that every run has all.
    campaign.kill_append();
    campaign.kill_batch();
    campaign.kill_up();
    let mut checked_at = 0;
    while campaign.kills() < kills {
        match campaign.random.random_range(0..10) {
            0..4 => campaign.kill_append(),
            4..7 => campaign.kill_up(),
            _ => campaign.kill_batch(),
        }
        if campaign.kills() >= checked_at + 50 {
            checked_at = campaign.kills();
            campaign.check();
        }
    }
    campaign.check();
    campaign.print();
}
