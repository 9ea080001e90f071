//! Every transition of every IANA zone in ten years, and schedules that name minutes before, in and after it, against a
//! walk through the minutes of UTC that knows nothing of croner and nothing of [`Zone`].

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Datelike, NaiveDateTime, Offset, TimeZone, Timelike};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;

/// A minute of UTC, since 1970.
type Minute = i64;

fn utc(minute: Minute) -> DateTime<Utc> {
    DateTime::from_timestamp(minute * 60, 0).unwrap()
}

/// What the clock of a zone shows in a minute of UTC, as a minute since 1970.
fn local(zone: Tz, minute: Minute) -> Minute {
    let seconds = zone.offset_from_utc_datetime(&utc(minute).naive_utc()).fix().local_minus_utc();
    assert_eq!(seconds % 60, 0, "in these years offsets are whole minutes");
    minute + Minute::from(seconds / 60)
}

/// A change of a zone's offset: the first minute of UTC after it, and the offsets before and after.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Transition {
    at: Minute,
    before: i64,
    after: i64,
}

fn transitions(zone: Tz, from: Minute, to: Minute) -> Vec<Transition> {
    const STEP: Minute = 180;
    let offset = |minute| local(zone, minute) - minute;
    let mut found = Vec::new();
    for low in (from..to).step_by(STEP as usize) {
        if offset(low) != offset(low + STEP) {
            let at = (low..low + STEP).find(|&minute| offset(minute) != offset(minute + 1)).unwrap() + 1;
            found.push(Transition { at, before: offset(low), after: offset(at) });
        }
    }
    found
}

/// Years of the test: 2020 to 2030.
fn decade() -> (Minute, Minute) {
    let begin = |year: i32| Utc.with_ymd_and_hms(year, 1, 1, 0, 0, 0).unwrap().timestamp() / 60;
    (begin(2020), begin(2031))
}

/// A schedule as the reference knows it. What is empty is `*`.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Named {
    minutes: Vec<u32>,
    hours: Vec<u32>,
    day: Option<u32>,
    month: Option<u32>,
    weekday: Option<u32>,
}

impl Named {
    fn cron(&self) -> String {
        let list = |values: &[u32]| match values {
            [] => "*".to_owned(),
            values => values.iter().map(u32::to_string).collect::<Vec<_>>().join(","),
        };
        let one = |value: Option<u32>| list(value.as_slice());
        let (minutes, hours) = (list(&self.minutes), list(&self.hours));
        format!("{minutes} {hours} {} {} {}", one(self.day), one(self.month), one(self.weekday))
    }

    fn names(&self, shown: &NaiveDateTime) -> bool {
        let has = |values: &[u32], value| values.is_empty() || values.contains(&value);
        let is = |wanted: Option<u32>, value| wanted.is_none_or(|wanted| wanted == value);
        has(&self.minutes, shown.minute())
            && has(&self.hours, shown.hour())
            && is(self.day, shown.day())
            && is(self.month, shown.month())
            && is(self.weekday, shown.weekday().num_days_from_sunday())
    }
}

/// Schedules around a transition: at minutes just before, in and just after what the clock leaves out or shows twice.
fn schedules(transition: &Transition) -> BTreeSet<Named> {
    let shown = [transition.at + transition.before, transition.at + transition.after];
    let (low, high) = (shown[0].min(shown[1]), shown[0].max(shown[1]));
    let mut schedules = BTreeSet::new();
    for minute in [low - 30, low - 1, low, low + 1, (low + high) / 2, high - 1, high, high + 1, high + 45] {
        let at = utc(minute).naive_utc();
        let daily = Named { minutes: vec![at.minute()], hours: vec![at.hour()], ..Named::default() };
        let weekday = Some(at.weekday().num_days_from_sunday());
        schedules.extend([
            Named { weekday, ..daily.clone() },
            Named { day: Some(at.day()), ..daily.clone() },
            Named { day: Some(at.day()), month: Some(at.month()), ..daily.clone() },
            Named { hours: vec![at.hour(), (at.hour() + 12) % 24], ..daily.clone() },
            Named { minutes: vec![0, 15, 30, 45], ..daily.clone() },
            Named { minutes: Vec::new(), ..daily.clone() },
            Named { hours: Vec::new(), ..daily.clone() },
            Named { hours: Vec::new(), weekday, ..daily.clone() },
            daily,
        ]);
    }
    let every =
        |minutes: &[u32], hours: &[u32]| Named { minutes: minutes.into(), hours: hours.into(), ..Named::default() };
    schedules.extend([
        every(&[0], &[0]),
        every(&[0], &[0, 6, 12, 18]),
        every(&[30], &[1, 2, 3]),
        every(&[0, 15, 30, 45], &[]),
        every(&[0], &[]),
    ]);
    schedules
}

/// The minutes around a transition with what the clock shows in each, and what it has left out just before.
struct Walk {
    minutes: Vec<(Minute, NaiveDateTime)>,
    /// The latest that the clock has shown before.
    latest: Vec<Minute>,
}

impl Walk {
    fn new(zone: Tz, transition: &Transition, reach: Minute) -> Walk {
        let (mut minutes, mut latest) = (Vec::new(), Vec::new());
        // Long enough before for what was shown before to be known.
        let begin = transition.at - reach;
        let mut so_far = (begin - 2 * 1440..begin).map(|minute| local(zone, minute)).max().unwrap();
        for minute in begin..transition.at + reach {
            let shown = local(zone, minute);
            minutes.push((minute, utc(shown).naive_utc()));
            latest.push(so_far);
            so_far = so_far.max(shown);
        }
        Walk { minutes, latest }
    }

