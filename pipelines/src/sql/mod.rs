//! Definitions and queries in SQL: parsed by `sqlparser`, planned into the typed plan of this crate.

mod aggregate;
mod bounds;
mod builtin;
mod coerce;
mod core;
mod datetime;
mod ddl;
mod definitions;
mod diagnostic;
mod expression;
mod fingerprint;
mod from;
mod function;
mod input;
mod literal;
mod name;
mod operator;
mod option;
mod parse;
mod pushdown;
mod query;
mod ranking;
mod reduction;
mod relation;
mod scope;
mod select;
mod tail;
mod window;

pub use bounds::{TEXT_BYTES_MAX, is_deceptive};
pub(crate) use definitions::{plan as plan_definitions, plan_query};
pub use diagnostic::render;

/// The meaning of everything that a fingerprint covers: kernels, time-zone data, sketch seeds, key encoding. Raised when one
/// of them changes, so that stored partials of another meaning are never merged with new ones.
///
/// 2: a leap second in a text is a timestamp. 3: what is worked out of timestamps may be the end of the year 9999. 4: what rounding took
/// away from a sum of doubles is stored as a double.
pub const SEMANTICS_VERSION: u32 = 4;

/// A text of definitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlFile {
    /// Name in diagnostics: a file's path.
    pub name: String,
    /// The statements, separated by semicolons.
    pub text: String,
}

impl SqlFile {
    /// A text with its name.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> SqlFile {
        SqlFile { name: name.into(), text: text.into() }
    }
}

#[cfg(test)]
mod tests;
