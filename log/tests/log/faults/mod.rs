//! Every I/O of the log failed once: before it takes effect, in the middle and after it; answered with an error of the disk, of
//! a full disk, of lost permission, or never, because the process or the machine dies; and then the recovery that follows.

mod model;
mod real;
mod scene;
mod session;

use std::collections::BTreeMap;

use watershed_log::simulation::{Answer, Fate, OperationKind};
use watershed_log::{Durability, EventLog, Result};

use session::{Aftermath, Fault, PARTITIONS, Session, append_everywhere, fates};

/// Power cuts that are tried where one is.
const CUTS: u64 = 3;

type Step = fn(&mut Session) -> Result<()>;

/// Appends to several partitions at both levels, in one call and in several at once; rolls; retention; another source; readers;
/// closing and opening.
const SCRIPT: &[Step] = &[
    |session| session.log()?.create_source("s", PARTITIONS),
    |session| session.append("s", &[(0, 20), (1, 20), (0, 20)], Durability::Fsync),
    |session| session.append("s", &[(0, 40)], Durability::Os),
    |session| session.append("s", &[(1, 250), (1, 250)], Durability::Os),
    |session| session.append("s", &[(1, 30)], Durability::Fsync),
    |session| {
        let mut first = session.submit("s", &[(0, 100), (1, 100)], Durability::Fsync)?;
        let mut second = session.submit("s", &[(0, 100)], Durability::Os)?;
        let mut third = session.submit("s", &[(0, 250), (0, 250)], Durability::Fsync)?;
        session.finish(&mut first)?;
        session.finish(&mut second)?;
        session.finish(&mut third)
    },
    |session| session.append("s", &[(0, 300)], Durability::Os),
    |session| {
        session.clock.advance(40_000);
        session.log()?.step();
        session.append("s", &[(0, 10)], Durability::Os)
    },
    Session::read_elsewhere,
    |session| {
        let head = session.log()?.head()?;
        session.model.allow_deletion("s");
        session.log()?.delete_sealed_below(&head).map(drop)
    },
    Session::read_elsewhere,
    |session| session.append("s", &[(1, 200), (1, 200), (1, 200)], Durability::Fsync),
    |session| session.log()?.seal("s"),
    |session| {
        session.clock.advance(1_000_000);
        let head = session.log()?.head()?;
        session.read_elsewhere()?;
        session.model.allow_deletion("s");
        session.log()?.delete_sealed_below(&head).map(drop)
    },
    Session::read_elsewhere,
    |session| session.log()?.create_source("t", 1),
    |session| session.append("t", &[(0, 600)], Durability::Fsync),
    |session| session.append("t", &[(0, 200)], Durability::Fsync),
    |session| session.append("s", &[(0, 20)], Durability::Os),
    Session::close,
    append_everywhere,
    |session| session.append("s", &[(1, 20)], Durability::Os),
    Session::read_elsewhere,
];

/// Goes through the script, then loses the power, and compares.
fn run(fault: Option<Fault>, cut: u64) -> Session {
    let mut session = Session::new(fault);
    for &step in SCRIPT {
        session.step(step);
    }
    session.power_cut(cut);
    append_everywhere(&mut session).unwrap();
    session.read_elsewhere().unwrap();
    session
}

/// What a script does when nothing is in its way.
fn operations(script: &[Step]) -> Vec<OperationKind> {
    let mut session = Session::new(None);
    let recorded = session.record();
    for &step in script {
        step(&mut session).unwrap();
    }
    let recorded = recorded.lock().unwrap();
    recorded.iter().map(|operation| operation.kind).collect()
}

/// Of how many crashes one is recovered from. `WATERSHED_TEST_EVERY_FAULT=1` tries all.
fn stride() -> usize {
    if std::env::var_os("WATERSHED_TEST_EVERY_FAULT").is_some() { 1 } else { 4 }
}

fn aftermaths(fate: Fate) -> Vec<Aftermath> {
    let mut aftermaths = vec![Aftermath::Reopened];
    if fate.answer == Answer::Killed {
        aftermaths.extend((0..CUTS).map(Aftermath::PowerCut));
        aftermaths.extend((0..CUTS).map(Aftermath::ReopenedThenPowerCut));
    }
    aftermaths
}

#[test]
fn every_operation_of_a_log_fails_once_and_nothing_acknowledged_is_lost() {
    let operations = operations(SCRIPT);
    let (mut tried, mut surfaced) = (BTreeMap::<(&str, &str), u64>::new(), 0);
    for (number, &kind) in (0..).zip(&operations) {
        for (name, fate) in fates(kind) {
            for aftermath in aftermaths(fate) {
                let session = run(Some(Fault { number, fate, aftermath }), number);
                let died = if matches!(aftermath, Aftermath::Reopened) { "" } else { ", power cut" };
                *tried.entry((name, died)).or_default() += 1;
                surfaced += u64::from(session.surfaced);
            }
        }
    }
    let total: u64 = tried.values().sum();
    eprintln!("log: {} operations, {total} faults tried, of which {surfaced} surfaced: {tried:?}", operations.len());
    assert!(operations.len() > 300 && surfaced > total / 2);
}

#[test]
fn every_operation_of_the_recovery_that_follows_fails_too() {
    let operations = operations(SCRIPT);
    let (mut crashes, mut scenes, mut tried) = (0usize, 0, 0);
    for (number, &kind) in (0..).zip(&operations).filter(|(_, kind)| kind.is_change()) {
        for fate in [Fate::KILLED_BEFORE, Fate::KILLED_WITHIN, Fate::KILLED_AFTER] {
            if fate == Fate::KILLED_WITHIN && !kind.has_parts() {
                continue;
            }
            for cut in [None, Some(number)] {
                crashes += 1;
                if !crashes.is_multiple_of(stride()) {
                    continue;
                }
                scenes += 1;
                tried +=
                    scene::after(SCRIPT, Fault { number, fate, aftermath: Aftermath::Reopened }, cut).fail_recovery();
            }
        }
    }
    eprintln!("recovery of a log: {scenes} of {crashes} crashes, {tried} faults tried in the recoveries that followed");
    assert!(scenes > 200 && tried > 10 * scenes);
}

#[test]
fn a_source_is_there_whole_or_not_at_all_whatever_survives_of_its_names() {
    let create = &SCRIPT[..1];
    for number in 0..operations(create).len() as u64 {
        for seed in 0..60 {
            let aftermath = Aftermath::PowerCut(seed);
            let mut session = Session::new(Some(Fault { number, fate: Fate::KILLED_BEFORE, aftermath }));
            session.step(create[0]);
            append_everywhere(&mut session).unwrap();
        }
    }
}
