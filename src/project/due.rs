//! Which batch runs are due: by the schedule, and again after a failure that may pass.
//!
//! The schedule goes by the clock on the wall, which may be set. So it is enough that each instant at which the schedule
//! fires is taken once:
//! - set forward, the clock passes over instants: they are one run, at once;
//! - set back, it comes to instants that were taken already: they are not taken again.
//!
//! Only if it is set back by more than a day, the earlier reading was wrong and the schedule begins anew. Everything that is a
//! length of time (how long to wait, when to try again) goes by the monotonic clock.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use watershed_batch::Schedule;

/// How often to look, at least: the clock may have been set.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long after a failed run another one may begin.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(60);
/// A clock that is set back further than this was wrong before.
const SET_BACK_MAX: TimeDelta = TimeDelta::days(1);

/// What is due.
#[derive(Debug)]
pub(super) struct Due {
    schedule: Option<Schedule>,
    /// Instants up to this one have been taken.
    taken: DateTime<Utc>,
    failed: Option<Failed>,
}

/// The last run failed.
#[derive(Clone, Copy, Debug)]
struct Failed {
    at: Instant,
    may_pass: bool,
}

impl Due {
    /// What is due by `schedule`, if the last run began at `last_run`.
    pub(super) fn new(schedule: Option<Schedule>, last_run: DateTime<Utc>) -> Due {
        Due { schedule, taken: last_run, failed: None }
    }

    /// Whether a run should begin: the schedule has fired, or what failed may have passed by now.
    pub(super) fn is_due(&mut self, now: DateTime<Utc>, at: Instant) -> bool {
        if self.taken - now > SET_BACK_MAX {
            tracing::warn!(from = %self.taken, to = %now, "the clock was set back; the schedule begins anew");
            self.taken = now;
        }
        self.has_fired(now) || self.failed.is_some_and(|failed| failed.may_pass && at >= failed.at + RETRY_AFTER)
    }

    fn has_fired(&self, now: DateTime<Utc>) -> bool {
        self.schedule.as_ref().is_some_and(|schedule| schedule.is_due(self.taken, now))
    }

    /// Whether a run that nobody's schedule asks for may begin.
    pub(super) fn may_begin_early(&self, at: Instant) -> bool {
        self.failed.is_none_or(|failed| at >= failed.at + RETRY_AFTER)
    }

    /// A run begins: the instants up to now are taken. (One that is under way already does not cover them.)
    pub(super) fn begun(&mut self, now: DateTime<Utc>) {
        if self.has_fired(now) {
            self.taken = now;
        }
        self.failed = None;
    }

    /// The run has failed.
    pub(super) fn failed(&mut self, at: Instant, may_pass: bool) {
        self.failed = Some(Failed { at, may_pass });
    }

