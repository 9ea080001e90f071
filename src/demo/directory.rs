//! The demo's project directory: made anew, and nothing else is ever touched.

use std::{fs, path::Path};

use super::DEFINITIONS;
use crate::{config::CONFIG_FILE, error::Error};

/// The folder of a project's definitions.
const DEFINITIONS_FOLDER: &str = "definitions";
/// The file that says a directory is the demo's own.
const MARKER: &str = ".watershed-demo";
const MARKER_TEXT: &str = "Made by `watershed demo`, which replaces what is in this directory when it runs again.\n";

const CONFIG: &str = "\
# The configuration of the demo's project. `watershed init` writes one with every key and its default.

[log]
# The demo appends weeks of append times in seconds. By the default age, an hour, it would make thousands of segment files.
segment_age = \"30 days\"

[batch]
# When `watershed up` runs the nightly load.
schedule = \"0 3 * * *\"
time_zone = \"America/New_York\"
";

/// What the demo, and the commands that one may try on its project, write.
const OWN: [&str; 8] =
    [MARKER, CONFIG_FILE, DEFINITIONS_FOLDER, "log", "store", ".watershed-scratch", "README.md", ".gitignore"];

/// Makes the directory, or makes it anew if an earlier demo made it.
pub(super) fn prepare(directory: &Path) -> Result<(), Error> {
    let foreign = |what: &str| {
        Error::usage(format!(
            "{} {what}, which the demo did not make; name another directory with `watershed demo --dir DIR`",
            directory.display()
        ))
    };
    if fs::symlink_metadata(directory).is_ok_and(|meta| !meta.is_dir()) {
        return Err(foreign("is a file or a link"));
    }
    fs::create_dir_all(directory).map_err(Error::io("create", directory))?;
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(Error::io("read the folder", directory))? {
        found.push(entry.map_err(Error::io("read the folder", directory))?);
    }
    let is_ours = found.iter().any(|entry| entry.file_name() == MARKER);
    if let Some(entry) = found.iter().find(|entry| !is_ours || !OWN.iter().any(|name| entry.file_name() == *name)) {
        return Err(foreign(&format!("holds {:?}", entry.file_name())));
    }
    if is_ours && let Some(holder) = watershed_log::lock_holder(directory.join("log"))? {
        return Err(Error::Busy(format!(
            "process {} runs the project in {}; stop it first",
            holder.pid,
            directory.display()
        )));
    }
    // The marker goes last and comes first, so that an interrupted run leaves a directory that is known to be the demo's.
    for entry in found.iter().filter(|entry| entry.file_name() != MARKER) {
        let path = entry.path();
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(Error::io("remove", &path))?;
    }
    let write = |name: &Path, text: &str| {
        let path = directory.join(name);
        fs::write(&path, text).map_err(Error::io("write", &path))
    };
    write(Path::new(MARKER), MARKER_TEXT)?;
    write(Path::new(CONFIG_FILE), CONFIG)?;
    let folder = directory.join(DEFINITIONS_FOLDER);
    fs::create_dir(&folder).map_err(Error::io("create", &folder))?;
    DEFINITIONS.iter().try_for_each(|(name, text)| write(&Path::new(DEFINITIONS_FOLDER).join(name), text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_anew_where_it_was_made_before_and_nowhere_else() {
        let place = tempfile::tempdir().expect("a directory");
        let directory = place.path().join("new/demo");
        prepare(&directory).expect("a new directory");
        fs::create_dir(directory.join("store")).expect("a folder");
        prepare(&directory).expect("its own directory");
        assert!(!directory.join("store").exists());

        fs::write(directory.join("thesis.txt"), "mine").expect("a file");
        let error = prepare(&directory).expect_err("a foreign file").to_string();
        assert!(error.contains("thesis.txt"), "{error}");
        assert!(directory.join("thesis.txt").exists() && directory.join(CONFIG_FILE).exists());

        let other = place.path().join("other");
        fs::create_dir(&other).expect("a folder");
        prepare(&other).expect("an empty directory");
        let foreign = place.path().join("foreign");
        fs::create_dir_all(foreign.join("store")).expect("a folder");
        assert!(prepare(&foreign).is_err());
        assert!(foreign.join("store").exists());
    }
}
