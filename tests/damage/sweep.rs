//! Bytes flipped, lengths cut, files swapped, missing and empty, over the whole system: queries, old epochs, incremental and full
//! runs, the next writer.
//!
//! The crates of the log and of the batch layer try every byte with their own readers. Here every reader of the whole tries a part;
//! `WATERSHED_TEST_DAMAGE=all` tries all of it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use super::specimen::{Answers, Result, Specimen};

/// Ways to read a project. Each ends with its answers, or an error.
type Reader = fn(&Specimen) -> Result<Answers>;
const READERS: [(&str, Reader); 5] = [
    ("query", Specimen::answers_now),
    ("query as of an old epoch", |of| {
        let mut answers = of.answers_as_of(1)?;
        assert_eq!(answers, of.first, "WRONG as of the first epoch");
        answers.clone_from(&of.answers);
        Ok(answers)
    }),
    ("incremental run", |of| of.batch(false).and_then(|()| of.answers_now())),
    ("full run", |of| of.batch(true).and_then(|()| of.answers_now())),
    ("the next writer", |of| {
        let project = of.project()?;
        // To another table, so that the answers of most views stay what they are.
        of.run(project.append("visits", [r#"{"ts": "never"}"#]))?;
        of.send_all_again(&project)?;
        of.answers_now()
    }),
];

/// How many damages were tried, and what became of them.
#[derive(Clone, Copy, Default)]
struct Tally {
    tried: u64,
    detected: u64,
    harmless: u64,
}

fn attempt(of: &Specimen, reader: usize, what: &str, file: &Path, tally: &mut Tally) {
    let (name, read) = READERS[reader];
    let what = format!("{} {what}, {name}", file.display());
    let outcome = catch_unwind(AssertUnwindSafe(|| read(of))).unwrap_or_else(|_| panic!("{what}: PANIC or wrong"));
    tally.tried += 1;
    match outcome {
        Ok(answers) => {
            assert!(answers == of.answers, "{what}: WRONG: {answers:?}");
            tally.harmless += 1;
        }
        Err(error) => {
            assert!(names(&error.to_string(), file), "{what}: the error does not name the place: {error}");
            tally.detected += 1;
        }
    }
}

/// Whether an error's text names the file, or the partition of the log in which it is.
fn names(text: &str, file: &Path) -> bool {
    let file = file.to_str().expect("Unicode");
    let object = file.strip_prefix("store/").unwrap_or(file);
    let partition = file.strip_prefix("log/").and_then(|path| Some(path.rsplit_once('/')?.0));
    let in_partition = partition.is_some_and(|partition| match partition.split_once('/') {
        Some((source, number)) => text.contains(partition) || text.contains(&format!("{source:?}/{number}")),
        None => text.contains(&format!("{partition}/")) || text.contains(&format!("{partition:?}")),
    });
    text.contains(object) || in_partition
}

fn damages(bytes: &[u8]) -> Vec<(String, Option<Vec<u8>>)> {
    let mut damages = vec![("missing".to_owned(), None), ("empty".to_owned(), Some(Vec::new()))];
    for at in 0..bytes.len() {
        for flip in [1 << (at % 8), 0xff] {
            let mut bad = bytes.to_vec();
            bad[at] ^= flip;
            damages.push((format!("byte {at} ^ {flip:#04x}"), Some(bad)));
        }
        damages.push((format!("cut to {at} bytes"), Some(bytes[..at].to_vec())));
    }
    for more in [1, 9, 700] {
        damages.push((format!("{more} bytes more"), Some([bytes, &vec![b' '; more]].concat())));
    }
    damages
}

#[test]
fn no_damaged_file_is_served_by_any_reader() {
    let all = std::env::var("WATERSHED_TEST_DAMAGE").is_ok_and(|value| value == "all");
    let of = Specimen::new();
    let mut whole = Tally::default();
    for (kind, file) in of.kinds() {
        let good = &of.files[&file];
        let mut tally = Tally::default();
        let damages = damages(good);
        // Without `all`, each reader gets a few, others for each, and always the missing and the empty file.
        let step = if all { 1 } else { damages.len() / 5 + 1 };
        for reader in 0..READERS.len() {
            let chosen = |at: usize| at < 2 || at % step == reader * step / READERS.len();
            for (_, (what, bad)) in damages.iter().enumerate().filter(|(at, _)| chosen(*at)) {
                of.damage(&file, bad.as_deref());
                attempt(&of, reader, what, &file, &mut tally);
                of.restore();
            }
        }
        let Tally { tried, detected, harmless } = tally;
        eprintln!("{kind}: {} bytes, {tried} damages × readers: {detected} detected, {harmless} harmless", good.len());
        whole.tried += tried;
        whole.detected += detected;
        whole.harmless += harmless;
    }
    let Tally { tried, detected, harmless } = whole;
    let readers = READERS.len();
    eprintln!("the whole project: {tried} damages × {readers} readers: {detected} detected, {harmless} harmless");
    assert!(detected > 0 && harmless > 0 && tried == detected + harmless);
}

#[test]
fn no_file_passes_for_another_in_the_whole_project() {
    let of = Specimen::new();
    let mut tally = Tally::default();
    let kinds = of.kinds();
    for (index, (_, file)) in kinds.iter().enumerate() {
        // The same kind of file from another place: another partition, epoch, manifest or view, an older version of it.
        let extension = file.extension();
        let folder =
            |path: &Path| path.components().take(2).map(|part| part.as_os_str().to_owned()).collect::<Vec<_>>();
        let alike = of.files.iter().filter(|(other, bytes)| {
            other.extension() == extension && folder(other) == folder(file) && **bytes != of.files[file]
        });
        for (other, bytes) in alike.step_by(3).take(4) {
            of.damage(file, Some(bytes));
            attempt(&of, index % READERS.len(), &format!("is {}", other.display()), file, &mut tally);
            of.restore();
        }
    }
    let Tally { tried, detected, harmless } = tally;
    eprintln!("swapped files of the whole project: {tried} tried: {detected} detected, {harmless} harmless");
    assert!(tried > 20);
}
