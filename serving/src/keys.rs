//! Lookups by key: which views have one, and values as key filters.

use watershed_pipelines::{
    catalog::{Catalog, View},
    key::{KeyBound, KeyFilter},
    tail::Rel,
    types::{DataType, Field, Schema, Value},
};

use crate::error::{Result, ServingError};

/// The key columns of a view's rows: those of the one core that its rows come from, one by one.
pub(crate) fn key_schema(catalog: &Catalog, view: &View) -> Result<Schema> {
    let no_key = |reason: &str| ServingError::NoKey { view: view.name.clone(), reason: reason.to_owned() };
    let mut rel = &view.tail;
    let scanned = loop {
        match rel {
            Rel::Scan { view, .. } => break view,
            // These keep rows as they are or drop them, whatever the other rows are.
            Rel::Filter { input, .. } | Rel::Project { input, .. } | Rel::Sort { input, .. } => rel = input,
            _ => return Err(no_key("its rows are computed from others")),
        }
    };
    let core = catalog.view(scanned).and_then(|view| view.core.as_ref()).ok_or_else(|| no_key("it has no core"))?;
    let fields =
        core.keys.iter().map(|key| Field { name: key.name().to_owned(), data_type: key.data_type(), nullable: true });
    Ok(Schema { fields: fields.collect() })
}

/// Exactly these values of the first key columns.
pub(crate) fn exactly(view: &str, keys: Schema, values: &[Value]) -> Result<KeyFilter> {
    let wrong = |reason: String| ServingError::Key { view: view.to_owned(), reason };
    if values.is_empty() || values.len() > keys.fields.len() {
        let names: Vec<&str> = keys.fields.iter().map(|field| field.name.as_str()).collect();
        return Err(wrong(format!("its key is ({}); {} values were given", names.join(", "), values.len())));
    }
    let columns = keys.fields.iter().zip(values).map(|(field, value)| {
        if *value == Value::Null {
            return Err(wrong(format!("\"{}\" IS NULL can only be asked with SQL", field.name)));
        }
        if !fits(value, field.data_type) {
            return Err(wrong(format!("the key column \"{}\" is of type {}", field.name, field.data_type)));
        }
        Ok(KeyBound::In(vec![value.clone()]))
    });
    Ok(KeyFilter { columns: columns.collect::<Result<_>>()? })
}

fn fits(value: &Value, data_type: DataType) -> bool {
    matches!(
        (value, data_type),
        (Value::Null, _)
            | (Value::Boolean(_), DataType::Boolean)
            | (Value::Int(_), DataType::Int | DataType::BigInt)
            | (Value::Double(_), DataType::Double)
            | (Value::Decimal(_), DataType::Decimal { .. })
            | (Value::Text(_), DataType::Text | DataType::Json)
            | (Value::Timestamp(_), DataType::Timestamp)
            | (Value::Date(_), DataType::Date)
    )
}
