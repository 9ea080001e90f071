//! The functions and operators of docs/sql.md whose arguments have fixed types.

use watershed::DataType;

use super::language::{Fails, text};

/// One function with its constant arguments.
#[derive(Clone, Debug)]
pub struct Function {
    /// Its name in the list of what was drawn.
    pub what: String,
    /// Result type.
    pub result: DataType,
    /// Argument types.
    pub args: Vec<DataType>,
    /// Watershed's text.
    pub ours: String,
    /// DuckDB's text.
    pub theirs: String,
    /// Where it fails.
    pub fails: Fails,
}

/// Zones whose clocks do odd things. UTC is none.
pub const ZONES: &[&str] = &[
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Asia/Kolkata",
];

const UNITS: &[&str] =
    &["microsecond", "millisecond", "second", "minute", "hour", "day", "week", "month", "quarter", "year"];

const FIELDS: &[&str] = &[
    "microsecond",
    "millisecond",
    "second",
    "minute",
    "hour",
    "day",
    "week",
    "month",
    "quarter",
    "year",
    "dow",
    "isodow",
    "doy",
    "epoch",
];

const INTERVALS: &[&str] =
    &["1 day", "1 month", "13 months", "90 minutes", "1 day 12 hours", "1 microsecond", "1 year", "1 week"];

/// Patterns in the syntax that the `regex` crate and RE2 share. Classes are written out: `\d` and `\w` are Unicode's in one of them.
const REGEXES: &[&str] =
    &["a", "^a", "b$", "[a-z]+", "[0-9]+([.][0-9]+)?", "(?i)NULL", "^[^a]*$", "a|b", "é", "[/=%]", "^$"];

const LIKES: &[&str] = &["a%", "%b", "%a%", "_", "a_b%", "", "%", "%\\%", "é", "A%", "__", "null", "%'%"];

struct Catalog(Vec<Function>);

impl Catalog {
    fn add(&mut self, what: &str, result: DataType, args: &[DataType], ours: &str, theirs: &str, fails: Fails) {
        let (what, ours, theirs) = (what.to_owned(), ours.to_owned(), theirs.to_owned());
        self.0.push(Function { what, result, args: args.to_vec(), ours, theirs, fails });
    }

    /// One that never fails, with the same text in both dialects.
    fn same(&mut self, what: &str, result: DataType, args: &[DataType], template: &str) {
        self.add(what, result, args, template, template, Fails::Never);
    }
}

/// All of them.
pub fn catalog() -> Vec<Function> {
    let mut catalog = Catalog(Vec::new());
    texts(&mut catalog);
    patterns(&mut catalog);
    numbers(&mut catalog);
    times(&mut catalog);
    catalog.0
}

fn texts(c: &mut Catalog) {
    use DataType::{BigInt, Boolean, Int, Json, Text};
    use Fails::{Never, WithoutValue};
    c.same("||", Text, &[Text, Text], "(«0» || «1»)");
    c.same("CONCAT", Text, &[Text, Text, Text], "CONCAT(«0», «1», «2»)");
    c.add("LOWER", Text, &[Text], "LOWER(«0»)", "ws_lower(«0»)", Never);
    c.add("UPPER", Text, &[Text], "UPPER(«0»)", "ws_upper(«0»)", Never);
    c.add("LENGTH", Int, &[Text], "LENGTH(«0»)", "CAST(length(«0») AS INTEGER)", Never);
    c.add("LENGTH", Int, &[Text], "CHAR_LENGTH(«0»)", "CAST(length(«0») AS INTEGER)", Never);
    c.add("TRIM", Text, &[Text], "TRIM(«0»)", "trim(«0», ' ')", Never);
    c.add("TRIM", Text, &[Text], "BTRIM(«0»)", "trim(«0», ' ')", Never);
    c.add("TRIM", Text, &[Text], "TRIM(LEADING ' ' FROM «0»)", "ltrim(«0», ' ')", Never);
    c.add("LTRIM", Text, &[Text], "LTRIM(«0»)", "ltrim(«0», ' ')", Never);
    c.add("RTRIM", Text, &[Text], "RTRIM(«0»)", "rtrim(«0», ' ')", Never);
    c.add("SUBSTRING", Text, &[Text, BigInt], "SUBSTRING(«0», «1»)", "ws_substring_from(«0», «1»)", Never);
    let counted = "ws_substring(«0», «1», «2»)";
    c.add("SUBSTRING", Text, &[Text, BigInt, BigInt], "SUBSTR(«0», «1», «2»)", counted, WithoutValue);
    c.add("SUBSTRING", Text, &[Text, BigInt, BigInt], "SUBSTRING(«0» FROM «1» FOR «2»)", counted, WithoutValue);
    c.same("REPLACE", Text, &[Text, Text, Text], "REPLACE(«0», «1», «2»)");
    c.same("STARTS_WITH", Boolean, &[Text, Text], "STARTS_WITH(«0», «1»)");
    c.same("ENDS_WITH", Boolean, &[Text, Text], "ENDS_WITH(«0», «1»)");
    c.same("CONTAINS", Boolean, &[Text, Text], "CONTAINS(«0», «1»)");
    c.add("STRPOS", Int, &[Text, Text], "STRPOS(«0», «1»)", "CAST(strpos(«0», «1») AS INTEGER)", Never);
    c.add("STRPOS", Int, &[Text, Text], "POSITION(«1» IN «0»)", "CAST(strpos(«0», «1») AS INTEGER)", Never);
    c.add(
        "LEFT",
        Text,
        &[Text, BigInt],
        "LEFT(«0», «1»)",
        "CASE WHEN «1» > 1000000 THEN «0» ELSE left(«0», «1») END",
        Never,
    );
    c.add("RIGHT", Text, &[Text, BigInt], "RIGHT(«0», «1»)", "right(«0», «1»)", Never);
    c.add(
        "SPLIT_PART",
        Text,
        &[Text, Text, BigInt],
        "SPLIT_PART(«0», «1», «2»)",
        "ws_split_part(«0», «1», «2»)",
        WithoutValue,
    );
    for (path, steps) in [
        ("$.a", "[\"a\"]"),
        ("$", "[]"),
        ("$.a.b[0]", "[\"a\",\"b\",\"0\"]"),
        ("$[2].a", "[\"2\",\"a\"]"),
        ("$.\"a b\"", "[\"a b\"]"),
    ] {
        for input in [Json, Text] {
            let (ours, theirs) = (format!("JSON_VALUE(«0», '{path}')"), format!("ws_json_value(«0», '{steps}')"));
            c.add("JSON_VALUE", Text, &[input], &ours, &theirs, Never);
        }
    }
}