    /// How long to wait until the next look: until the schedule fires, but no longer than [`LOOK_EVERY`].
    pub(super) fn wait(&self, now: DateTime<Utc>) -> Duration {
        let next = self.schedule.as_ref().and_then(|schedule| schedule.next_after(self.taken.max(now)));
        next.and_then(|next| (next - now).to_std().ok()).map_or(LOOK_EVERY, |until| until.min(LOOK_EVERY))
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    const CRONS: [&str; 4] = ["*/15 * * * *", "0 * * * *", "30 2 * * *", "0 3 * * 1"];

    fn start() -> DateTime<Utc> {
        "2026-03-27T12:00:00Z".parse().unwrap()
    }

    /// The instants at which a schedule fires after `from`, up to `to`.
    fn fires(schedule: &Schedule, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        let next = std::iter::successors(schedule.next_after(from), |fire| schedule.next_after(*fire));
        next.take_while(|fire| *fire <= to).collect()
    }

    /// Four days of looks while the clock is set forward and back by an hour, again and again.
    fn stepped(seed: u64) -> (u64, u64, u64) {
        let mut rng = StdRng::seed_from_u64(seed);
        let schedule = Schedule::parse(CRONS[seed as usize % CRONS.len()], "Europe/Berlin").unwrap();
        let (begun, monotonic) = (start(), Instant::now());
        let mut due = Due::new(Some(schedule.clone()), begun);
        let (mut passed, mut ahead) = (Duration::ZERO, TimeDelta::zero());
        let (mut taken, mut furthest) = (Vec::new(), begun);
        let (mut steps, mut looks, mut runs) = (0, 0_u64, 0);
        while passed < Duration::from_secs(4 * 86_400) {
            if rng.random_bool(0.003) {
                // Never more than two hours off, as by a clock that is set to local time by mistake.
                let step = if ahead > TimeDelta::zero() { -1 } else { rng.random_range(0..2) * 2 - 1 };
                ahead += TimeDelta::hours(step);
                steps += 1;
            }
            let now = begun + TimeDelta::from_std(passed).unwrap() + ahead;
            let fresh = fires(&schedule, furthest, now);
            furthest = furthest.max(now);
            let is_due = due.is_due(now, monotonic + passed);
            assert_eq!(is_due, !fresh.is_empty(), "seed {seed}: at {now}");
            if is_due {
                due.begun(now);
                assert!(!due.is_due(now, monotonic + passed), "a run that has begun is not due");
                taken.extend(fresh);
                runs += 1;
            }
            let wait = due.wait(now);
            assert!(wait > Duration::ZERO && wait <= LOOK_EVERY);
            passed += wait;
            looks += 1;
        }
        // Every instant that the clock ever reached was taken, once.
        assert_eq!(taken, fires(&schedule, begun, furthest), "seed {seed}");
        assert!(looks <= passed.as_secs() / 10 + 2 * runs + 2 * steps + 1, "no busy loop: {looks} looks");
        (steps, looks, runs)
    }

    #[test]
    #[expect(clippy::print_stderr, reason = "how much was tried is told on standard error")]
    fn a_clock_that_steps_by_an_hour_takes_every_instant_once() {
        let (mut steps, mut looks, mut runs) = (0, 0, 0);
        for seed in 0..8 {
            let (more_steps, more_looks, more_runs) = stepped(seed);
            (steps, looks, runs) = (steps + more_steps, looks + more_looks, runs + more_runs);
        }
        eprintln!("8 histories of four days: the clock set {steps} times by an hour, {looks} looks, {runs} runs");
        assert!(steps > 100 && runs > 100);
    }

    #[test]
    fn a_clock_that_was_a_year_ahead_does_not_stop_the_schedule_for_a_year() {
        let mut due = Due::new(Some(Schedule::parse("0 3 * * *", "UTC").unwrap()), start());
        let at = Instant::now();
        let wrong = start() + TimeDelta::days(365);
        assert!(due.is_due(wrong, at));
        due.begun(wrong);
        assert!(!due.is_due(start(), at));
        assert!(due.is_due(start() + TimeDelta::days(1), at));
    }

    #[test]
    fn what_failed_and_may_pass_is_tried_again_after_a_minute() {
        let mut due = Due::new(Some(Schedule::parse("0 3 * * *", "UTC").unwrap()), start());
        let (now, at) = (start() + TimeDelta::days(1), Instant::now());
        assert!(due.is_due(now, at));
        due.begun(now);
        due.failed(at, true);
        assert!(!due.is_due(now, at + RETRY_AFTER / 2) && !due.may_begin_early(at + RETRY_AFTER / 2));
        assert!(due.is_due(now, at + RETRY_AFTER));
        due.begun(now);
        assert!(!due.is_due(now, at + RETRY_AFTER * 2));
        // What does not pass by itself waits for the schedule.
        due.failed(at, false);
        assert!(!due.is_due(now, at + RETRY_AFTER * 2));
        assert!(due.is_due(now + TimeDelta::days(1), at));
    }
}
