//! Tables round trip, lookups read little, and damage is found.

use std::sync::Arc;

use object_store::memory::InMemory;
use polars::prelude::*;
use watershed_pipelines::{key::KeyBound, partial::StoredColumns, types::Value};

use super::{
    PAGE_ROWS,
    groups::{self, Needed},
    prune::Wanted,
    read,
    write::{EncodedTable, TableSpec, TableWriter},
};
use crate::{
    columns,
    error::BatchError,
    manifest::StoredFile,
    store::{Store, StoreOptions},
    testing::{Counting, Counts},
};

fn spec() -> TableSpec {
    TableSpec { name: "v/groups".to_owned(), fingerprint: "f".to_owned(), key_columns: 2 }
}

/// `keys` cards with `each` minutes each, sorted.
fn frame(keys: usize, each: usize) -> DataFrame {
    let rows = keys * each;
    let card: Vec<String> = (0..rows).map(|i| format!("card-{:07}", i / each)).collect();
    let start: Vec<i64> = (0..rows).map(|i| (i % each) as i64 * 60_000_000).collect();
    let start = Int64Chunked::from_slice("window_start".into(), &start).into_series();
    // Hard to compress, so that files have a realistic size.
    let noise = |i: u64| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20) as i64;
    let total: Vec<i64> = (0..rows).map(|i| noise(i as u64)).collect();
    let state: Vec<Vec<u8>> = (0..rows).map(|i| noise(i as u64 * 3 + 1).to_le_bytes().to_vec()).collect();
    let columns = vec![
        Column::new("card".into(), card),
        start.cast(&DataType::Datetime(TimeUnit::Microseconds, None)).unwrap().into(),
        Column::new("total".into(), total),
        BinaryChunked::from_slice("_state_total".into(), &state).into_series().into(),
    ];
    DataFrame::new(rows, columns).unwrap()
}

fn stored(frame: &DataFrame) -> (Store, Arc<Counts>, StoredFile) {
    let counting = Counting::new(Arc::new(InMemory::new()));
    let counts = Arc::clone(&counting.counts);
    let store = Store::with_object_store(Arc::new(counting)).unwrap();
    let table = EncodedTable::encode(&spec(), &columns::to_arrow(frame).unwrap()).unwrap();
    let file = table.put(&store, "data/x.parquet".to_owned()).unwrap();
    counts.reset();
    (store, counts, file)
}

fn card(name: &str) -> Wanted {
    Wanted { column: "card".to_owned(), bound: KeyBound::In(vec![Value::Text(name.to_owned())]) }
}

#[test]
fn columns_side_by_side_make_the_same_file() {
    // Below the least that is divided, one row group, two of them, and one that is just full.
    for rows in [7, 9_000, 131_072, 140_001] {
        let batch = columns::to_arrow(&frame(rows, 1)).unwrap();
        let mut one_by_one = TableWriter::new(&spec(), batch.schema()).unwrap();
        one_by_one.write(&batch).unwrap();
        let (expected, side_by_side) = (one_by_one.finish().unwrap(), EncodedTable::encode(&spec(), &batch).unwrap());
        assert_eq!(side_by_side.describe(String::new()), expected.describe(String::new()), "{rows} rows");
        assert_eq!(side_by_side.bytes, expected.bytes, "{rows} rows");
    }
}

#[test]
fn tables_come_back() {
    for rows in [0, 1, 5000] {
        let frame = frame(rows, 1);
        let (store, _, file) = stored(&frame);
        assert_eq!(file.rows, rows as u64);
        assert!(read::read(&store, &file).unwrap().equals_missing(&frame));
    }
}

#[test]
fn a_lookup_reads_little_and_finds_all() {
    let frame = frame(40_000, 10);
    let (store, counts, file) = stored(&frame);
    let wanted = [card("card-0023456")];
    let found = read::read_wanted(&store, &file, &wanted, None).unwrap();
    let mask = found.column("card").unwrap().str().unwrap().equal("card-0023456");
    assert_eq!(found.filter(&mask).unwrap().height(), 10);
    assert!(found.height() <= 2 * PAGE_ROWS, "{} rows", found.height());
    let (first, bytes) = (counts.bytes(), file.bytes);
    assert!(first * 5 < bytes, "read {first} of {bytes} bytes");
    // The footer is in memory now.
    counts.reset();
    read::read_wanted(&store, &file, &wanted, None).unwrap();
    assert!(counts.bytes() < first && counts.bytes() * 8 < bytes, "read {} of {bytes} bytes", counts.bytes());
    assert!(counts.requests() <= 4, "{} requests", counts.requests());
}

#[test]
fn a_key_that_is_not_there_costs_no_more_than_one_that_is() {
    let frame = frame(40_000, 10);
    let (store, counts, file) = stored(&frame);
    // Between two keys: statistics do not exclude it.
    let found = read::read_wanted(&store, &file, &[card("card-0023456x")], None).unwrap();
    assert!(found.height() <= 2 * PAGE_ROWS && found.width() == 4, "{:?}", found.shape());
    assert!(counts.bytes() * 5 < file.bytes, "read {} of {} bytes", counts.bytes(), file.bytes);
    // Outside all of them: nothing but the footer, which is in memory.
    counts.reset();
    assert_eq!(read::read_wanted(&store, &file, &[card("x")], None).unwrap().height(), 0);
    assert_eq!(counts.requests(), 0);
}

