//! A history as data: steps drawn from a seed, which can be run again, and with some of them left out.

use rand::{Rng, SeedableRng, rngs::StdRng};

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Producers send records, several calls at once.
    Append,
    /// Producers that number their records send them, new ones and old ones.
    Produce,
    /// The log writes, syncs and acknowledges.
    Commit,
    /// The speed layer folds what is durable.
    Tail,
    /// The log's active segments are sealed.
    Seal,
    /// The log deletes what the archive holds.
    Retain,
    /// An epoch begins to be recorded.
    Epoch,
    /// A batch run begins.
    Batch,
    /// A garbage collection begins.
    Collect,
    /// The process that holds the log begins to look for a new manifest.
    Follow,
    /// A question is asked to the process that holds the log.
    Ask,
    /// A process of its own begins to read: it pins a manifest, replays the log, and asks now and then.
    Read,
    /// Someone who stands at an operation goes on.
    GoOn,
    /// The process that holds the log dies.
    Kill,
    /// Someone who stands at an operation dies.
    KillOther,
    /// The power fails.
    CutPower,
    /// The definitions change.
    Redefine,
    /// Time goes on, or the clock is set back.
    Clock,
    /// A write that was late has its effect.
    Arrive,
    /// All that can be asked is asked, of batch, speed and both.
    Compare,
}

/// One step. What exactly happens is drawn from its own seed, so that leaving out others changes it as little as may be.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// What happens.
    pub kind: Kind,
    /// From what the rest is drawn.
    pub seed: u64,
}

/// How often each kind is drawn.
const WEIGHTS: &[(Kind, u32)] = &[
    (Kind::Append, 14),
    (Kind::Produce, 12),
    (Kind::Commit, 14),
    (Kind::Tail, 8),
    (Kind::Seal, 4),
    (Kind::Retain, 6),
    (Kind::Epoch, 6),
    (Kind::Batch, 16),
    (Kind::Collect, 8),
    (Kind::Follow, 6),
    (Kind::Ask, 8),
    (Kind::Read, 4),
    (Kind::GoOn, 20),
    (Kind::Kill, 2),
    (Kind::KillOther, 2),
    (Kind::CutPower, 1),
    (Kind::Redefine, 2),
    (Kind::Clock, 6),
    (Kind::Arrive, 3),
    (Kind::Compare, 2),
];

/// The history of a seed.
pub fn draw(seed: u64) -> Vec<Step> {
    let mut rng = StdRng::seed_from_u64(seed);
    let sum: u32 = WEIGHTS.iter().map(|(_, weight)| weight).sum();
    let step = |rng: &mut StdRng| {
        let mut drawn = rng.random_range(0..sum);
        let found = WEIGHTS.iter().find(|(_, weight)| {
            let here = drawn < *weight;
            drawn = drawn.saturating_sub(*weight);
            here
        });
        Step { kind: found.map_or(Kind::GoOn, |(kind, _)| *kind), seed: rng.random() }
    };
    (0..rng.random_range(15..60)).map(|_| step(&mut rng)).collect()
}

/// A shorter history that still fails: steps are left out, first many at a time, as long as `fails` says so and at most
/// `attempts_max` times.
pub fn shrink(steps: Vec<Step>, attempts_max: usize, fails: impl Fn(&[Step]) -> bool) -> Vec<Step> {
    let mut left = steps;
    let (mut attempts, mut size) = (0, left.len() / 2);
    while size > 0 {
        let mut at = 0;
        while at < left.len() && attempts < attempts_max {
            attempts += 1;
            let mut shorter = left.clone();
            shorter.drain(at..(at + size).min(left.len()));
            if fails(&shorter) {
                left = shorter;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    left
}
