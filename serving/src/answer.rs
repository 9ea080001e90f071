//! Answers.

use std::sync::Arc;

use polars::prelude::DataFrame;
use serde_json::value::RawValue;
use watershed_pipelines::types::{Schema, Value};

use crate::{json, receipt::Receipt};

/// The rows asked for, and what they cover.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The rows.
    pub frame: DataFrame,
    /// Their columns.
    pub schema: Arc<Schema>,
    /// What they cover.
    pub receipt: Receipt,
}

impl Answer {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.frame.height()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows as values, in the order of the columns.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = Vec<Value>> {
        (0..self.len()).map(|row| self.frame.columns().iter().map(|column| Value::at(column, row)).collect())
    }

    /// The rows as JSON objects, one per line. Timestamps are RFC 3339 texts, dates `YYYY-MM-DD`; decimals are numbers with all
    /// digits of their scale; doubles have the shortest digits that read back as the same double, and `"NaN"`, `"Infinity"`
    /// and `"-Infinity"` are texts; `JSON` columns are the JSON that they hold.
    pub fn to_json_lines(&self) -> String {
        let mut text = String::new();
        for row in 0..self.len() {
            json::write_row(&mut text, &self.frame, &self.schema, row);
            text.push('\n');
        }
        text
    }

    /// The rows as JSON objects, written as in [`Answer::to_json_lines`].
    pub fn to_json_rows(&self) -> Vec<Box<RawValue>> {
        (0..self.len())
            .filter_map(|row| {
                let mut text = String::new();
                json::write_row(&mut text, &self.frame, &self.schema, row);
                RawValue::from_string(text).ok()
            })
            .collect()
    }
}