#[test]
fn bloom_filters_spare_reading_what_statistics_do_not_exclude() {
    // Every page has nearly the same range of minutes.
    let frame = frame(10_000, 4);
    let (store, counts, file) = stored(&frame);
    let minute =
        |micros| Wanted { column: "window_start".to_owned(), bound: KeyBound::In(vec![Value::Timestamp(micros)]) };
    let found = read::read_wanted(&store, &file, &[minute(120_000_000)], None).unwrap();
    assert_eq!(found.height(), frame.height());
    counts.reset();
    assert_eq!(read::read_wanted(&store, &file, &[minute(120_000_001)], None).unwrap().height(), 0);
    assert!(counts.bytes() * 5 < file.bytes, "read {} of {} bytes", counts.bytes(), file.bytes);
    assert_eq!(counts.requests(), 1);
}

#[test]
fn every_flipped_byte_that_is_read_is_found() {
    let frame = frame(20_000, 2);
    let (store, _, file) = stored(&frame);
    let bytes = store.get(&file.path).unwrap();
    let wanted = [card("card-0012345")];
    let good = read::read_wanted(&store, &file, &wanted, None).unwrap();
    let mut found = 0;
    for at in (0..bytes.len()).step_by(bytes.len() / 97) {
        let mut bad = bytes.to_vec();
        bad[at] ^= 0x10;
        let store = Store::with_object_store(Arc::new(InMemory::new())).unwrap();
        store.put(&file.path, bad.into()).unwrap();
        assert!(matches!(read::read(&store, &file), Err(BatchError::Damaged { .. })), "byte {at}");
        match read::read_wanted(&store, &file, &wanted, None) {
            Ok(frame) => assert!(frame.equals_missing(&good), "byte {at}"),
            Err(BatchError::Damaged { object, .. }) => {
                assert_eq!(object, file.path);
                found += 1;
            }
            Err(other) => panic!("byte {at}: {other}"),
        }
    }
    assert!(found > 0);
}

#[test]
fn every_flipped_byte_of_what_says_where_keys_are_is_found() {
    let (store, _, file) = stored(&frame(20_000, 2));
    let bytes = store.get(&file.path).unwrap();
    let tail = bytes.len() - file.tail_bytes as usize..bytes.len();
    // Whatever a reader would make of it: a wrong statistic would hide rows without a word.
    for at in tail.clone().step_by(tail.len().div_ceil(1000)) {
        let mut bad = bytes.to_vec();
        bad[at] ^= 1 << (at % 8);
        let store = Store::with_object_store(Arc::new(InMemory::new())).unwrap();
        store.put(&file.path, bad.into()).unwrap();
        let read = read::read_wanted(&store, &file, &[card("card-0012345")], None);
        assert!(
            matches!(&read, Err(BatchError::Damaged { object, .. }) if *object == file.path),
            "byte {at}: {read:?}"
        );
    }
}

#[test]
fn every_cut_that_matters_is_found() {
    let frame = frame(20_000, 2);
    let (memory, _, file) = stored(&frame);
    let bytes = memory.get(&file.path).unwrap();
    let wanted = [card("card-0012345")];
    let good = read::read_wanted(&memory, &file, &wanted, None).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let local = || Store::open(&StoreOptions::new(directory.path().to_str().unwrap())).unwrap();
    let in_memory = || Store::with_object_store(Arc::new(InMemory::new())).unwrap();
    let lengths = (0..bytes.len()).step_by(bytes.len() / 23).chain([bytes.len() - 1]);
    for (length, store) in lengths.flat_map(|length| [(length, in_memory()), (length, local())]) {
        store.put(&file.path, bytes.slice(..length)).unwrap();
        for read in [read::read(&store, &file), read::read_wanted(&store, &file, &wanted, None)] {
            let error = read.unwrap_err();
            assert!(matches!(&error, BatchError::Damaged { object, .. } if *object == file.path), "{length}: {error}");
        }
    }
    // Cut after the footer was read: what the pages give is checked all the same.
    let store = in_memory();
    store.put(&file.path, bytes.clone()).unwrap();
    read::read_wanted(&store, &file, &wanted, None).unwrap();
    store.put(&file.path, bytes.slice(..bytes.len() / 100)).unwrap();
    let error = read::read_wanted(&store, &file, &wanted, None).unwrap_err();
    assert!(matches!(&error, BatchError::Damaged { object, .. } if *object == file.path), "{error}");
    // More bytes behind the footer are none of the file's.
    let store = in_memory();
    store.put(&file.path, [&bytes[..], b"more"].concat().into()).unwrap();
    assert!(read::read_wanted(&store, &file, &wanted, None).unwrap().equals_missing(&good));
    assert!(matches!(read::read(&store, &file), Err(BatchError::Damaged { .. })));
}

