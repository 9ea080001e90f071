//! The options of `WITH (name = value, …)`.

use std::collections::BTreeSet;

use sqlparser::{
    ast::{self, Spanned},
    tokenizer::Span,
};

use super::{
    diagnostic::{Mistake, Planned, all},
    literal,
    name::{did_you_mean, fold},
};

/// One option as written.
pub(crate) struct Given {
    pub(crate) name: String,
    pub(crate) name_span: Span,
    value: ast::Expr,
}

/// The options of a statement, each at most once and known.
pub(crate) fn given(options: &ast::CreateTableOptions, known: &[&str], statement: &str) -> Planned<Vec<Given>> {
    let options = match options {
        ast::CreateTableOptions::None => return Ok(Vec::new()),
        ast::CreateTableOptions::With(options) => options,
        other => return Err(Mistake::new(other.span(), "options are written WITH (name = value, …)")),
    };
    let mut seen = BTreeSet::new();
    all(options.iter().map(|option| {
        let ast::SqlOption::KeyValue { key, value } = option else {
            return Err(Mistake::new(option.span(), "an option is written `name = value`"));
        };
        let name = fold(key);
        if !known.contains(&name.as_str()) {
            let listed = if known.is_empty() {
                "it has no options".to_owned()
            } else {
                format!("there are: {}", known.join(", "))
            };
            return Err(Mistake::new(key.span, format!("there is no option `{name}` of {statement}"))
                .label("unknown option")
                .help(did_you_mean(&name, known.iter().copied()).unwrap_or(listed)));
        }
        if !seen.insert(name.clone()) {
            return Err(Mistake::new(key.span, format!("the option `{name}` is given twice")).label("again"));
        }
        Ok(Given { name, name_span: key.span, value: value.clone() })
    }))
}

impl Given {
    pub(crate) fn span(&self) -> Span {
        self.value.span()
    }

    /// A text, or a bare word.
    pub(crate) fn text(&self) -> Planned<String> {
        match &self.value {
            ast::Expr::Value(v) => match &v.value {
                ast::Value::SingleQuotedString(text) => return Ok(text.clone()),
                ast::Value::Number(text, _) => return Ok(text.clone()),
                _ => {}
            },
            ast::Expr::Identifier(ident) => return Ok(fold(ident)),
            _ => {}
        }
        Err(Mistake::new(
            self.span().union(&self.name_span),
            format!("the value of `{}` is a text in quotes", self.name),
        )
        .help(format!("write {} = '…'", self.name)))
    }

    /// A whole number within bounds.
    pub(crate) fn whole(&self, least: u32, most: u32) -> Planned<u32> {
        let text = self.text()?;
        match text.trim().parse::<u32>() {
            Ok(number) if (least..=most).contains(&number) => Ok(number),
            _ => Err(Mistake::new(self.span(), format!("`{}` is a whole number from {least} to {most}", self.name))
                .label(format!("not {text}"))),
        }
    }

    /// A length of time in microseconds, not negative.
    pub(crate) fn duration(&self) -> Planned<i64> {
        let interval = match &self.value {
            ast::Expr::Interval(interval) => literal::interval(interval).ok(),
            _ => literal::interval_text(&self.text()?),
        };
        interval.and_then(literal::duration_micros).filter(|micros| *micros >= 0).ok_or_else(|| {
            Mistake::new(self.span(), format!("`{}` is a length of time", self.name))
                .label("not a length of time")
                .help(format!("write a number and a unit from microseconds to weeks: {} = '10 seconds'", self.name))
        })
    }
}
