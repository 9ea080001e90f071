//! Rows for people and for programs: tables, JSON lines, CSV.

mod cell;
mod progress;
mod rows;
mod terminal;
mod write;

pub(crate) use self::terminal::{masked, shown_lines};
pub use self::{
    cell::{Cells, date_text, decimal_text, timestamp_text, value_text},
    progress::progress_bar,
    rows::{Rows, payload_json},
    write::{Format, table, write_answer},
};
