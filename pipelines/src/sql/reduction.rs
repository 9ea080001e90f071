//! What stands above a reduction: its keys and aggregates, collected while expressions are planned.

use crate::{
    aggregate::AggregateCall,
    expr::Expr,
    types::{DataType, Schema},
};

/// A reduction in the making.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reduction {
    /// Grouping expressions over the input, and where they are in the output.
    pub(crate) keys: Vec<ReducedKey>,
    /// Index of the first aggregate in the output.
    pub(crate) first_aggregate: usize,
    /// The aggregates so far. Their names are settled at the end.
    pub(crate) aggregates: Vec<AggregateCall>,
    /// In the core of a materialized view (`FIRST` and `LAST` are possible there only).
    pub(crate) in_core: bool,
}

/// One grouping expression.
#[derive(Clone, Debug)]
pub(crate) struct ReducedKey {
    pub(crate) input: Expr,
    pub(crate) output: usize,
    pub(crate) nullable: bool,
}

impl Reduction {
    /// The output column of a key.
    pub(crate) fn key(&self, input: &Expr) -> Option<(Expr, bool)> {
        let key = self.keys.iter().find(|k| k.input == *input)?;
        Some((Expr::Column { index: key.output, data_type: input.data_type() }, key.nullable))
    }

    /// The output column of an aggregate; the same call twice is kept once.
    pub(crate) fn aggregate(&mut self, call: AggregateCall) -> Expr {
        let data_type = call.data_type;
        let same =
            |a: &AggregateCall| a.function == call.function && a.argument == call.argument && a.filter == call.filter;
        let index = match self.aggregates.iter().position(same) {
            Some(index) => index,
            None => {
                self.aggregates.push(call);
                self.aggregates.len() - 1
            }
        };
        Expr::Column { index: self.first_aggregate + index, data_type }
    }
}

/// A name that is not taken yet: `name`, `name_2`, …
pub(crate) fn unique(name: &str, taken: &dyn Fn(&str) -> bool) -> String {
    let mut candidate = name.to_owned();
    let mut number = 2;
    while taken(&candidate) {
        candidate = format!("{name}_{number}");
        number += 1;
    }
    candidate
}

/// Makes the names of a schema unique (a join's sides may share some).
pub(crate) fn with_unique_names(mut schema: Schema) -> Schema {
    let mut taken = std::collections::BTreeSet::new();
    for field in &mut schema.fields {
        field.name = unique(&field.name, &|n| taken.contains(n));
        taken.insert(field.name.clone());
    }
    schema
}

/// A NULL of a type.
pub(crate) fn null(data_type: DataType) -> Expr {
    Expr::Literal { value: crate::types::Value::Null, data_type }
}
