//! Names, keys, data, links and flags: they reach nothing outside of the project and its store, and steer no terminal.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::{ffi::OsStrExt, fs::symlink},
    path::{Path, PathBuf},
};

use serde_json::json;
use tempfile::TempDir;

use crate::support::command::{Ended, Workplace};

/// What must never reach a terminal raw: control characters, and marks that turn or hide what is read.
fn steers(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\t'))
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Checks that what a command wrote steers no terminal.
#[track_caller]
fn calm(ended: Ended) -> Ended {
    for (stream, text) in [("output", &ended.out), ("error", &ended.err)] {
        if let Some(found) = text.chars().find(|c| steers(*c)) {
            panic!("{} wrote {found:?} to standard {stream}:\n{text:?}", ended.line);
        }
    }
    ended
}

const HOSTILE: &[&str] = &[
    "../../outside",
    "..",
    "/etc/passwd",
    "%2e%2e%2f%2e%2e%2foutside",
    "..\\..\\outside",
    "\u{0}",
    "a\u{0}b",
    "line\nbreak\r",
    "\u{1b}[2J\u{1b}]0;owned\u{7}",
    "\u{9b}31m",
    "\u{202e}drowssap",
    "zero\u{200b}width",
    "\u{feff}",
    "e\u{301}",
    "é",
    "Ω",
    "con",
    "NUL",
    "-rf",
    "~",
    "$(touch outside)",
    "`touch outside`",
    "'; DROP TABLE t; --",
    "a=b",
    ".hidden",
    ".tmp",
];

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[test]
fn names_that_deceive_or_could_be_paths_are_refused_where_they_stand() {
    let long = "n".repeat(300);
    let of_tables = HOSTILE.iter().copied().chain(["lock", "a b", "x.tmp", "", &long]);
    let of_columns =
        HOSTILE.iter().copied().filter(|name| name.chars().any(steers) || name.contains('\n')).chain([&*long]);
    let of_views = of_columns.clone().chain([""]);
    let mut tried = 0;
    let mut refused = |text: String| {
        let place = Workplace::with_definitions(&[("hostile.sql", &text)]);
        let message = calm(place.run(["validate"])).fails(2);
        assert!(message.contains("definitions/hostile.sql"), "{text:?}: {message}");
        calm(place.run(["append", "t", "-"])).fails(2);
        tried += 1;
    };
    of_tables.filter(|name| !["con", "NUL"].contains(name)).for_each(|name| {
        refused(format!("CREATE TABLE {} (a TEXT);", quoted(name)));
    });
    of_columns.for_each(|name| refused(format!("CREATE TABLE t (a TEXT, {} TEXT);", quoted(name))));
    of_views.for_each(|name| refused(format!("CREATE VIEW {} AS SELECT 1 AS a;", quoted(name))));
    // Which one is meant depends on the file system, or on who reads.
    for (one, other) in [("A", "a"), ("é", "e\u{301}"), ("ﬁle", "file"), ("straße", "STRASSE")] {
        let view = |name| format!("CREATE VIEW {} AS SELECT 1 AS a;\n", quoted(name));
        refused(view(one) + &view(other));
    }
    refused("CREATE VIEW v AS SELECT 1 AS a -- \u{202e} ;\n;".to_owned());
    eprintln!("hostile names: {tried} definitions refused");
}

/// Everything below a directory, links not followed.
fn tree(root: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if fs::symlink_metadata(&path).expect("its kind").is_dir() {
                folders.push(path.clone());
            }
            found.insert(path);
        }
    }
    found
}

/// Directories beside a project that nothing may change: what lies around it, the home, and the place for temporary files.
struct Watched {
    around: TempDir,
    place: Workplace,
    before: BTreeSet<PathBuf>,
}

