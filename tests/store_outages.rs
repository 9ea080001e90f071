//! A real S3 server whose listings lag behind, and one that is gone for a while beside a running `up`.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value;

use crate::{
    store_faults::{counted, payments, store_section, system, workplace},
    support::{
        command::{Ended, Workplace},
        fault_proxy::{Asked, Fault, FaultProxy},
        s3::S3Server,
        seeds, wait,
    },
};

/// A share of the listings show what they showed some requests ago.
fn lag(proxy: &FaultProxy, seed: u64, share: f64) {
    let mut rng = StdRng::seed_from_u64(seed);
    proxy.plan(move |asked| {
        let lags = asked.is_listing() && rng.random_bool(share);
        lags.then(|| Fault::Stale(rng.random_range(1..4)))
    });
}

#[test]
fn listings_that_lag_behind_lose_nothing() {
    let Some(server) = S3Server::for_test("listings_that_lag_behind_lose_nothing") else { return };
    let proxy = FaultProxy::new(server);
    let mut system = system(server, &proxy, "lagging");
    // What is kept must be more than listings may lack.
    system.set("batch.keep_manifests", "4");
    system.set("batch.keep_minutes", "0");
    let (mut records, mut lagged) = (0, 0);
    for round in 0..12 {
        lag(&proxy, round, if round % 3 == 0 { 1.0 } else { 0.6 });
        system.append("payments", payments(records..records + 10));
        records += 10;
        system.advance(60_000_000);
        assert_eq!(system.batch().published, Some(round + 1), "one writer loses no race against itself");
        assert_eq!(counted(&system), (records, records), "round {round}");
        // A process that knows nothing finds the newest, too.
        system.restart();
        assert_eq!(counted(&system), (records, records), "round {round}, after a restart");
        lagged += proxy.faults();
    }
    proxy.calm();
    system.verify();
    system.numbers_add_up();
    eprintln!("{lagged} listings that lagged behind, in 12 batch runs by one writer");
    assert!(lagged > 50);
}

#[test]
fn of_processes_that_race_each_number_has_one_winner_though_listings_lag() {
    let Some(server) = S3Server::for_test("of_processes_that_race_each_number_has_one_winner_though_listings_lag")
    else {
        return;
    };
    let proxy = FaultProxy::new(server);
    seeds::each(3, |seed| {
        let place = workplace(server, &proxy, &format!("lagging-race-{seed}"));
        let (mut records, mut lagged) = (0, 0);
        let mut winners: BTreeMap<u64, u64> = BTreeMap::new();
        for round in 0..3 {
            lag(&proxy, seed << 8 | round, 0.8);
            place.run_with(["append", "payments", "-"], &payments(records..records + 20).join(&b'\n')).ok();
            records += 20;
            let racers: Vec<_> = (0..2 + seed % 2).map(|_| place.start(["batch", "--format", "json"])).collect();
            for racer in racers {
                let ended = racer.wait();
                assert!(matches!(ended.status.code(), Some(0 | 5)), "{:?}: {}", ended.status, ended.err);
                if ended.status.success() {
                    let report: Value = serde_json::from_str(&ended.out).expect("a report");
                    report["published"]
                        .as_u64()
                        .into_iter()
                        .for_each(|number| *winners.entry(number).or_default() += 1);
                }
            }
            lagged += proxy.faults();
        }
        proxy.calm();
        place.run(["batch"]).ok();
        assert!(winners.values().all(|told| *told == 1), "{winners:?}");
        assert_eq!(sum(&place), Some(records));
        place.run(["verify"]).ok();
        eprintln!("seed {seed}: {lagged} listings that lagged behind, {} manifests", winners.len());
    });
}

const OUTAGES: [(&str, Fault); 4] = [
    ("asks for fewer requests", Fault::refuse(503, "SlowDown")),
    ("resets connections", Fault::ResetBefore),
    ("does not answer", Fault::Hang),
    ("fails after the effect", Fault::deny(500, "InternalError")),
];

fn ask(place: &Workplace, view: &str) -> Ended {
    place.run(["query", &format!("SELECT SUM(n) AS n FROM {view}"), "--format", "json"])
}

fn sum(place: &Workplace) -> Option<u64> {
    ask(place, "cards").json()["n"].as_u64()
}

fn lines(ids: std::ops::Range<u64>) -> Vec<u8> {
    payments(ids).join(&b'\n')
}

#[test]
fn up_outlives_a_store_that_is_gone_for_a_while() {
    let Some(server) = S3Server::for_test("up_outlives_a_store_that_is_gone_for_a_while") else { return };
    let proxy = FaultProxy::new(server);
    let place = workplace(server, &proxy, "outages");
    let short = "retry_timeout = \"1 second\"\nrequest_timeout = \"1 second\"\n";
    place.configure(&format!(
        "{}\n[epochs]\nevery = \"100 ms\"\n[batch]\nschedule = \"\"\n",
        store_section(&proxy, "outages", short)
    ));
    place.run_with(["append", "payments", "-"], &lines(0..20)).ok();
    place.run(["batch"]).ok();
    // Without its store it does not begin, and says so.
    proxy.plan(|_| Some(Fault::ResetBefore));
    assert!(place.run(["up"]).fails(75).contains("later"));
    proxy.calm();

    let mut up = place.start(["up"]);
    let status = || place.run(["status", "--format", "json"]);
    wait::until("up to have begun", || up.errors().contains("up; stop with").then_some(()));
    let (mut records, mut exact, mut refused) = (20, 0, 0);
    for (name, fault) in OUTAGES {
        proxy.plan(move |_| Some(fault));
        for _ in 0..2 {
            place.run_with(["append", "payments", "-"], &lines(records..records + 5)).ok();
            records += 5;
            let ended = ask(&place, "cards");
            if ended.status.success() {
                assert_eq!(ended.json()["n"].as_u64(), Some(records), "the store {name}");
                exact += 1;
            } else {
                assert!(ended.fails(75).contains("later"), "the store {name}");
                refused += 1;
            }
        }
        let message = place.run(["batch"]).fails(75);
        assert!(message.contains("the store") || message.contains("the network"), "the store {name}: {message}");
        assert!(proxy.faults() > 0 && up.is_running(), "the store {name}: {}", up.errors());
        // It comes back, and what was put off happens by itself: an epoch at the head, by the schedule of `up`.
        proxy.calm();
        assert_eq!(sum(&place), Some(records), "after the store {name}");
        place.run_with(["append", "payments", "-"], &lines(records..records + 1)).ok();
        records += 1;
        let in_epochs = || {
            let put = |asked: &Asked| asked.method == "PUT" && asked.path.contains("/epochs/");
            proxy.asked().iter().any(put).then_some(())
        };
        wait::until("an epoch", in_epochs);
        place.run(["batch"]).ok();
        assert_eq!(sum(&place), Some(records), "after the store {name}");
    }
    let status = status().json();
    assert_eq!(status["above_cut"].as_u64(), Some(0), "it follows the last manifest: {status}");
    up.signal("TERM");
    assert_eq!(up.wait().status.code(), Some(0));
    place.run(["verify"]).ok();
    place.run(["fsck"]).ok();
    eprintln!("{} outages beside a running up: {exact} answers were exact, {refused} refused", OUTAGES.len());
    assert!(refused > 0);
}
