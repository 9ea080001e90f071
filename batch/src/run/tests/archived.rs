//! The archive holds every record, in few files, and stands in for the log.

use super::*;
use crate::{ArchiveReader, BatchError};

#[test]
fn the_archive_holds_every_record_with_its_bytes() {
    let project = Project::new();
    let mut all = Vec::new();
    for i in 0..12 {
        let events = events(20 + 30 * (i as usize % 3), i);
        project.append(&events);
        all.extend(events);
        project.run().unwrap();
    }
    let manifest = Arc::new(project.manifest());
    assert_eq!(manifest.archived(), manifest.cut);
    let reader = ArchiveReader::new(project.store.clone(), Arc::clone(&manifest));
    let mut read = 0;
    for partition in 0..3 {
        let files = &manifest.sources["payments"].archive[&partition];
        assert!(files.len() <= 6, "{} files", files.len());
        let (mut at, end) = (0, reader.end("payments", partition));
        while at < end {
            let archived = reader.read("payments", partition, at, end).unwrap();
            let logged = project.log.read("payments", partition, at, archived.next_offset(), usize::MAX).unwrap();
            assert_eq!(archived.iter().count(), logged.len());
            for (a, b) in archived.iter().zip(&logged) {
                assert_eq!(
                    (a.offset, a.append_time_micros, a.key, a.payload),
                    (b.offset, b.append_time_micros, b.key, b.payload)
                );
                read += 1;
            }
            at = archived.next_offset();
        }
        assert!(reader.read("payments", partition, end, u64::MAX).unwrap().is_empty());
    }
    assert_eq!(read, all.len());
}

#[test]
fn typed_columns_and_dead_letters_lie_beside_the_bytes() {
    let project = Project::new();
    project.append(&[(0, 5, 1234, 1), (0, 6, 1, 9), (0, 7, -250, 2)]);
    project.run().unwrap();
    let manifest = project.manifest();
    let file = &manifest.sources["payments"].archive[&0][0];
    assert_eq!((file.start, file.end), (0, 3));
    let frame = crate::table::read::read(&project.store, &file.file).unwrap();
    let text = |column: &str, row: usize| format!("{}", frame.column(column).unwrap().get(row).unwrap());
    assert_eq!(text("amount", 0), "12.34");
    assert_eq!(text("amount", 1), "null");
    assert_eq!(text("amount", 2), "-2.50");
    assert_eq!(text("_dead_letter", 0), "null");
    assert_ne!(text("_dead_letter", 1), "null");
    let counts = manifest.sources["payments"].counts;
    assert_eq!((counts.records, counts.accepted, counts.dead), (3, 2, 1));
}

#[test]
fn records_that_the_log_has_forgotten_come_from_the_archive() {
    let mut project = Project::new();
    project.append(&events(300, 1));
    project.run().unwrap();
    project.append(&events(50, 2));
    project.run().unwrap();
    let answer = project.answer();
    let cut = project.manifest().cut;
    project.log.delete_sealed_below(&cut).unwrap();
    assert!(!project.log.start().unwrap().is_zero(), "something was deleted");
    // A full run agrees, and a new view gets every record.
    assert!(project.run_with(&BatchOptions { full: true, ..project.options() }).unwrap().repaired.is_empty());
    assert_eq!(project.answer(), answer);
    project.catalog = catalog(
        &[TABLE, "CREATE MATERIALIZED VIEW a AS SELECT card, COUNT(*) AS c FROM payments GROUP BY card;"].concat(),
    );
    let report = project.run().unwrap();
    assert_eq!(report.records, 350);
    assert_eq!(project.manifest().views["a"].counts.accepted, project.manifest().sources["payments"].counts.accepted);
}

#[test]
fn a_log_that_begins_above_the_archives_end_is_an_error() {
    let mut project = Project::new();
    project.append(&events(300, 1));
    project.epoch().unwrap();
    project.run_with(&BatchOptions { archive: false, ..project.options() }).unwrap();
    project.log.delete_sealed_below(&project.manifest().cut).unwrap();
    project.append(&events(10, 2));
    project.epoch().unwrap();
    // Without an archive the run needs new records only.
    project.run_with(&BatchOptions { archive: false, ..project.options() }).unwrap();
    // With one, the records that were never archived are missing.
    assert!(matches!(project.run_with(&project.options()), Err(BatchError::Hole { .. })));
    // And so they are for a new view.
    project.catalog = catalog(
        &[TABLE, "CREATE MATERIALIZED VIEW a AS SELECT card, COUNT(*) AS c FROM payments GROUP BY card;"].concat(),
    );
    let options = BatchOptions { archive: false, ..project.options() };
    let error = project.run_with(&options).unwrap_err();
    assert!(matches!(error, BatchError::Hole { .. }), "{error}");
}