impl Watched {
    fn new(definitions: &str) -> Watched {
        let around = tempfile::Builder::new().prefix("ws").tempdir().expect("a temporary directory");
        let mut place = Workplace::in_directory(around.path().join("a/b/project"));
        for (variable, name) in [("HOME", "home"), ("TMPDIR", "tmp"), ("XDG_RUNTIME_DIR", "run")] {
            let folder = around.path().join(name);
            fs::create_dir(&folder).expect("a folder");
            fs::write(folder.join("outside"), "as it was").expect("a file");
            place.environment.push((variable.to_owned(), folder.to_string_lossy().into_owned()));
        }
        place.run(["init", "."]).ok();
        for name in ["payments.sql", "views.sql"] {
            fs::remove_file(place.file("definitions").join(name)).expect("the template can be removed");
        }
        fs::write(place.file("definitions/hostile.sql"), definitions).expect("definitions can be written");
        let before = Watched::outside(&around, &place);
        Watched { around, place, before }
    }

    fn outside(around: &TempDir, place: &Workplace) -> BTreeSet<PathBuf> {
        tree(around.path()).into_iter().filter(|path| !path.starts_with(place.path())).collect()
    }

    /// Checks that nothing changed outside of the project, and nothing within it but the log and the store.
    fn check(&self) {
        assert_eq!(
            Watched::outside(&self.around, &self.place),
            self.before,
            "something outside of the project changed"
        );
        for folder in ["home", "tmp", "run"] {
            let text = fs::read_to_string(self.around.path().join(folder).join("outside")).expect("still there");
            assert_eq!(text, "as it was");
        }
        let inside: BTreeSet<_> = fs::read_dir(self.place.path())
            .expect("the project")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        let expected =
            [".gitignore", ".watershed-scratch", "README.md", "definitions", "log", "store", "watershed.toml"];
        assert!(inside.iter().all(|name| expected.contains(&name.as_str())), "{inside:?}");
    }
}

/// Views whose names are paths, over a table whose columns are called so.
fn hostile_definitions() -> (String, usize) {
    let names: Vec<&str> =
        HOSTILE.iter().copied().filter(|name| !name.chars().any(steers) && !name.contains('\n')).collect();
    let column = |name: &&&str| !matches!(**name, "é" | "e\u{301}");
    let columns: Vec<String> = names.iter().filter(column).map(|name| format!("{} TEXT", quoted(name))).collect();
    let mut text = format!(
        "CREATE TABLE t (at TIMESTAMP NOT NULL, k TEXT, {}) WITH (event_time = 'at', partitions = 3, partition_by = 'k');\n",
        columns.join(", ")
    );
    let views: Vec<&&str> = names.iter().filter(|name| **name != "e\u{301}").collect();
    for (i, name) in views.iter().enumerate() {
        let sql = match i % 3 {
            0 => "SELECT k, COUNT(*) AS n, MAX(\"../../outside\") AS most FROM t GROUP BY k",
            1 => {
                "SELECT k, window_start, COUNT(DISTINCT \"..\") AS n FROM TUMBLE(t, at, INTERVAL '1 hour') GROUP BY k, window_start"
            }
            _ => "SELECT k, CAST(k AS INT) AS number FROM t",
        };
        text.push_str(&format!("CREATE MATERIALIZED VIEW {} AS {sql};\n", quoted(name)));
    }
    (text, views.len())
}

