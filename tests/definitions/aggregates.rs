//! Aggregates of materialized and derived views.

use rand::Rng;
use watershed::DataType;

use super::{
    expressions::Expressions,
    language::Expr,
    types::{any_type, chance, decimal, ordered_type, pick},
};

/// How an answer's column is compared.
#[derive(Clone, Debug, PartialEq)]
pub enum How {
    /// Equal to the last bit.
    Exact,
    /// An estimate of a distinct count.
    Distinct,
    /// An estimate of the value at this fraction.
    Percentile(&'static str),
}

impl How {
    /// Its name for the oracle.
    pub fn name(&self) -> String {
        match self {
            How::Exact => "exact".to_owned(),
            How::Distinct => "distinct".to_owned(),
            How::Percentile(fraction) => format!("percentile:{fraction}"),
        }
    }
}

/// One aggregate call.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// What of the grammar it is.
    pub what: &'static str,
    /// Its argument; none for `COUNT(*)`.
    pub argument: Option<Expr>,
    /// `FILTER (WHERE …)`.
    pub filter: Option<Expr>,
    /// Result type.
    pub data_type: DataType,
    /// How it is compared.
    pub how: How,
}

/// Aggregates of any argument.
const OF_ANY: &[&str] = &["COUNT", "COUNT DISTINCT", "APPROX_COUNT_DISTINCT", "FIRST", "LAST"];
/// Aggregates of numbers.
const OF_NUMBERS: &[&str] =
    &["SUM", "SUM", "AVG", "VAR_POP", "VAR_SAMP", "STDDEV_POP", "STDDEV_SAMP", "APPROX_PERCENTILE"];
const FRACTIONS: &[&str] = &["0.0", "0.25", "0.5", "0.9", "1.0"];

impl Aggregate {
    /// A random one over what `draw` can name. `in_core`: over records, which have an order of their own.
    pub fn random(draw: &mut Expressions<'_>, in_core: bool) -> Aggregate {
        let depth = draw.rng.random_range(0..3);
        let filter = chance(draw.rng, 25).then(|| draw.condition(1));
        let (what, argument) = match draw.rng.random_range(0..10) {
            0 => ("COUNT(*)", None),
            1 => (*pick(draw.rng, &["BOOL_AND", "BOOL_OR"]), Some(draw.of(DataType::Boolean, depth))),
            2 | 3 => {
                let of = loop {
                    let of = ordered_type(draw.rng);
                    if of != DataType::Boolean {
                        break of;
                    }
                };
                (*pick(draw.rng, &["MIN", "MAX"]), Some(draw.of(of, depth)))
            }
            4..7 => {
                let argument = draw.number(depth);
                (*pick(draw.rng, OF_NUMBERS), Some(argument))
            }
            _ => {
                let of = any_type(draw.rng);
                let among = if in_core { OF_ANY } else { &OF_ANY[..3] };
                (*pick(draw.rng, among), Some(draw.of(of, depth)))
            }
        };
        let how = match what {
            "APPROX_COUNT_DISTINCT" => How::Distinct,
            "APPROX_PERCENTILE" => How::Percentile(pick::<&str>(draw.rng, FRACTIONS)),
            _ => How::Exact,
        };
        Aggregate { what, data_type: result(what, argument.as_ref()), argument, filter, how }
    }

    /// Watershed's call.
    pub fn ours(&self) -> String {
        let argument = self.argument.as_ref().map_or("*".to_owned(), Expr::ours);
        let call = match (self.what, &self.how) {
            ("COUNT(*)", _) => "COUNT(*)".to_owned(),
            ("COUNT DISTINCT", _) => format!("COUNT(DISTINCT {argument})"),
            (name, How::Percentile(fraction)) => format!("{name}({argument}, {fraction})"),
            (name, _) => format!("{name}({argument})"),
        };
        let filter = self.filter.as_ref().map_or(String::new(), |f| format!(" FILTER (WHERE {})", f.ours()));
        call + &filter
    }