    /// When a schedule fires, by the rule.
    fn fires(&self, named: &Named) -> Vec<Minute> {
        let mut fires = Vec::new();
        for (i, (minute, shown)) in self.minutes.iter().enumerate() {
            let shown_minute = shown.and_utc().timestamp() / 60;
            // What the clock has come to now and never before: one minute, none, or several if it has left some out.
            let come_to = self.latest[i] + 1..=shown_minute;
            let left_out = shown_minute - self.latest[i] - 1;
            let fires_now = if named.hours.is_empty() {
                named.names(shown)
                    || (0 < left_out && left_out < 60 && come_to.clone().any(|m| named.names(&utc(m).naive_utc())))
            } else {
                come_to.clone().any(|m| named.names(&utc(m).naive_utc()))
            };
            if fires_now {
                fires.push(*minute);
            }
        }
        fires
    }
}

/// Counts what was compared.
#[derive(Default, Debug)]
struct Tally {
    zones: usize,
    transitions: usize,
    kinds: usize,
    schedules: u64,
    fires: u64,
}

fn check(zone: Tz, transition: &Transition, tally: &mut Tally) {
    let walk = Walk::new(zone, transition, 1440 + 90);
    let (begin, end) = (walk.minutes[0].0, walk.minutes.last().unwrap().0);
    let mut rng = StdRng::seed_from_u64(transition.at as u64);
    for named in schedules(transition) {
        let cron = named.cron();
        let place = || format!("{cron} in {zone} around {} ({transition:?})", utc(transition.at));
        let schedule = Schedule::parse(&cron, zone.name()).unwrap();
        let expected = walk.fires(&named);
        // One after another …
        let fires = std::iter::successors(schedule.next_after(utc(begin - 1)), |fire| schedule.next_after(*fire));
        let found: Vec<Minute> = fires.map(|fire| fire.timestamp() / 60).take_while(|fire| *fire <= end).collect();
        assert_eq!(found, expected, "{}", place());
        // … and asked at any moment: what was missed since then is one run, and after it nothing is due until the next fire.
        for _ in 0..6 {
            let near = transition.at + rng.random_range(-200..200);
            let asked = utc(near) + TimeDelta::milliseconds(rng.random_range(0..60_000));
            let next = expected.iter().copied().find(|fire| utc(*fire) > asked);
            if let Some(next) = next {
                assert_eq!(schedule.next_after(asked), Some(utc(next)), "{} after {asked}", place());
            }
            let now = asked + TimeDelta::minutes(rng.random_range(0..2_000));
            if now < utc(end) {
                assert_eq!(schedule.is_due(asked, now), next.is_some_and(|next| utc(next) <= now), "{}", place());
                let then = now + TimeDelta::minutes(rng.random_range(0..500));
                let due_again = expected.iter().any(|fire| utc(*fire) > now && utc(*fire) <= then);
                assert!(then >= utc(end) || schedule.is_due(now, then) == due_again, "{}", place());
            }
        }
        tally.schedules += 1;
        tally.fires += expected.len() as u64;
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "how much was compared is told on standard error")]
fn no_run_is_skipped_or_doubled_at_any_transition_of_any_zone() {
    let (from, to) = decade();
    let mut tally = Tally::default();
    // Many zones keep the same time in these years: one of them stands for all.
    let mut kinds: BTreeMap<(i64, Vec<Transition>), Tz> = BTreeMap::new();
    for zone in chrono_tz::TZ_VARIANTS {
        let transitions = transitions(zone, from, to);
        tally.zones += 1;
        tally.transitions += transitions.len();
        kinds.entry((local(zone, from) - from, transitions)).or_insert(zone);
    }
    for ((_, transitions), zone) in &kinds {
        tally.kinds += 1;
        for transition in transitions {
            check(*zone, transition, &mut tally);
        }
    }
    eprintln!("schedules at transitions: {tally:?}");
    assert!(tally.zones > 500 && tally.transitions > 1_000, "{tally:?}");
}

#[test]
fn less_than_an_hour_left_out() {
    // Lord Howe Island, 2026-10-04: 02:00 → 02:30 (2026-10-03T15:30 UTC).
    let hourly = fires("15 * * * *", "Australia/Lord_Howe", "2026-10-03T14:00:00Z", 3);
    assert_eq!(hourly, ["10-03T14:45", "10-03T15:30", "10-03T16:15"]);
    let named = fires("15 2 * * *", "Australia/Lord_Howe", "2026-10-02T18:00:00Z", 2);
    assert_eq!(named, ["10-03T15:30", "10-04T15:15"]);
}

#[test]
fn several_hours_named_are_each_fired_once() {
    // Berlin, 2026-10-25: 03:00 → 02:00 (01:00 UTC); 2026-03-29: 02:00 → 03:00 (01:00 UTC).
    let twice = fires("0 */2 * * *", "Europe/Berlin", "2026-10-24T21:59:00Z", 4);
    assert_eq!(twice, ["10-24T22:00", "10-25T00:00", "10-25T03:00", "10-25T05:00"]);
    let left_out = fires("0,30 2,14 * * *", "Europe/Berlin", "2026-03-28T13:30:00Z", 3);
    assert_eq!(left_out, ["03-29T01:00", "03-29T12:00", "03-29T12:30"]);
    // Asked in the repeated hour.
    let repeated = fires("30 * * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", 2);
    assert_eq!(repeated, ["10-25T01:30", "10-25T02:30"]);
}
