//! Tables as Parquet files: immutable, sorted, checked, and read by parts.
//!
//! A file holds row groups, page indexes and the footer, as any Parquet file does, so DuckDB, Spark and Polars read it.
//! Watershed adds what lets it trust a part of a file without reading the rest: the footer's metadata has a CRC-32C for each
//! 64 KiB block of everything up to the page indexes (key `watershed.blocks`), and the manifest has the hash of what
//! follows, the *tail*. So a lookup reads the tail once (then it is cached: files never change), the blocks that hold the
//! pages it needs, and every byte it uses has been verified.

pub(crate) mod groups;
mod pages;
pub(crate) mod prune;
pub(crate) mod read;
pub(crate) mod tails;
pub(crate) mod verified;
pub(crate) mod write;

/// Bytes that one block checksum covers.
pub(crate) const BLOCK_BYTES: u64 = 64 << 10;
/// Rows of a page: what a lookup decodes at least of each column.
pub(crate) const PAGE_ROWS: usize = 2 << 10;
/// Metadata key of the block checksums: little-endian CRC-32Cs as hex.
pub(crate) const BLOCKS_KEY: &str = "watershed.blocks";
/// Metadata key of the table's format.
pub(crate) const FORMAT_KEY: &str = "watershed.format";
/// The format that this version writes.
pub(crate) const FORMAT: &str = "watershed.table/1";
/// Metadata key of the fingerprint that the rows depend on.
pub(crate) const FINGERPRINT_KEY: &str = "watershed.fingerprint";
/// Metadata key of the table's name.
pub(crate) const TABLE_KEY: &str = "watershed.table";

#[cfg(test)]
mod tests;
