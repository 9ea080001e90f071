//! Where DuckDB's meaning differs from docs/sql.md, on purpose. The attack translates exactly these; each is shown to exist still.

use std::collections::BTreeSet;

use super::{
    oracle::{Oracle, Request},
    values::cell,
};
use crate::support::{records::BEGIN_MICROS, system::System, tools::Tools};

/// One difference.
struct Difference {
    /// What is different, and why Watershed has it so.
    what: &'static str,
    /// Watershed's expression, and the text of its value; `None`: it fails.
    ours: (&'static str, Option<&'static str>),
    /// DuckDB's, and the text of its value; `None`: it fails.
    theirs: (&'static str, Option<&'static str>),
}

const fn difference(
    what: &'static str,
    ours: (&'static str, Option<&'static str>),
    theirs: (&'static str, Option<&'static str>),
) -> Difference {
    Difference { what, ours, theirs }
}

const ZERO: &str = "a zero divisor fails, for doubles too: as in PostgreSQL";
const DOMAIN: &str = "a logarithm or root without a value fails instead of giving NaN: as in PostgreSQL";
const FORMS: &str = "a text is a number in one form, not in those of programming languages: as in JSON";
const WITHOUT: &str = "what is not there is NULL, not the empty text";
const SHORTEST: &str = "a double stands for its shortest decimal text, so that 1.005 rounds to 1.01";

