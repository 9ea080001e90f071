//! What the README tells people to type does what it says.

use std::process::Command;

use watershed::{Catalog, Registry, SqlFile};

use crate::support::command::Workplace;

/// The commands of the README's `console` blocks, in order. `cargo run -- …` is the built command; what builds, tests, installs
/// or changes the directory is left out, and so is `up`, which does not end.
fn commands() -> Vec<String> {
    let mut commands = Vec::new();
    let mut in_console = false;
    for line in include_str!("../README.md").lines() {
        if let Some(language) = line.strip_prefix("```") {
            in_console = !in_console && language == "console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| in_console) {
            let command = command.replace("cargo run -- ", "watershed ");
            let first = command.split_whitespace().next().unwrap_or_default();
            if !["cargo", "git", "cd", "pip"].contains(&first) && !command.starts_with("watershed up") {
                commands.push(command);
            }
        }
    }
    commands
}

#[test]
fn commands_run_as_they_are_written() {
    let place = Workplace::new();
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_watershed"));
    let folder = program.parent().expect("it is in a folder").to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([folder].into_iter().chain(std::env::split_paths(&path))).expect("a path");
    let commands = commands();
    assert!(commands.iter().any(|command| command.starts_with("watershed demo")), "{commands:?}");
    let script = format!("set -euo pipefail\n{}\n", commands.join("\n"));
    let mut bash = Command::new("bash");
    bash.arg("-c").arg(&script).current_dir(place.path()).env("PATH", path).env("NO_COLOR", "1");
    let output = bash.output().expect("bash runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}\n{out}\n{err}");
}

/// The `sql` blocks of a page, as one text.
fn sql(page: &str) -> String {
    let mut text = String::new();
    let mut in_sql = false;
    for line in page.lines() {
        if let Some(language) = line.strip_prefix("```") {
            in_sql = !in_sql && language == "sql";
        } else if in_sql {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[test]
fn definitions_in_the_documents_are_valid() {
    for (name, page) in [("README.md", include_str!("../README.md")), ("docs/sql.md", include_str!("../docs/sql.md"))] {
        let file = SqlFile { name: name.to_owned(), text: sql(page) };
        let catalog = Catalog::from_sql(std::slice::from_ref(&file), &Registry::new());
        let catalog = catalog.unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
        assert!(catalog.materialized().count() > 0, "{}", file.text);
    }
}
