//! What a hostile hand may write: queries, definitions, names, data, configuration, bytes.

mod fuzz;
mod limits;
mod names;
mod peers;
mod secrets;
