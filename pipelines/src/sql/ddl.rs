//! `CREATE TABLE`: a source's columns and options.

use std::collections::BTreeSet;

use sqlparser::{
    ast::{self, Spanned},
    tokenizer::Span,
};

use super::{
    bounds::{COLUMNS_MAX, check_table_name},
    diagnostic::{Mistake, Planned, all, both},
    name::{did_you_mean, fold, simple},
    option::{Given, given},
};
use crate::{
    source::{APPEND_TIME_COLUMN, OFFSET_COLUMN, PARTITION_COLUMN, Source},
    types::{DataType, Field, Schema},
};

/// A column's type. `span` is where to say so if there is no such type: the parser keeps no place of types.
pub(crate) fn data_type(ast: &ast::DataType, span: Span) -> Planned<DataType> {
    use ast::DataType as A;
    let refuse =
        |help: &str| Err(Mistake::new(span, format!("the type {ast} is not supported")).label("its type").help(help));
    Ok(match ast {
        A::Boolean | A::Bool => DataType::Boolean,
        A::Int(_) | A::Integer(_) | A::Int4(_) | A::Int32 | A::SmallInt(_) | A::TinyInt(_) | A::Int2(_) => {
            DataType::Int
        }
        A::BigInt(_) | A::Int8(_) | A::Int64 => DataType::BigInt,
        A::Double(_) | A::DoublePrecision | A::Float8 | A::Float64 => DataType::Double,
        A::Float(_) | A::Real | A::Float4 | A::Float32 => return refuse("write DOUBLE: 64 bits"),
        A::Decimal(info) | A::Numeric(info) | A::Dec(info) => decimal(info, span)?,
        A::Text | A::Varchar(None) | A::CharacterVarying(None) | A::String(None) => DataType::Text,
        A::Varchar(_) | A::CharacterVarying(_) | A::Char(_) | A::Character(_) | A::String(_) => {
            return refuse("write TEXT: lengths are not checked");
        }
        A::Timestamp(_, ast::TimezoneInfo::None | ast::TimezoneInfo::WithoutTimeZone) | A::Datetime(_) => {
            DataType::Timestamp
        }
        A::Timestamp(..) => {
            return refuse(
                "write TIMESTAMP: every TIMESTAMP is UTC, and texts with an offset such as +02:00 are converted",
            );
        }
        A::Date => DataType::Date,
        A::JSON | A::JSONB => DataType::Json,
        A::Uuid => return refuse("write TEXT"),
        A::Custom(name, _) => {
            let help = did_you_mean(&name.to_string(), TYPES.iter().copied());
            return Err(Mistake::new(name.span(), format!("there is no type `{name}`"))
                .label("unknown type")
                .help(help.unwrap_or_else(|| format!("there are: {}", TYPES.join(", ")))));
        }
        A::Time(..) | A::Interval { .. } => return refuse("keep a time of day as TEXT, a length of time as BIGINT"),
        A::Array(_) | A::Struct(..) | A::Map(..) => {
            return refuse("write JSON, and take values out of it with JSON_VALUE(column, '$.a[0]')");
        }
        _ => return refuse(&format!("there are: {}", TYPES.join(", "))),
    })
}

const TYPES: &[&str] = &["BOOLEAN", "INT", "BIGINT", "DOUBLE", "DECIMAL(p,s)", "TEXT", "TIMESTAMP", "DATE", "JSON"];

