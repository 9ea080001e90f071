//! What partials promise, for random records, splits, merges and windows.

mod differences;
mod fixtures;
mod hopping;
mod order;
mod reference;
mod selection;
mod small;
mod storage;