fn patterns(c: &mut Catalog) {
    use DataType::{Boolean, Text};
    use Fails::Never;
    for pattern in LIKES {
        let pattern = text(pattern);
        c.same("LIKE", Boolean, &[Text], &format!("(«0» LIKE {pattern})"));
        c.same("LIKE", Boolean, &[Text], &format!("(«0» NOT LIKE {pattern})"));
        c.same("LIKE", Boolean, &[Text], &format!("(«0» LIKE {pattern} ESCAPE '\\')"));
        c.add(
            "ILIKE",
            Boolean,
            &[Text],
            &format!("(«0» ILIKE {pattern})"),
            &format!("ws_ilike(«0», {pattern}, '')"),
            Never,
        );
    }
    // A pattern that ends with its escape is a mistake in one of them.
    c.0.retain(|f| f.what != "LIKE" || !f.ours.contains("\\\\' ESCAPE"));
    for pattern in REGEXES {
        let quoted = text(pattern);
        let matches = format!("regexp_matches(«0», {quoted})");
        c.add("REGEXP_LIKE", Boolean, &[Text], &format!("REGEXP_LIKE(«0», {quoted})"), &matches, Never);
        c.add("~", Boolean, &[Text], &format!("(«0» ~ {quoted})"), &matches, Never);
        c.add("~", Boolean, &[Text], &format!("(«0» !~ {quoted})"), &format!("(NOT {matches})"), Never);
        c.add(
            "~",
            Boolean,
            &[Text],
            &format!("(«0» ~* {quoted})"),
            &format!("regexp_matches(«0», {quoted}, 'i')"),
            Never,
        );
        let extracted = format!("CASE WHEN {matches} THEN regexp_extract(«0», {quoted}) END");
        c.add("REGEXP_EXTRACT", Text, &[Text], &format!("REGEXP_EXTRACT(«0», {quoted})"), &extracted, Never);
        if !["^$", "^[^a]*$"].contains(pattern) {
            let replaced = format!("regexp_replace(«0», {quoted}, '<\\0>', 'g')");
            c.add("REGEXP_REPLACE", Text, &[Text], &format!("REGEXP_REPLACE(«0», {quoted}, '<$0>')"), &replaced, Never);
        }
    }
    let groups = "([a-z]+)=([a-z]+)";
    let extracted = format!("CASE WHEN regexp_matches(«0», '{groups}') THEN regexp_extract(«0», '{groups}', 2) END");
    c.add("REGEXP_EXTRACT", Text, &[Text], &format!("REGEXP_EXTRACT(«0», '{groups}', 2)"), &extracted, Never);
}