/// All of them.
const DIFFERENCES: &[Difference] = &[
    difference(ZERO, ("1e0 / 0e0", None), ("1e0 / 0e0", Some("inf"))),
    difference("`/` of integers truncates: as in PostgreSQL", ("7 / 2", Some("3")), ("7 / 2", Some("3.5"))),
    difference(
        "the least integer has a remainder",
        ("CAST(-9223372036854775808 AS BIGINT) % CAST(-1 AS BIGINT)", Some("0")),
        ("CAST(-9223372036854775808 AS BIGINT) % CAST(-1 AS BIGINT)", None),
    ),
    difference(DOMAIN, ("SQRT(-1e0)", None), ("isnan(SQRT(-1e0))", Some("true"))),
    difference(DOMAIN, ("LN(0e0)", None), ("LN(0e0)", Some("-inf"))),
    difference(DOMAIN, ("LOG10(-1e0)", None), ("isnan(LOG10(-1e0))", Some("true"))),
    difference(
        "NaN has no sign",
        ("SIGN(CAST(CONCAT('NaN') AS DOUBLE))", None),
        ("SIGN(CAST('NaN' AS DOUBLE))", Some("0")),
    ),
    difference(SHORTEST, ("ROUND(1.005e0, 2) * 100e0", Some("101")), ("ROUND(1.005e0, 2) * 100e0", Some("100.0"))),
    difference(
        SHORTEST,
        ("CAST(1.005e0 AS DECIMAL(5,2))", Some("101")),
        ("CAST(1.005e0 AS DECIMAL(5,2)) * 100", Some("100.00")),
    ),
    difference(
        "UPPER and LOWER are Unicode's, with ß",
        ("UPPER('straße')", Some("STRASSE")),
        ("UPPER('straße')", Some("STRAẞE")),
    ),
    difference(
        "UPPER and LOWER are Unicode's, with the final sigma",
        ("LOWER('ΑΣ')", Some("ας")),
        ("LOWER('ΑΣ')", Some("ασ")),
    ),
    difference(
        "ILIKE folds cases, and not only to lower ones",
        ("'ſ' ILIKE 's'", Some("true")),
        ("'ſ' ILIKE 's'", Some("false")),
    ),
    difference(
        "TRIM takes spaces off, and nothing else: as in PostgreSQL",
        ("TRIM('\u{a0}a ')", Some("\u{a0}a")),
        ("TRIM('\u{a0}a ')", Some("a")),
    ),
    difference(
        "SUBSTRING does not count from the end: as in PostgreSQL",
        ("SUBSTRING('hello', -1, 3)", Some("h")),
        ("SUBSTRING('hello', -1, 3)", Some("o")),
    ),
    difference(
        "SUBSTRING with a negative count fails: as in PostgreSQL",
        ("SUBSTRING('hello', 2, -1)", None),
        ("SUBSTRING('hello', 2, -1)", Some("h")),
    ),
    difference(
        "there is no part 0: as in PostgreSQL",
        ("SPLIT_PART('a,b', ',', 0)", None),
        ("SPLIT_PART('a,b', ',', 0)", Some("")),
    ),
    difference(
        "an empty separator does not separate: as in PostgreSQL",
        ("SPLIT_PART('abc', '', 1)", Some("abc")),
        ("SPLIT_PART('abc', '', 1)", Some("a")),
    ),
    difference(
        "LEFT takes any number",
        ("LEFT('hello', 9223372036854775807)", Some("hello")),
        ("LEFT('hello', 9223372036854775807)", None),
    ),
    difference(
        WITHOUT,
        ("REGEXP_EXTRACT('abc', 'z') IS NULL", Some("true")),
        ("REGEXP_EXTRACT('abc', 'z') IS NULL", Some("false")),
    ),
    difference(
        "`\\d` is Unicode's",
        ("REGEXP_LIKE('٣', '\\d')", Some("true")),
        ("REGEXP_MATCHES('٣', '\\d')", Some("false")),
    ),
    difference(
        "numbers within JSON keep their text",
        ("JSON_VALUE('{\"a\":1.50}', '$.a')", Some("1.50")),
        ("CAST('{\"a\":1.50}' AS JSON)->>'$.a'", Some("1.5")),
    ),
    difference(
        "the text of a double is like Rust's and Java's",
        ("CAST(1e16 AS TEXT)", Some("1e16")),
        ("CAST(1e16 AS VARCHAR)", Some("1e+16")),
    ),
    difference(
        "a decimal becomes the nearest double; DuckDB rounds one of more than 64 bits twice",
        ("CAST(CAST('87390187799180780021' AS DECIMAL(20,0)) AS DOUBLE) = 87390187799180787712e0", Some("true")),
        ("CAST(CAST('87390187799180780021' AS DECIMAL(20,0)) AS DOUBLE) = 87390187799180787712e0", Some("false")),
    ),
    difference(
        "a product of decimals has the digits of both sides, up to 38",
        (
            "CAST('-9371484404.97' AS DECIMAL(12,2)) * CAST('-2147483648' AS DECIMAL(10,0))",
            Some("2012510951716008493056"),
        ),
        ("CAST('-9371484404.97' AS DECIMAL(12,2)) * CAST('-2147483648' AS DECIMAL(10,0))", None),
    ),
    difference(
        "decimals are written with a digit before the point",
        ("CAST(CAST('-0.7' AS DECIMAL(1,1)) AS TEXT)", Some("-0.7")),
        ("CAST(CAST('-0.7' AS DECIMAL(1,1)) AS VARCHAR)", Some("-.7")),
    ),
    difference(FORMS, ("CAST(CONCAT('1e2') AS INT)", None), ("CAST('1e2' AS INTEGER)", Some("100"))),
    difference(FORMS, ("CAST(CONCAT('5.5') AS INT)", None), ("CAST('5.5' AS INTEGER)", Some("6"))),
    difference(FORMS, ("CAST(CONCAT('1_000') AS BIGINT)", None), ("CAST('1_000' AS BIGINT)", Some("1000"))),
    difference(
        "a number that is too large is an error, not infinity",
        ("CAST(CONCAT('1e999') AS DOUBLE)", None),
        ("CAST('1e999' AS DOUBLE)", Some("inf")),
    ),
    difference(
        "Booleans are PostgreSQL's words",
        ("CAST(CONCAT('on') AS BOOLEAN)", Some("true")),
        ("CAST('on' AS BOOLEAN)", None),
    ),
    difference(
        "dates are written with all their digits",
        ("CAST(CONCAT('2024-1-1') AS TIMESTAMP)", None),
        ("CAST('2024-1-1' AS TIMESTAMP)", Some("2024-01-01 00:00:00")),
    ),
    difference(
        "timestamps are written as RFC 3339",
        ("CAST(TIMESTAMP '2024-01-01' AS TEXT)", Some("2024-01-01T00:00:00Z")),
        ("CAST(TIMESTAMP '2024-01-01' AS VARCHAR)", Some("2024-01-01 00:00:00")),
    ),
    difference(
        "timestamps lie in the years 1 to 9999, whose end they may be",
        ("TIMESTAMP '9999-12-31' + INTERVAL '2 days'", None),
        ("TIMESTAMP '9999-12-31' + INTERVAL '2 days'", Some("10000-01-02 00:00:00")),
    ),
    difference(
        "`DATE_DIFF` counts the Mondays between, as it counts the boundaries of every unit; DuckDB counts weeks in sevens of days",
        ("DATE_DIFF('week', TIMESTAMP '2023-12-31', TIMESTAMP '2024-01-01')", Some("1")),
        ("date_diff('week', TIMESTAMP '2023-12-31', TIMESTAMP '2024-01-01')", Some("0")),
    ),
    difference(
        "the epoch is in whole seconds",
        ("EXTRACT(EPOCH FROM TIMESTAMP '1969-12-31 23:59:59.5')", Some("-1")),
        ("EXTRACT(EPOCH FROM TIMESTAMP '1969-12-31 23:59:59.5')", Some("-0.5")),
    ),
    difference(
        "a timestamp is one, without a zone of the session",
        ("TO_TIMESTAMP(0)", Some("0")),
        ("typeof(TO_TIMESTAMP(0))", Some("TIMESTAMP WITH TIME ZONE")),
    ),
    difference(
        "days begin in a named zone",
        ("DATE_TRUNC('day', TIMESTAMP '2024-01-01 12:00', 'Europe/Berlin')", Some("1704063600000000")),
        ("typeof(TRY(DATE_TRUNC('day', TIMESTAMP '2024-01-01 12:00')))", Some("TIMESTAMP")),
    ),
    difference(
        "sums of doubles are exact, rounded once",
        ("(SELECT SUM(x))", Some("1")),
        ("(SELECT SUM(x) FROM (VALUES (1e0), (1e16), (-1e16)) AS t (x))", Some("0.0")),
    ),
    difference(
        "NULL is the greatest: first when descending, as in PostgreSQL",
        ("(SELECT x ORDER BY x DESC LIMIT 1)", None),
        ("(SELECT x FROM (VALUES (1), (NULL)) AS t (x) ORDER BY x DESC LIMIT 1)", Some("1")),
    ),
];

