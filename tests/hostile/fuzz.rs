//! Every decoder, the planner and the executor of queries take any bytes: their corpus and seeded changes of it, here; bytes found
//! by coverage, with `cargo fuzz` (see `fuzz/`).

use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use watershed::fuzzing::targets;

use crate::support::seeds;

/// Seeds by default, and changed inputs of each target per seed.
const SEEDS: u64 = 4;
const CHANGES: usize = 250;
/// A target whose inputs take long gets fewer of them; how many is printed.
const TIME_PER_TARGET_AND_SEED: Duration = Duration::from_millis(1500);

/// One to three changes: bits, bytes, numbers that are read as lengths, pieces removed, doubled, and taken from another input.
pub(super) fn changed(input: &[u8], other: &[u8], rng: &mut StdRng) -> Vec<u8> {
    const NUMBERS: [u64; 8] = [0, 1, 0x7f, 0xff, 0x7fff_ffff, 0xffff_ffff, 0x7fff_ffff_ffff_ffff, u64::MAX];
    let mut bytes = input.to_vec();
    for _ in 0..rng.random_range(1..=3) {
        let at = rng.random_range(0..=bytes.len());
        let end = (at + rng.random_range(1..=16)).min(bytes.len());
        match rng.random_range(0..8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
            1 if at < bytes.len() => bytes[at] = rng.random(),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            4 => bytes.truncate(at),
            5 => {
                let number = NUMBERS.choose(rng).copied().unwrap_or_default();
                let width = [1, 2, 4, 8][rng.random_range(0..4)];
                let number = &number.to_le_bytes()[..width];
                let end = (at + width).min(bytes.len());
                bytes[at..end].copy_from_slice(&number[..end - at]);
            }
            6 => {
                let (from, to) = (rng.random_range(0..=other.len()), rng.random_range(0..=other.len()));
                bytes.splice(at..end, other[from.min(to)..from.max(to)].iter().copied());
            }
            _ => {
                let digits = rng.random_range(1..24);
                let digits = (0..digits).map(|_| rng.random_range(b'0'..=b'9')).collect::<Vec<u8>>();
                bytes.splice(at..end, digits);
            }
        }
    }
    bytes
}

#[test]
fn any_bytes_are_read_as_what_was_written_or_refused() {
    let mut names = Vec::new();
    for (name, run, corpus) in targets() {
        let corpus = corpus();
        assert!(!corpus.is_empty(), "{name} has no corpus");
        corpus.iter().for_each(|input| run(input));
        let tried = std::cell::Cell::new(0);
        seeds::each(SEEDS, |seed| {
            let mut rng = StdRng::seed_from_u64(seed);
            let begun = Instant::now();
            for change in 0..CHANGES {
                // However slow the machine, the first ones are tried.
                if change >= CHANGES / 10 && begun.elapsed() > TIME_PER_TARGET_AND_SEED {
                    break;
                }
                let (input, other) = (corpus.choose(&mut rng).unwrap(), corpus.choose(&mut rng).unwrap());
                let bytes = changed(input, other, &mut rng);
                let result = std::panic::catch_unwind(|| run(&bytes));
                assert!(result.is_ok(), "{name} failed, seed {seed}, change {change}, with {}", shown(&bytes));
                tried.set(tried.get() + 1);
            }
        });
        names.push(format!("{name} {}+{}", corpus.len(), tried.get()));
    }
    eprintln!("fuzz targets (corpus + changes tried): {}", names.join(", "));
    assert!(names.len() >= 12, "{names:?}");
}

/// Writes the corpus of each target for `fuzz/`, where that is asked for; else it only looks at names.
#[test]
fn every_target_has_a_program_that_fuzzes_it() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let programs = std::fs::read_dir(folder.join("fuzz_targets")).expect("fuzz/fuzz_targets").count();
    assert_eq!(programs, targets().count());
    for (name, _, corpus) in targets() {
        assert!(folder.join(format!("fuzz_targets/{name}.rs")).is_file(), "{name} has no program");
        if std::env::var_os("WATERSHED_WRITE_CORPUS").is_some() {
            let folder = folder.join("corpus").join(name);
            std::fs::create_dir_all(&folder).expect("a folder");
            for (i, input) in corpus().iter().enumerate() {
                std::fs::write(folder.join(format!("seed-{i}")), input).expect("a file");
            }
        }
    }
}

fn shown(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => format!("{text:?}"),
        Err(_) => format!("{bytes:02x?}"),
    }
}
