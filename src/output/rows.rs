//! Small results that are no answer to a query: statuses, listings.

use std::io::{self, Write};

use serde_json::Value;

use super::{
    terminal::{escaped_json, shown},
    write::{Format, table},
};
use crate::error::Error;

/// Named columns and rows of JSON values.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    columns: Vec<&'static str>,
    rows: Vec<Vec<Value>>,
}

impl Rows {
    /// No rows yet.
    pub fn new(columns: &[&'static str]) -> Rows {
        Rows { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn push(&mut self, row: impl IntoIterator<Item = Value>) {
        self.rows.push(row.into_iter().collect());
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Writes all rows.
    pub fn write(&self, out: &mut dyn Write, format: Format) -> Result<(), Error> {
        match format {
            Format::Table => self.write_table(out),
            Format::Json => self.write_json(out),
            Format::Csv => self.write_csv(out),
        }
        .map_err(Error::Output)
    }

    fn write_table(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut table = table(&self.columns);
        for row in &self.rows {
            table.add_row(row.iter().map(|value| shown(&text(value)).into_owned()));
        }
        for index in 0..self.columns.len() {
            let is_number =
                !self.is_empty() && self.rows.iter().all(|row| row[index].is_number() || row[index].is_null());
            if let (true, Some(column)) = (is_number, table.column_mut(index)) {
                column.set_cell_alignment(comfy_table::CellAlignment::Right);
            }
        }
        writeln!(out, "{table}")
    }

    fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        for row in &self.rows {
            let cells: Vec<String> =
                self.columns.iter().zip(row).map(|(name, value)| format!("{}:{value}", Value::from(*name))).collect();
            writeln!(out, "{{{}}}", escaped_json(&cells.join(",")))?;
        }
        Ok(())
    }

    fn write_csv(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut writer = csv::Writer::from_writer(out);
        writer.write_record(&self.columns)?;
        for row in &self.rows {
            writer.write_record(row.iter().map(text))?;
        }
        writer.flush()
    }
}

/// A record's bytes: as text where they are UTF-8, else with replacement characters.
pub fn payload_json(payload: &[u8]) -> Value {
    String::from_utf8_lossy(payload).into_owned().into()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format() {
        let mut rows = Rows::new(&["name", "rows"]);
        rows.push(["a\u{7}".into(), 10.into()]);
        rows.push(["b".into(), Value::Null]);
        let written = |format| {
            let mut out = Vec::new();
            rows.write(&mut out, format).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(Format::Json), "{\"name\":\"a\\u0007\",\"rows\":10}\n{\"name\":\"b\",\"rows\":null}\n");
        assert_eq!(written(Format::Csv), "name,rows\na\u{7},10\nb,\n");
        assert!(written(Format::Table).contains("a\\u{7}"));
    }
}
