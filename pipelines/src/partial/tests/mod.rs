//! What partials promise, for random records, splits, merges and windows.

mod fixtures;
mod hopping;
mod order;
mod reference;
mod selection;
mod small;
mod storage;