#[test]
fn names_and_keys_that_are_paths_stay_within_the_project() {
    let (definitions, views) = hostile_definitions();
    let watched = Watched::new(&definitions);
    let place = &watched.place;
    let records: String = HOSTILE
        .iter()
        .map(|key| {
            let record =
                json!({"at": "2026-03-01T00:00:00Z", "k": key, "..": key, "../../outside": key, "/etc/passwd": key});
            format!("{record}\n")
        })
        .collect();
    // A small memory makes runs spill into the scratch folder.
    let set = ["--set", "batch.memory=1", "--set", "batch.keep_minutes=0", "--set", "batch.keep_manifests=1"];
    let run = |arguments: &[&str], input: &[u8]| calm(place.run_with(set.iter().chain(arguments), input)).ok();
    for _ in 0..2 {
        run(&["append", "t", "-"], records.as_bytes());
        run(&["epoch"], b"");
        run(&["batch"], b"");
        run(&["gc"], b"");
    }
    run(&["verify"], b"");
    run(&["status"], b"");
    for name in ["..", "/etc/passwd", "../../outside", "-rf"] {
        let sql = format!("SELECT * FROM {}", quoted(name));
        for format in ["table", "json"] {
            run(&["query", &sql, "--format", format], b"");
        }
    }
    run(&["query", "SELECT COUNT(*) AS n FROM \"..\""], b"");
    run(&["rejected", "/etc/passwd"], b"");
    watched.check();
    eprintln!("hostile names: {views} views and {} keys stayed within the project", HOSTILE.len());
}

#[test]
fn links_that_lead_out_of_the_project_are_not_followed() {
    const SECRET: &str = "root:hush:0:0";
    let place = Workplace::with_definitions(&[("good.sql", "CREATE TABLE t (a TEXT);")]);
    let outside = tempfile::tempdir().expect("a temporary directory");
    let target = outside.path().join("passwd");
    fs::write(&target, SECRET).expect("a file");
    let link = place.file("definitions/evil.sql");
    let refused = |what: &str| {
        for arguments in [vec!["validate"], vec!["status"], vec!["batch"]] {
            let message = calm(place.run(&arguments)).fails(2);
            assert!(!message.contains("hush"), "{message}");
            assert!(message.contains(what), "{message}");
        }
    };
    for target in [&target, Path::new("/etc/passwd"), Path::new("/dev/zero"), Path::new("../../../../../../etc/passwd")]
    {
        symlink(target, &link).expect("a link");
        refused("leads out of the project");
        fs::remove_file(&link).expect("the link");
    }
    // A link within the project is one.
    fs::write(place.file("shared.txt"), "CREATE TABLE u (a TEXT);").expect("a file");
    symlink("../shared.txt", &link).expect("a link");
    assert!(place.run(["validate"]).ok().contains('u'));
    fs::remove_file(&link).expect("the link");
    // What is no file is not waited for.
    assert!(std::process::Command::new("mkfifo").arg(&link).status().expect("mkfifo").success());
    refused("is not a file");
    fs::remove_file(&link).expect("the pipe");
    fs::create_dir(&link).expect("a folder");
    refused("is not a file");
    fs::remove_dir(&link).expect("the folder");
    // Nor are names that are no text.
    let odd = place.file("definitions").join(std::ffi::OsStr::from_bytes(b"\xff.sql"));
    fs::write(&odd, "CREATE TABLE u (a TEXT);").expect("a file");
    refused("not UTF-8");
    fs::remove_file(&odd).expect("the file");
    // The folder itself.
    let folder = place.file("definitions");
    fs::rename(&folder, outside.path().join("definitions")).expect("it can be moved");
    symlink(outside.path().join("definitions"), &folder).expect("a link");
    refused("leads out of the project");
    fs::remove_file(&folder).expect("the link");
    fs::rename(outside.path().join("definitions"), &folder).expect("it can be moved back");
    // The configuration.
    let toml = place.file("watershed.toml");
    fs::rename(&toml, outside.path().join("watershed.toml")).expect("it can be moved");
    symlink(&target, &toml).expect("a link");
    refused("leads out of the project");
    fs::remove_file(&toml).expect("the link");
    fs::rename(outside.path().join("watershed.toml"), &toml).expect("it can be moved back");
    // Where a run spills, and deletes what dead runs have left.
    let victim = outside.path().join("victim");
    fs::create_dir_all(victim.join("run")).expect("a folder");
    fs::write(victim.join("run/lock"), "").expect("a file");
    symlink(&victim, place.file(".watershed-scratch")).expect("a link");
    place.run_with(["append", "t", "-"], b"{\"a\":\"x\"}\n").ok();
    assert!(place.run(["batch"]).fails(2).contains("leads out of the project"));
    assert!(victim.join("run/lock").exists());
    // `init` writes through no link.
    let empty = outside.path().join("empty");
    fs::create_dir(&empty).expect("a folder");
    symlink(outside.path().join("nowhere"), empty.join("watershed.toml")).expect("a link");
    let _ = place.run(["init", &empty.to_string_lossy()]);
    assert!(!outside.path().join("nowhere").exists());
}

