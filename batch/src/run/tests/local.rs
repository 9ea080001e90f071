//! Over a directory: what is written is there under the documented names, and what a killed process leaves is swept.

use super::*;
use crate::{Retention, StoreOptions};

#[test]
fn a_directory_holds_the_documented_layout() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("store");
    let mut project = Project::new();
    project.store = Store::open(&StoreOptions::new(root.to_string_lossy())).unwrap();
    project.append(&events(200, 1));
    project.run().unwrap();
    assert_eq!(project.answer(), project.at_once());
    assert!(root.join("epochs/00000000000000000001.json").is_file());
    assert!(root.join("manifests/00000000000000000001.json").is_file());
    let attempts: Vec<_> = std::fs::read_dir(root.join("data")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(attempts.len(), 1);
    assert!(attempts[0].join("card_half_hour/groups/2026-03-01.parquet").is_file());
    assert!(root.join("archive").read_dir().unwrap().next().is_some());

    // A killed process left a half-written upload and an empty directory, of an attempt that is over.
    let dead = root.join("data/00000000000000000001-00000000000000ff/v/groups");
    std::fs::create_dir_all(&dead).unwrap();
    std::fs::write(dead.join("all.parquet#3"), "half").unwrap();
    // And another process is about to publish number 2.
    let living = root.join("data/00000000000000000002-00000000000000ff/v/groups");
    std::fs::create_dir_all(&living).unwrap();
    std::fs::write(living.join("all.parquet#1"), "half").unwrap();
    for folder in ["manifests", "epochs"] {
        for number in [1, 2] {
            std::fs::write(root.join(format!("{folder}/{number:020}.json#1")), "half").unwrap();
        }
    }
    project.store.collect_garbage(Retention::default(), project.clock.now_micros()).unwrap();
    for folder in ["manifests", "epochs"] {
        let is_there = |number| root.join(format!("{folder}/{number:020}.json#1")).is_file();
        assert_eq!([1, 2].map(is_there), [false, true], "{folder}: only a number that is taken is over");
    }
    assert!(!root.join("data/00000000000000000001-00000000000000ff").exists());
    assert!(living.join("all.parquet#1").is_file());
    assert_eq!(project.answer(), project.at_once());
}

#[test]
fn a_damaged_file_is_an_error_that_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut project = Project::new();
    project.store = Store::open(&StoreOptions::new(directory.path().to_string_lossy())).unwrap();
    project.append(&events(200, 1));
    project.run().unwrap();
    let state = &project.manifest().views["hopping"];
    let (name, partition) = state.partitions.first_key_value().expect("a partition");
    let file = &partition.files[0].path;
    let path = directory.path().join(file);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let reader = ViewReader::pin(&project.store).unwrap().expect("a manifest");
    let kernel = project.kernel("hopping");
    let error = reader.read_partition("hopping", &project.fingerprint("hopping"), &kernel, name).unwrap_err();
    assert!(error.to_string().contains(file.as_str()), "{error}");
    // A run that would merge with it publishes nothing.
    project.append(&events(200, 2));
    assert!(project.run().unwrap_err().to_string().contains(file.as_str()));
    assert_eq!(project.manifest().number, 1);
}
