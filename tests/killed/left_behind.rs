//! What dead processes may not leave behind once others have run after them.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use watershed::{Project, Registry};

use crate::support::command::Workplace;

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let below = |path: PathBuf| if path.is_dir() { files_below(&path) } else { vec![path] };
    entries.flat_map(|entry| below(entry.expect("an entry").path())).collect()
}

/// Checks that the project has no file but those that it needs. No process may be running; a batch run and a collection of
/// garbage must have ended last. Returns how many torn tails were set aside.
pub fn check(place: &Workplace) -> usize {
    let project = Project::open(place.path(), Registry::new()).expect("the project opens");
    let manifest = project.store().expect("a store").latest_manifest().expect("it is read").expect("there is one");
    let named: BTreeSet<PathBuf> = manifest.files().map(|file| PathBuf::from(&file.path)).collect();
    let store = place.file("store");
    let relative = |path: PathBuf| path.strip_prefix(&store).expect("below the store").to_owned();
    let stored = ["data", "archive"].into_iter().flat_map(|folder| files_below(&store.join(folder)));
    assert_eq!(stored.map(relative).collect::<BTreeSet<_>>(), named, "only what the kept manifest names is stored");

    let listed = |folder: &str| files_below(&store.join(folder));
    assert_eq!(listed("manifests").len(), 1, "the others were collected: {:?}", listed("manifests"));
    let is_json = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
    assert!(listed("epochs").iter().all(is_json), "half an epoch stays: {:?}", listed("epochs"));

    assert_eq!(files_below(&place.file(".watershed-scratch")), [""; 0].map(PathBuf::from), "scratch files stay");
    let log = files_below(&place.file("log"));
    let known = ["segment", "index", "timeindex", "torn"];
    for path in &log {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        let fits = ["lock", "source", "head", "lasttime"].contains(&name)
            || path.extension().is_some_and(|extension| known.iter().any(|known| extension == *known));
        assert!(fits, "{} stays", path.display());
    }
    assert_eq!(std::fs::metadata(place.file("log/lock")).expect("the lock file").len(), 0, "nobody holds the log");
    log.iter().filter(|path| path.extension().is_some_and(|extension| extension == "torn")).count()
}