#[test]
fn data_names_and_messages_steer_no_terminal() {
    let definitions = "CREATE TABLE t (k TEXT, j JSON, n INT);\n\
                       CREATE MATERIALIZED VIEW v AS SELECT k, j FROM t;\n\
                       CREATE MATERIALIZED VIEW w AS SELECT k, CAST(k AS INT) AS n FROM t;";
    let place = Workplace::with_definitions(&[("t.sql", definitions)]);
    let mut records = Vec::new();
    for text in HOSTILE {
        // Escaped as little as JSON allows, good and bad.
        let text = text.replace('\\', "\\\\").replace('"', "\\\"");
        let escaped: String =
            text.chars().map(|c| if (c as u32) < 0x20 { format!("\\u{:04x}", c as u32) } else { c.into() }).collect();
        records.extend(format!("{{\"k\":\"{escaped}\",\"j\":{{\"{escaped}\":[\"{escaped}\"]}}}}\n").into_bytes());
        records.extend(format!("{{\"n\":\"{escaped}\"}}\n{{\"k\":{}}}\n", text.replace('\n', " ")).into_bytes());
        records.extend(b"\xff\x1b[2J{\n");
    }
    calm(place.run_with(["append", "t", "-"], &records)).ok();
    let mut tried = 0;
    for _ in 0..2 {
        for arguments in [
            vec!["query", "SELECT * FROM v"],
            vec!["query", "SELECT * FROM v", "--format", "json"],
            vec!["dead-letters", "t"],
            vec!["dead-letters", "t", "--format", "json"],
            vec!["rejected", "w"],
            vec!["rejected", "w", "--format", "json"],
            vec!["status"],
            vec!["verify"],
            vec!["--log-level", "trace", "query", "SELECT k FROM v LIMIT 3"],
        ] {
            calm(place.run(&arguments)).ok();
            tried += 1;
        }
        place.run(["batch"]).ok();
    }
    // A command line has no NUL.
    for text in HOSTILE.iter().filter(|text| text.chars().any(steers) && !text.contains('\0')) {
        for arguments in [
            vec!["query".to_owned(), format!("SELECT k AS {} FROM v", quoted(text))],
            vec!["query".to_owned(), format!("SELECT '{}' + 1 AS x, nothing FROM v", text.replace('\'', "''"))],
            vec!["query".to_owned(), format!("SELECT CAST('{}' AS INT) AS x FROM v", text.replace('\'', "''"))],
            vec!["query".to_owned(), (*text).to_owned()],
            vec!["query".to_owned(), "--file".to_owned(), format!("no{text}")],
            vec!["dead-letters".to_owned(), format!("no{text}")],
            vec!["rejected".to_owned(), format!("no{text}")],
            vec!["append".to_owned(), format!("no{text}"), "-".to_owned()],
            vec!["append".to_owned(), "t".to_owned(), format!("no{text}")],
            vec!["--set".to_owned(), format!("logging.level={text}"), "status".to_owned()],
            vec!["--set".to_owned(), format!("batch.time_zone={text}"), "status".to_owned()],
            vec!["--set".to_owned(), format!("store.url=ftp://{text}"), "status".to_owned()],
            vec!["--set".to_owned(), format!("store.{text}=1"), "status".to_owned()],
            vec!["--project".to_owned(), format!("no{text}"), "status".to_owned()],
        ] {
            calm(place.run(&arguments));
            tried += 1;
        }
    }
    eprintln!("hostile texts: the output of {tried} commands steers no terminal");
}