    /// DuckDB's value of the argument for one row: NULL where the row does not take part.
    pub fn taken(&self) -> String {
        let argument = self.argument.as_ref().map_or("1".to_owned(), Expr::value);
        match &self.filter {
            Some(filter) => format!("CASE WHEN {} THEN {argument} END", filter.value()),
            None => argument,
        }
    }

    /// DuckDB's condition that the argument or the filter fails for one row. The argument is needed where the filter is true.
    pub fn failed(&self) -> Option<String> {
        let argument = self.argument.as_ref().and_then(Expr::failed);
        let Some(filter) = &self.filter else { return argument };
        let argument = argument.map(|failed| format!("({} AND {failed})", filter.value()));
        match (filter.failed(), argument) {
            (Some(a), Some(b)) => Some(format!("({a} OR {b})")),
            (a, b) => a.or(b),
        }
    }

    /// DuckDB's aggregate of the column `taken`; `order` is the records' order.
    pub fn theirs(&self, taken: &str, order: &str) -> String {
        let of = self.argument.as_ref().map(|argument| argument.data_type);
        let statistic = self.what.to_lowercase();
        match (self.what, of) {
            ("COUNT(*)" | "COUNT", _) => format!("count({taken})"),
            ("COUNT DISTINCT", _) => format!("count(DISTINCT {taken})"),
            ("SUM" | "AVG" | "VAR_POP" | "VAR_SAMP" | "STDDEV_POP" | "STDDEV_SAMP", Some(DataType::Double)) => {
                format!("CAST(ws_statistic('{statistic}', list({taken})) AS DOUBLE)")
            }
            ("SUM", _) => {
                let most = match self.data_type {
                    DataType::BigInt => i128::from(i64::MAX),
                    _ => 10_i128.pow(38) - 1,
                };
                format!("CAST(ws_decimal_sum(list(CAST({taken} AS VARCHAR)), '{most}') AS {})", self.data_type)
            }
            ("AVG" | "VAR_POP" | "VAR_SAMP" | "STDDEV_POP" | "STDDEV_SAMP", _) => {
                format!("CAST(ws_decimal_statistic('{statistic}', list(CAST({taken} AS VARCHAR))) AS DOUBLE)")
            }
            ("FIRST", _) => format!("arg_min({taken}, {order}) FILTER (WHERE {taken} IS NOT NULL)"),
            ("LAST", _) => format!("arg_max({taken}, {order}) FILTER (WHERE {taken} IS NOT NULL)"),
            ("APPROX_COUNT_DISTINCT" | "APPROX_PERCENTILE", _) => format!("list({taken})"),
            (name, _) => format!("{name}({taken})"),
        }
    }

    /// What may stand in its place and is smaller.
    pub fn smaller(&self) -> Vec<Aggregate> {
        let mut smaller = Vec::new();
        if self.filter.is_some() {
            smaller.push(Aggregate { filter: None, ..self.clone() });
        }
        let with = |argument| Aggregate { argument: Some(argument), ..self.clone() };
        smaller.extend(self.argument.iter().flat_map(Expr::smaller).map(with));
        smaller
            .extend(self.filter.iter().flat_map(Expr::smaller).map(|f| Aggregate { filter: Some(f), ..self.clone() }));
        smaller
    }
}

fn result(what: &str, argument: Option<&Expr>) -> DataType {
    let of = argument.map_or(DataType::BigInt, |argument| argument.data_type);
    match (what, of) {
        ("COUNT(*)" | "COUNT" | "COUNT DISTINCT" | "APPROX_COUNT_DISTINCT", _) => DataType::BigInt,
        ("SUM", DataType::Int) => DataType::BigInt,
        ("SUM", DataType::BigInt) => decimal(38, 0),
        ("SUM", DataType::Decimal { scale, .. }) => decimal(38, scale),
        ("AVG" | "VAR_POP" | "VAR_SAMP" | "STDDEV_POP" | "STDDEV_SAMP" | "APPROX_PERCENTILE", _) => DataType::Double,
        _ => of,
    }
}