fn numbers(c: &mut Catalog) {
    use DataType::{Double, Int};
    use Fails::{Never, WithoutValue};
    for name in ["FLOOR", "CEIL", "CEILING", "ROUND"] {
        c.same(if name == "CEILING" { "CEIL" } else { name }, Double, &[Double], &format!("{name}(«0»)"));
    }
    for digits in [1, 2, 9] {
        let (ours, theirs) = (format!("ROUND(«0», {digits})"), format!("CAST(ws_round(«0», {digits}) AS DOUBLE)"));
        c.add("ROUND", Double, &[Double], &ours, &theirs, Never);
    }
    c.add("SQRT", Double, &[Double], "SQRT(«0»)", "CASE WHEN «0» < 0 THEN NULL ELSE sqrt(«0») END", WithoutValue);
    for name in ["LN", "LOG10"] {
        let theirs = format!("CASE WHEN «0» <= 0 THEN NULL ELSE {name}(«0») END");
        c.add(name, Double, &[Double], &format!("{name}(«0»)"), &theirs, WithoutValue);
    }
    c.same("EXP", Double, &[Double], "EXP(«0»)");
    c.same("POWER", Double, &[Double, Double], "POWER(«0», «1»)");
    c.add("POWER", Double, &[Double, Double], "POW(«0», «1»)", "power(«0», «1»)", Never);
    let sign = "CASE WHEN isnan(«0») THEN NULL ELSE CAST(sign(«0») AS INTEGER) END";
    c.add("SIGN", Int, &[Double], "SIGN(«0»)", sign, WithoutValue);
}

fn times(c: &mut Catalog) {
    use DataType::{BigInt, Date, Double, Timestamp};
    use Fails::{Never, WithoutValue};
    for unit in UNITS {
        let plain = format!("CAST(date_trunc('{unit}', «0») AS TIMESTAMP)");
        c.add("DATE_TRUNC", Timestamp, &[Timestamp], &format!("DATE_TRUNC('{unit}', «0»)"), &plain, Never);
        for zone in ZONES {
            let ours = format!("DATE_TRUNC('{unit}', «0», '{zone}')");
            let theirs = format!("make_timestamp(ws_trunc('{unit}', epoch_us(«0»), '{}'))", in_python(zone));
            c.add("DATE_TRUNC zone", Timestamp, &[Timestamp], &ours, &theirs, WithoutValue);
        }
        let plural = format!("DATE_DIFF('{unit}s', «0», «1»)");
        let theirs = match *unit {
            "week" => "date_diff('day', date_trunc('week', «0»), date_trunc('week', «1»)) // 7".to_owned(),
            other => format!("date_diff('{other}', «0», «1»)"),
        };
        c.add("DATE_DIFF", BigInt, &[Timestamp, Timestamp], &plural, &theirs, Never);
    }
    for field in FIELDS {
        let plain = match *field {
            "epoch" => "ws_part('epoch', epoch_us(«0»), '')".to_owned(),
            other => format!("CAST(extract({other} FROM «0») AS BIGINT)"),
        };
        let extract = format!("EXTRACT({} FROM «0»)", field.to_uppercase());
        c.add("EXTRACT", BigInt, &[Timestamp], &extract, &plain, Never);
        c.add("DATE_PART", BigInt, &[Timestamp], &format!("DATE_PART('{field}', «0»)"), &plain, Never);
        for zone in ZONES {
            let ours = format!("DATE_PART('{field}', «0», '{zone}')");
            let theirs = format!("ws_part('{field}', epoch_us(«0»), '{}')", in_python(zone));
            c.add("DATE_PART zone", BigInt, &[Timestamp], &ours, &theirs, Never);
        }
    }
    c.add("EPOCH_US", BigInt, &[Timestamp], "EPOCH_US(«0»)", "epoch_us(«0»)", Never);
    c.same("DATE", Date, &[Timestamp], "CAST(«0» AS DATE)");
    c.add("DATE", Date, &[Timestamp], "DATE(«0»)", "CAST(«0» AS DATE)", Never);
    c.add(
        "TO_TIMESTAMP",
        Timestamp,
        &[Double],
        "TO_TIMESTAMP(«0»)",
        "make_timestamp(ws_seconds_timestamp(«0»))",
        WithoutValue,
    );
    let whole = "CASE WHEN «0» BETWEEN -62135596800 AND 253402300799 THEN make_timestamp(«0» * 1000000) END";
    c.add("TO_TIMESTAMP", Timestamp, &[BigInt], "TO_TIMESTAMP(«0»)", whole, WithoutValue);
    for interval in INTERVALS {
        for sign in ["+", "-"] {
            let ours = format!("(«0» {sign} INTERVAL '{interval}')");
            let theirs = format!("ws_in_range(«0» {sign} INTERVAL '{interval}')");
            c.add("INTERVAL", Timestamp, &[Timestamp], &ours, &theirs, WithoutValue);
            c.add(
                "INTERVAL",
                Timestamp,
                &[Date],
                &ours,
                &format!("ws_in_range(CAST({theirs} AS TIMESTAMP))"),
                WithoutValue,
            );
        }
    }
}

/// The zone's name for the functions of Python; UTC is none.
pub fn in_python(zone: &str) -> &str {
    if zone == "UTC" { "" } else { zone }
}