/// Watershed's query for an expression. Queries within expressions are not part of its language.
fn question(ours: &str) -> String {
    match ours {
        "(SELECT SUM(x))" => "SELECT SUM(x) AS y FROM (VALUES (1e0), (1e16), (-1e16)) AS t (x)".to_owned(),
        "(SELECT x ORDER BY x DESC LIMIT 1)" => {
            "SELECT x FROM (VALUES (1), (NULL)) AS t (x) ORDER BY x DESC LIMIT 1".to_owned()
        }
        expression => format!("SELECT {expression} AS x"),
    }
}

fn value(system: &System, ours: &str) -> Option<String> {
    let answer = system.answer(&question(ours)).ok()?;
    let rows: Vec<_> = answer.rows().collect();
    match &rows[0][0] {
        watershed::Value::Double(value) => Some(value.to_string()),
        other => cell(other),
    }
}

#[test]
fn the_known_differences_from_duckdb_still_exist() {
    let Some(tools) = Tools::for_test("the_known_differences_from_duckdb_still_exist") else { return };
    let system = System::new(&[], BEGIN_MICROS);
    let mut request = Request::default();
    for known in DIFFERENCES {
        let ((ours, expected), (theirs, text)) = (known.ours, known.theirs);
        assert_eq!(value(&system, ours).as_deref(), expected, "{ours}: {}", known.what);
        assert_ne!(expected, text, "{ours}: {}", known.what);
        let columns = [("x".to_owned(), "VARCHAR".to_owned(), "exact".to_owned())];
        let sql = match text {
            Some(_) => format!("SELECT CAST({theirs} AS VARCHAR) AS x"),
            None => format!("SELECT CAST(TRY({theirs}) AS VARCHAR) AS x"),
        };
        request.compare(theirs, &sql, &columns, &Ok(vec![vec![text.map(str::to_owned)]]), false);
    }
    let compared = Oracle::start(tools).ask(&request);
    assert_eq!(compared, Ok(DIFFERENCES.len() as u64));
    let reasons: BTreeSet<&str> = DIFFERENCES.iter().map(|known| known.what).collect();
    let page = include_str!("../../docs/reliability.md");
    for reason in reasons {
        assert!(page.contains(reason), "docs/reliability.md does not say: {reason}");
    }
}
