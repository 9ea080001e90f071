//! What names mean in one `SELECT`.

use sqlparser::{ast::Ident, tokenizer::Span};

use super::{
    coerce::Typed,
    diagnostic::{Mistake, Planned},
    name::{did_you_mean, fold},
};
use crate::{
    core::{WINDOW_END_COLUMN, WINDOW_START_COLUMN},
    expr::Expr,
    types::{DataType, Schema},
};

/// How a column can be reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Visibility {
    /// By name and by `*`.
    Full,
    /// By name only.
    Hidden,
    /// By its table's name only: `USING` merged it into another.
    Qualified,
}

/// A column that can be named.
#[derive(Clone, Debug)]
pub(crate) struct ScopeColumn {
    pub(crate) table: Option<String>,
    pub(crate) name: String,
    /// What it stands for, over the input.
    pub(crate) expr: Expr,
    pub(crate) nullable: bool,
    pub(crate) visibility: Visibility,
}

/// The columns that can be named.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    pub(crate) columns: Vec<ScopeColumn>,
}

impl Scope {
    /// The columns of one relation, all of them in full.
    pub(crate) fn of(table: Option<&str>, schema: &Schema) -> Scope {
        let columns = schema.fields.iter().enumerate().map(|(index, field)| ScopeColumn {
            table: table.map(str::to_owned),
            name: field.name.clone(),
            expr: Expr::Column { index, data_type: field.data_type },
            nullable: field.nullable,
            visibility: Visibility::Full,
        });
        Scope { columns: columns.collect() }
    }

    /// The column that an identifier means.
    pub(crate) fn resolve(&self, idents: &[Ident], span: Span) -> Planned<&ScopeColumn> {
        let (table, column) = match idents {
            [column] => (None, fold(column)),
            [table, column] => (Some(fold(table)), fold(column)),
            _ => {
                return Err(Mistake::new(span, "a name has at most two parts").label("too many parts").help(
                    "write `column` or `table.column`; for a field within JSON write JSON_VALUE(column, '$.field')",
                ));
            }
        };
        let found: Vec<&ScopeColumn> = self
            .columns
            .iter()
            .filter(|c| c.name == column)
            .filter(|c| match &table {
                Some(table) => c.table.as_ref() == Some(table),
                None => c.visibility != Visibility::Qualified,
            })
            .collect();
        match found.as_slice() {
            [one] => Ok(one),
            [] => Err(self.unknown(table.as_deref(), &column, span)),
            [a, b, ..] => Err(Mistake::new(span, format!("`{column}` is ambiguous")).label("which one?").help(match (
                &a.table, &b.table,
            ) {
                (Some(a), Some(b)) if a != b => format!("write `{a}.{column}` or `{b}.{column}`"),
                _ => "give the columns different names below".to_owned(),
            })),
        }
    }

    /// Whether the name alone can be resolved.
    pub(crate) fn has(&self, ident: &Ident) -> bool {
        let name = fold(ident);
        self.columns.iter().any(|c| c.name == name && c.visibility != Visibility::Qualified)
    }

    fn unknown(&self, table: Option<&str>, column: &str, span: Span) -> Box<Mistake> {
        let tables: Vec<&str> = self.columns.iter().filter_map(|c| c.table.as_deref()).collect();
        let mut listed = tables.clone();
        listed.dedup();
        if let Some(table) = table
            && !tables.contains(&table)
        {
            return Mistake::new(span, format!("there is no table `{table}` in FROM"))
                .label("unknown table")
                .maybe_help(did_you_mean(table, tables))
                .maybe_help(
                    self.columns
                        .iter()
                        .any(|c| c.name == table && c.expr.data_type() == DataType::Json)
                        .then(|| format!("for a field within JSON write JSON_VALUE({table}, '$.{column}')")),
                )
                .or_help(|| format!("there are: {}", listed.join(", ")));
        }
        let names = || self.columns.iter().filter(|c| table.is_none() || c.table.as_deref() == table);
        let listed = || {
            let names: Vec<&str> =
                names().filter(|c| c.visibility == Visibility::Full).map(|c| c.name.as_str()).take(12).collect();
            (!names.is_empty()).then(|| format!("there are: {}", names.join(", ")))
        };
        let mistake = Mistake::new(span, format!("there is no column `{column}`")).label("unknown column");
        if matches!(column, WINDOW_START_COLUMN | WINDOW_END_COLUMN) {
            return mistake
                .help("windows come from FROM TUMBLE(table, ts, INTERVAL '1 minute'), in a materialized view");
        }
        mistake.maybe_help(did_you_mean(column, names().map(|c| c.name.as_str())).or_else(listed))
    }
}

impl ScopeColumn {
    pub(crate) fn typed(&self, span: Span) -> Typed {
        Typed { expr: self.expr.clone(), free: false, nullable: self.nullable, span }
    }
}
