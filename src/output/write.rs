//! Whole answers in each format.

use std::io::{self, Write};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use polars::prelude::DataFrame;
use watershed_pipelines::types::Schema;

use super::{
    cell::{Cells, quoted},
    terminal::shown,
};
use crate::error::Error;

/// Form of rows on standard output.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// One JSON object per row and line.
    Json,
    /// RFC 4180, with a header.
    Csv,
}

/// Writes all rows. `null` replaces the format's own form of NULL in tables (`NULL`) and CSV (an empty field).
pub fn write_answer(
    out: &mut dyn Write,
    format: Format,
    frame: &DataFrame,
    schema: &Schema,
    null: Option<&str>,
) -> Result<(), Error> {
    let cells = Cells::new(frame, schema)?;
    match format {
        Format::Table => write_table(out, &cells, schema, null.unwrap_or("NULL")),
        Format::Json => write_json(out, &cells, schema),
        Format::Csv => write_csv(out, &cells, schema, null.unwrap_or("")),
    }
    .map_err(Error::Output)
}

/// An empty table in the command's style.
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().map(|name| shown(name)));
    table
}

fn write_table(out: &mut dyn Write, cells: &Cells<'_>, schema: &Schema, null: &str) -> io::Result<()> {
    let names: Vec<&str> = schema.fields.iter().map(|f| f.name.as_str()).collect();
    let mut table = table(&names);
    for (index, field) in schema.fields.iter().enumerate() {
        let is_number = field.data_type.is_numeric();
        if let (true, Some(column)) = (is_number, table.column_mut(index)) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for row in 0..cells.height() {
        table.add_row((0..names.len()).map(|column| {
            let text = cells.text(column, row).unwrap_or_else(|| null.to_owned());
            shown(&text).into_owned()
        }));
    }
    writeln!(out, "{table}")?;
    let rows = cells.height();
    writeln!(out, "({rows} row{})", if rows == 1 { "" } else { "s" })
}

fn write_json(out: &mut dyn Write, cells: &Cells<'_>, schema: &Schema) -> io::Result<()> {
    let names: Vec<String> = schema.fields.iter().map(|f| quoted(&f.name)).collect();
    for row in 0..cells.height() {
        out.write_all(b"{")?;
        for (column, name) in names.iter().enumerate() {
            let comma = if column == 0 { "" } else { "," };
            write!(out, "{comma}{name}:{}", cells.json(column, row))?;
        }
        out.write_all(b"}\n")?;
    }
    Ok(())
}

fn write_csv(out: &mut dyn Write, cells: &Cells<'_>, schema: &Schema, null: &str) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(schema.fields.iter().map(|f| f.name.as_str()))?;
    for row in 0..cells.height() {
        let fields = (0..schema.fields.len()).map(|c| cells.text(c, row).unwrap_or_else(|| null.to_owned()));
        writer.write_record(fields)?;
    }
    writer.flush()
}

#[cfg(test)]
mod tests {
    use polars::prelude::{self as pl, NamedFrom, NewChunkedArray};
    use watershed_pipelines::types::{DataType, Field};

    use super::*;

    fn sample() -> (DataFrame, Schema) {
        let types = [
            ("b", DataType::Boolean),
            ("i", DataType::Int),
            ("l", DataType::BigInt),
            ("d", DataType::Double),
            ("m", DataType::Decimal { precision: 12, scale: 2 }),
            ("t", DataType::Text),
            ("at", DataType::Timestamp),
            ("day", DataType::Date),
            ("j", DataType::Json),
        ];
        let fields =
            types.iter().map(|(name, t)| Field { name: (*name).to_owned(), data_type: *t, nullable: true }).collect();
        let schema = Schema { fields };
        let cast = |values: pl::Series, t: DataType| values.cast(&t.to_polars()).unwrap();
        let column = |name: &str, values: pl::Series| pl::Column::from(values.with_name(name.into()));
        let decimal = pl::Int128Chunked::from_slice_options("m".into(), &[Some(-1250), None]);
        let frame = DataFrame::new(
            2,
            vec![
                column("b", pl::Series::new("".into(), &[Some(true), None])),
                column("i", pl::Series::new("".into(), &[Some(-1i32), None])),
                column("l", pl::Series::new("".into(), &[Some(i64::MAX), None])),
                column("d", pl::Series::new("".into(), &[Some(0.1), Some(f64::INFINITY)])),
                pl::Column::from(pl::IntoSeries::into_series(decimal.into_decimal_unchecked(38, 2))),
                column("t", pl::Series::new("".into(), &[Some("a,\"b\"\n\u{1b}[1m"), None])),
                column("at", cast(pl::Series::new("".into(), &[Some(1_500_000i64), None]), DataType::Timestamp)),
                column("day", cast(pl::Series::new("".into(), &[Some(1i32), None]), DataType::Date)),
                column("j", pl::Series::new("".into(), &[Some("{\"x\": 1.50}"), None])),
            ],
        )
        .unwrap();
        (frame, schema)
    }

    fn written(format: Format, null: Option<&str>) -> String {
        let (frame, schema) = sample();
        let mut out = Vec::new();
        write_answer(&mut out, format, &frame, &schema, null).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_lines_are_exact() {
        insta::assert_snapshot!(written(Format::Json, None), @r#"
        {"b":true,"i":-1,"l":9223372036854775807,"d":0.1,"m":-12.50,"t":"a,\"b\"\n\u001b[1m","at":"1970-01-01T00:00:01.500Z","day":"1970-01-02","j":{"x": 1.50}}
        {"b":null,"i":null,"l":null,"d":"Infinity","m":null,"t":null,"at":null,"day":null,"j":null}
        "#);
        for line in written(Format::Json, None).lines() {
            serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(line).unwrap();
        }
    }

    #[test]
    fn csv() {
        assert_eq!(
            written(Format::Csv, Some("\\N")),
            "b,i,l,d,m,t,at,day,j\n\
             true,-1,9223372036854775807,0.1,-12.50,\"a,\"\"b\"\"\n\u{1b}[1m\",1970-01-01T00:00:01.500Z,1970-01-02,\"{\"\"x\"\": 1.50}\"\n\
             \\N,\\N,\\N,Infinity,\\N,\\N,\\N,\\N,\\N\n"
        );
    }

    #[test]
    fn tables_show_no_control_characters() {
        let text = written(Format::Table, None);
        assert!(text.contains("NULL") && text.ends_with("(2 rows)\n"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}