fn decimal(info: &ast::ExactNumberInfo, span: Span) -> Planned<DataType> {
    let (precision, scale) = match info {
        ast::ExactNumberInfo::None => {
            return Err(Mistake::new(span, "DECIMAL needs its digits")
                .label("its type")
                .help("write DECIMAL(12,2): 12 digits in all, 2 of them after the point"));
        }
        ast::ExactNumberInfo::Precision(precision) => (*precision, 0),
        ast::ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    match (u8::try_from(precision), u8::try_from(scale)) {
        (Ok(precision @ 1..=38), Ok(scale)) if scale <= precision => Ok(DataType::Decimal { precision, scale }),
        _ => Err(Mistake::new(span, format!("DECIMAL({precision},{scale}) is not possible"))
            .label("its type")
            .help("1 to 38 digits in all, and at most as many after the point")),
    }
}

const OPTIONS: &[&str] = &["event_time", "partitions", "partition_by", "lateness", "max_ahead"];
const DEFAULT_LATENESS_MICROS: i64 = 10_000_000;
const DEFAULT_MAX_AHEAD_MICROS: i64 = 3_600_000_000;

/// The source that a `CREATE TABLE` declares.
pub(crate) fn source(create: &ast::CreateTable) -> Planned<Source> {
    let name = simple(&create.name)?;
    let span = create.name.span();
    check_table_name(&name, span)?;
    let ((), (schema, options)) =
        both(plain(create), both(schema(create, span), given(&create.table_options, OPTIONS, "a table")))?;
    let mut source = Source {
        name,
        schema,
        event_time: None,
        partitions: 1,
        partition_by: None,
        lateness_micros: DEFAULT_LATENESS_MICROS,
        max_ahead_micros: DEFAULT_MAX_AHEAD_MICROS,
    };
    all(options.iter().map(|option| apply(&mut source, option)))?;
    Ok(source)
}

fn apply(source: &mut Source, option: &Given) -> Planned<()> {
    match option.name.as_str() {
        "event_time" => {
            let index = column(source, option)?;
            let field = &source.schema.fields[index];
            if field.data_type != DataType::Timestamp {
                return Err(Mistake::new(
                    option.span(),
                    format!("event time is a TIMESTAMP, `{}` is {}", field.name, field.data_type),
                )
                .label("not a TIMESTAMP")
                .help("declare the column as TIMESTAMP: numbers of seconds or milliseconds are not timestamps"));
            }
            if field.nullable {
                return Err(Mistake::new(option.span(), format!("the event time `{}` may be NULL", field.name))
                    .label("may be NULL")
                    .help(format!(
                        "declare it as `{} TIMESTAMP NOT NULL`; records without it are then dead letters",
                        field.name
                    )));
            }
            source.event_time = Some(index);
        }
        "partition_by" => source.partition_by = Some(column(source, option)?),
        "partitions" => source.partitions = option.whole(1, 4096)?,
        "lateness" => source.lateness_micros = option.duration()?,
        _ => source.max_ahead_micros = option.duration()?,
    }
    Ok(())
}

fn column(source: &Source, option: &Given) -> Planned<usize> {
    let name = option.text()?;
    source.schema.index_of(&name).ok_or_else(|| {
        let columns = || source.schema.fields.iter().map(|f| f.name.as_str());
        Mistake::new(option.span(), format!("there is no column `{name}`")).label("unknown column").help(
            did_you_mean(&name, columns())
                .unwrap_or_else(|| format!("there are: {}", columns().collect::<Vec<_>>().join(", "))),
        )
    })
}

fn schema(create: &ast::CreateTable, span: Span) -> Planned<Schema> {
    if create.columns.is_empty() {
        return Err(Mistake::new(span, "a table has at least one column")
            .help("write CREATE TABLE name (ts TIMESTAMP NOT NULL, amount DECIMAL(12,2))"));
    }
    if create.columns.len() > COLUMNS_MAX {
        return Err(Mistake::new(
            span,
            format!("the table has {} columns; {COLUMNS_MAX} are possible", create.columns.len()),
        )
        .help("keep what is seldom asked for in a JSON column"));
    }
    let mut seen = BTreeSet::new();
    let fields = all(create.columns.iter().map(|column| {
        let name = fold(&column.name);
        if [PARTITION_COLUMN, OFFSET_COLUMN, APPEND_TIME_COLUMN].contains(&name.as_str()) {
            return Err(Mistake::new(column.name.span, format!("`{name}` is a column that every table has"))
                .label("reserved")
                .help("leave it out, or give it another name"));
        }
        if !seen.insert(name.clone()) {
            return Err(Mistake::new(column.name.span, format!("there are two columns `{name}`")).label("again"));
        }
        let data_type = data_type(&column.data_type, column.name.span)?;
        let mut nullable = true;
        for option in &column.options {
            match &option.option {
                ast::ColumnOption::NotNull => nullable = false,
                ast::ColumnOption::Null => nullable = true,
                other => return Err(column_option(other, column)),
            }
        }
        Ok(Field { name, data_type, nullable })
    }))?;
    Ok(Schema { fields })
}

fn column_option(option: &ast::ColumnOption, column: &ast::ColumnDef) -> Box<Mistake> {
    let span = option.span();
    let span = if span == Span::empty() { column.name.span } else { span };
    let text = option.to_string();
    let help = match option {
        ast::ColumnOption::PrimaryKey(_) | ast::ColumnOption::Unique(_) => {
            "records are events and are all kept; group by the column in a materialized view"
        }
        ast::ColumnOption::Default(_) => "write COALESCE(column, value) in the view",
        ast::ColumnOption::Generated { .. } => "write the expression in the view",
        ast::ColumnOption::Check(_) | ast::ColumnOption::ForeignKey(_) => "write conditions in the view's WHERE",
        _ => "columns have a name, a type and perhaps NOT NULL",
    };
    Mistake::new(span, format!("`{text}` is not supported")).label("not supported").help(help)
}

fn plain(create: &ast::CreateTable) -> Planned<()> {
    let span = create.name.span();
    if create.or_replace || create.if_not_exists {
        return Err(Mistake::new(span, "OR REPLACE and IF NOT EXISTS are not needed")
            .help("leave them out: the definitions say what there is, and a changed one replaces the old one"));
    }
    if create.query.is_some() {
        return Err(
            Mistake::new(span, "CREATE TABLE … AS is not supported").help("write CREATE MATERIALIZED VIEW … AS")
        );
    }
    if let Some(constraint) = create.constraints.first() {
        return Err(Mistake::new(constraint.span(), format!("`{constraint}` is not supported"))
            .label("not supported")
            .help("records are events and are all kept; columns may be NOT NULL"));
    }
    if create.temporary || create.external || create.partition_by.is_some() || create.like.is_some() {
        return Err(Mistake::new(span, "a table is declared as CREATE TABLE name (columns) WITH (options)")
            .help("partitions are an option: WITH (partitions = 4, partition_by = 'card')"));
    }
    Ok(())
}