#[test]
fn a_file_that_is_gone_says_so() {
    let (store, _, file) = stored(&frame(40_000, 2));
    store.delete(vec![file.path.clone()]).unwrap();
    assert!(read::read(&store, &file).unwrap_err().is_gone());
    assert!(read::read_wanted(&store, &file, &[card("a")], None).unwrap_err().is_gone());
}

/// All rows of the columns named; with those of `partials` if a column of `doubts` has a NULL or others are there.
fn needed(rows: &[&str], doubts: &[&str], partials: &[&str], merging: bool) -> Needed {
    let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let (rows, doubts, partials) = (named(rows), named(doubts), named(partials));
    Needed { columns: StoredColumns { rows, doubts, partials, ..StoredColumns::default() }, merging }
}

fn read_groups(store: &Store, file: &StoredFile, needed: &Needed) -> Result<DataFrame, BatchError> {
    let groups = groups::map(store, file, needed, Ok)?;
    Ok(groups.into_iter().reduce(|rows, group| rows.vstack(&group).unwrap()).unwrap())
}

#[test]
fn only_the_columns_that_are_needed_are_read() {
    let frame = frame(50_000, 5);
    let (store, counts, file) = stored(&frame);
    let all = ["card", "window_start", "total", "_state_total"];
    assert!(read_groups(&store, &file, &needed(&all, &[], &[], false)).unwrap().equals_missing(&frame));
    let whole = counts.bytes();
    counts.reset();
    let read = read_groups(&store, &file, &needed(&["total"], &["total"], &all, false)).unwrap();
    assert!(read.equals_missing(&frame.select(["total"]).unwrap()));
    // Two columns of four are hard to compress: one of them, and whole blocks.
    assert!(counts.bytes() > 0 && counts.bytes() * 3 < whole * 2, "{} of {whole} bytes", counts.bytes());
    counts.reset();
    let read = read_groups(&store, &file, &needed(&["total"], &[], &["card", "total"], true)).unwrap();
    assert!(read.equals_missing(&frame.select(["card", "total"]).unwrap()));
    // How many rows there are, the footer says, which is in memory.
    counts.reset();
    let groups = groups::map(&store, &file, &needed(&[], &[], &all, false), Ok).unwrap();
    assert_eq!(groups.iter().map(DataFrame::height).sum::<usize>(), frame.height());
    assert_eq!(counts.requests(), 0);
    // A lookup, too.
    let wanted = [card("card-0023456")];
    let all = read::read_wanted(&store, &file, &wanted, None).unwrap();
    let mut few = needed(&[], &[], &["card", "total", "_state_total"], false).columns;
    let found = read::read_wanted(&store, &file, &wanted, Some(&few)).unwrap();
    assert!(found.equals_missing(&all.select(["card", "total", "_state_total"]).unwrap()));
    // No value is NULL: each says all.
    few.of_overflow = vec![("total".to_owned(), "_state_total".to_owned())];
    let found = read::read_wanted(&store, &file, &wanted, Some(&few)).unwrap();
    assert!(found.equals_missing(&all.select(["card", "total"]).unwrap()));
}

#[test]
fn where_a_value_may_not_say_all_its_state_is_read_too() {
    let mut frame = frame(150_000, 1);
    let total = frame.column("total").unwrap().i64().unwrap().clone();
    // In the second row group.
    let total: Int64Chunked = total.iter().enumerate().map(|(i, v)| v.filter(|_| i != 140_000)).collect();
    frame.with_column(total.with_name("total".into()).into_column()).unwrap();
    let (store, _, file) = stored(&frame);
    let partials = ["card", "total", "_state_total"];
    let groups = groups::map(&store, &file, &needed(&["total"], &["total"], &partials, false), Ok).unwrap();
    let mut columns: Vec<usize> = groups.iter().map(DataFrame::width).collect();
    columns.dedup();
    assert_eq!(columns, [1, 3]);
}

#[test]
fn a_flipped_byte_of_a_column_that_is_needed_is_found() {
    let frame = frame(50_000, 5);
    let (store, _, file) = stored(&frame);
    let bytes = store.get(&file.path).unwrap();
    let needed = needed(&["total"], &[], &[], false);
    let good = read_groups(&store, &file, &needed).unwrap();
    let (mut found, mut elsewhere) = (0, 0);
    for at in (0..bytes.len()).step_by(bytes.len() / 97) {
        let mut bad = bytes.to_vec();
        bad[at] ^= 0x10;
        let store = Store::with_object_store(Arc::new(InMemory::new())).unwrap();
        store.put(&file.path, bad.into()).unwrap();
        match read_groups(&store, &file, &needed) {
            Ok(frame) => {
                assert!(frame.equals_missing(&good), "byte {at}");
                elsewhere += 1;
            }
            Err(BatchError::Damaged { object, .. }) => {
                assert_eq!(object, file.path);
                found += 1;
            }
            Err(other) => panic!("byte {at}: {other}"),
        }
    }
    assert!(found > 20 && elsewhere > 20, "found {found}, elsewhere {elsewhere}");
}
