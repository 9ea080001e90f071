//! `fsck` names what is damaged, makes it anew from what is not, and says plainly what is lost.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use watershed::{Fsck, FsckFinding, FsckVerdict};

use super::specimen::{OF_VISITS, Specimen, files_in};
use crate::support::command::Workplace;

fn damage(fsck: &Fsck) -> Vec<&FsckFinding> {
    fsck.findings.iter().filter(|finding| finding.verdict != FsckVerdict::Note).collect()
}

/// Flipped in the middle, cut in half, and gone.
fn damages(good: &[u8]) -> [(&'static str, Option<Vec<u8>>); 3] {
    let mut flipped = good.to_vec();
    flipped[good.len() / 2] ^= 0x10;
    [("flipped", Some(flipped)), ("cut", Some(good[..good.len() / 2].to_vec())), ("gone", None)]
}

#[test]
fn a_sound_project_is_sound() {
    let of = Specimen::new();
    let fsck = of.fsck(false).unwrap();
    assert_eq!(damage(&fsck), Vec::<&FsckFinding>::new());
    assert!(fsck.is_sound());
    assert_eq!((fsck.checked.epochs, fsck.checked.manifests), (2, 2));
    assert!(fsck.checked.records == 60 && fsck.checked.stored_files > 8, "{:?}", fsck.checked);
    // A repair finds nothing to do.
    let repaired = of.fsck(true).unwrap();
    assert_eq!((repaired.repairs.len(), damage(&repaired).len()), (0, 0), "{repaired:?}");
    assert_eq!(of.answers_now().unwrap(), of.answers);
}

#[test]
fn damage_of_every_kind_is_named_repaired_and_the_answers_are_the_same() {
    let of = Specimen::new();
    let mut tried = 0;
    // What only the log has cannot be made anew: see below.
    for (kind, file) in of.kinds().into_iter().filter(|(kind, _)| *kind != "active segment") {
        let good = of.files[&file].clone();
        for (what, bad) in damages(&good) {
            let what = format!("{kind} {} {what}", file.display());
            of.damage(&file, bad.as_deref());
            let found = of.fsck(false).unwrap();
            let names = |finding: &FsckFinding| file.to_str().unwrap().ends_with(&finding.place);
            // Between the two slots of a head lies nothing.
            let in_gap =
                |bad: &Vec<u8>| bad.len() == good.len() && bad[..32] == good[..32] && bad[512..] == good[512..];
            let harmless = kind == "head" && bad.as_ref().is_some_and(in_gap);
            if harmless || (matches!(kind, "manifest" | "sealed segment") && bad.is_none()) {
                // Nothing names the last of a chain: without it, the one before answers, with the same rows. And a log without its
                // first segment is one that retention has shortened: the archive holds those records.
                assert!(found.is_sound(), "{what}: {found:?}");
                assert_eq!(of.answers_now().unwrap(), of.answers, "{what}");
                of.restore();
                continue;
            }
            assert!(damage(&found).iter().any(|finding| names(finding)), "{what}: {found:?}");
            assert_eq!(found.verdict(), FsckVerdict::Repairable, "{what}: {found:#?}");
            let repaired = of.fsck(true).unwrap();
            assert!(repaired.is_sound() && !repaired.repairs.is_empty(), "{what}: {repaired:#?}");
            let left = of.fsck(false).unwrap();
            assert_eq!(damage(&left), Vec::<&FsckFinding>::new(), "{what}");
            assert_eq!(of.answers_now().unwrap(), of.answers, "{what}");
            if let Some(bad) = &bad {
                let kept = files_in(of.path()).into_values().any(|bytes| bytes == *bad);
                assert!(kept, "{what}: the damaged original is gone");
            }
            // Once more: nothing changes. And the project goes on.
            let before = files_in(of.path());
            assert_eq!(of.fsck(true).unwrap().repairs, [], "{what}");
            let mut after = files_in(of.path());
            after.retain(|path, _| !path.ends_with("lock"));
            assert!(before.into_iter().filter(|(path, _)| !path.ends_with("lock")).eq(after), "{what}");
            of.batch(false).unwrap_or_else(|error| panic!("{what}: {error}"));
            of.batch(true).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(of.answers_now().unwrap(), of.answers, "{what}");
            tried += 1;
            of.restore();
        }
    }
    eprintln!("fsck: {tried} damages named, repaired, and the answers are the same");
}

/// A batch in the middle of the last segment of `orders/0`: above the cut, so that only the log has it.
fn lose_records(of: &Specimen) -> PathBuf {
    let file = of.kinds().into_iter().find(|(kind, _)| *kind == "active segment").unwrap().1;
    let mut bytes = of.files[&file].clone();
    let first = 40 + u32::from_le_bytes(bytes[44..48].try_into().unwrap()) as usize;
    bytes[first + 60] ^= 1;
    of.damage(&file, Some(&bytes));
    file
}

#[test]
fn what_is_lost_is_said_and_the_rest_goes_on() {
    let of = Specimen::new();
    let file = lose_records(&of);
    let visits = |of: &Specimen| of.answers_of(OF_VISITS, None).unwrap();
    let right: Vec<_> = OF_VISITS.iter().map(|view| of.answers[*view].clone()).collect();
    let check = |of: &Specimen| {
        assert_eq!(visits(of).into_values().collect::<Vec<_>>(), right);
        let error = of.answers_of(["daily"], None).unwrap_err().to_string();
        assert!(error.contains("orders"), "{error}");
    };
    // Before the repair, other tables' views answer, and those of this one say why not.
    check(&of);
    let found = of.fsck(false).unwrap();
    let [finding] = damage(&found)[..] else { panic!("{found:#?}") };
    assert_eq!((finding.verdict, finding.kind), (FsckVerdict::Lost, "segment"));
    assert!(file.to_str().unwrap().ends_with(&finding.place));
    let affected = finding.affected.clone().unwrap();
    assert!(affected.contains("of orders/0, appended between 2026-02-25T"), "{affected}");
    let repaired = of.fsck(true).unwrap();
    assert_eq!(repaired.verdict(), FsckVerdict::Lost);
    check(&of);
    // Appends go on, to the damaged table too.
    let project = of.project().unwrap();
    let order = r#"{"ts":"2026-02-20T00:00:00Z","shop":"shop-1","amount":1,"parts":1}"#;
    for shop in 0..3 {
        let order = order.replace("shop-1", &format!("shop-{shop}"));
        assert_eq!(of.run(project.append("orders", [order])).unwrap().records, 1);
    }
    check(&of);
    // It is said again, and a repair changes nothing more.
    let again = of.fsck(true).unwrap();
    assert_eq!((again.verdict(), again.repairs.len()), (FsckVerdict::Lost, 0), "{again:#?}");
}

#[test]
fn a_view_that_cannot_be_built_again_does_not_keep_another_from_it() {
    let of = Specimen::new();
    let at = |kind: &str| of.kinds().into_iter().find(|(name, _)| *name == kind).unwrap().1;
    let traffic = |path: &&PathBuf| path.to_str().unwrap().contains("/traffic/groups/");
    let traffic: PathBuf = of.files.keys().rfind(traffic).unwrap().clone();
    // A file of a view of `orders`, every copy of whose first records is damaged too; and one of a view of `visits`.
    let archive = of
        .files
        .keys()
        .filter(|path| path.to_str().unwrap().contains("/orders/0/") && path.starts_with("store/archive"));
    let damaged: Vec<PathBuf> = archive.cloned().chain([at("view"), at("sealed segment"), traffic.clone()]).collect();
    for file in &damaged {
        let good = &of.files[file];
        of.damage(file, Some(&good[..good.len() / 3]));
    }
    let found = of.fsck(false).unwrap();
    let verdict = |fsck: &Fsck, file: &Path| {
        let names = |finding: &&FsckFinding| file.to_str().unwrap().ends_with(&finding.place);
        fsck.findings.iter().find(names).map(|finding| finding.verdict)
    };
    assert_eq!(verdict(&found, &at("view")), Some(FsckVerdict::Lost), "{found:#?}");
    assert_eq!(verdict(&found, &traffic), Some(FsckVerdict::Repairable), "{found:#?}");
    let repaired = of.fsck(true).unwrap();
    assert_eq!(repaired.verdict(), FsckVerdict::Lost);
    // The damaged file itself is still named by superseded manifests.
    assert_eq!(verdict(&repaired, &traffic), Some(FsckVerdict::Note), "{repaired:#?}");
    assert!(repaired.repairs.iter().any(|repair| repair.place == "traffic"), "{repaired:#?}");
    assert_eq!(of.answers_of(OF_VISITS, None).unwrap()["traffic"], of.answers["traffic"]);
    // The other views of `orders` are stored whole; what lies above the cut can be read.
    assert_eq!(of.answers_of(["shares"], None).unwrap()["shares"], of.answers["shares"]);
}

#[test]
fn the_command_says_it_with_its_exit_code() {
    let workplace = Workplace::new();
    workplace.run(["init", "."]).ok();
    let payments = workplace.run(["datagen", "--count", "300", "--seed", "1"]).ok();
    workplace.run_with(["append", "payments", "-"], payments.as_bytes()).ok();
    workplace.run(["batch"]).ok();
    let right = workplace.run(["query", "SELECT * FROM card_minute ORDER BY card, window_start"]).ok();
    let sound = workplace.run(["fsck", "--format", "json"]).json();
    assert_eq!(sound["checked"]["records"], 300);

    let stored =
        files_in(workplace.path()).into_keys().find(|path| path.starts_with("store/data")).expect("a view's file");
    let path = workplace.file(stored.to_str().unwrap());
    let good = std::fs::read(&path).unwrap();
    std::fs::write(&path, &good[1..]).unwrap();
    let refused = workplace.run(["query", "SELECT * FROM card_minute"]).fails(1);
    assert!(refused.contains("damaged"), "{refused}");
    let found = workplace.run(["fsck", "--format", "json"]);
    assert_eq!(found.status.code(), Some(6), "{found:?}");
    let found: serde_json::Value = serde_json::from_str(&found.out).unwrap();
    assert!(stored.ends_with(found["findings"][0]["place"].as_str().unwrap()), "{found}");

    // Not beside a process that holds the log.
    let mut up = workplace.start(["up"]);
    let ready = crate::support::wait::until("the log's holder", || {
        assert!(up.is_running(), "{}", up.errors());
        std::fs::read(workplace.file("log/lock")).ok().filter(|holder| !holder.is_empty())
    });
    drop(ready);
    workplace.run(["fsck"]).fails(6);
    workplace.run(["fsck", "--repair"]).fails(5);
    up.signal("TERM");
    up.wait().ok();

    let repaired = workplace.run(["fsck", "--repair"]).ok();
    assert!(repaired.contains("built anew"), "{repaired}");
    workplace.run(["fsck"]).ok();
    assert_eq!(workplace.run(["query", "SELECT * FROM card_minute ORDER BY card, window_start"]).ok(), right);
}
