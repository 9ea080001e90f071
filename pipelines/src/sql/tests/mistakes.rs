//! Each kind of mistake, with the words that users see.

use super::*;

/// Definitions on top of the test tables; the text alone is shown.
fn definition(text: &str) -> String {
    let catalog = [TABLES, VIEWS].concat();
    match Catalog::from_sql(&[SqlFile::new("base.sql", catalog), SqlFile::new("views.sql", text)], &registry()) {
        Ok(_) => panic!("no mistake in {text}"),
        Err(mistakes) => mistakes.iter().map(|m| crate::sql::render(m, text)).collect(),
    }
}

fn all(texts: &[&str], render: impl Fn(&str) -> String) -> String {
    texts.iter().map(|text| render(text)).collect::<Vec<_>>().join("\n")
}

#[test]
fn of_syntax() {
    snapshot!(all(
        &[
            "CREATE TABLE t (a INT",
            "CREATE TABLE t (a INT);\nCREATE VEIW v AS SELECT 1;\nCREATE TABLE u (a NITEGER);",
            "CREATE TABLE t (a INT, b TEXT DEFAULT 'unclosed);",
            "CREATE VIEW v AS SELECT FROM hot",
            "CREATE VIEW v AS SELECT card n largest FROM hot",
            "INSERT INTO payments VALUES (1)",
            "SELECT * FROM hot",
            "DROP VIEW hot",
        ],
        definition
    ));
}

#[test]
fn of_tables() {
    snapshot!(all(
        &[
            "CREATE TABLE t (ts TIMESTAMP NOT NULL) WITH (event_tme = 'ts')",
            "CREATE TABLE t (ts TIMESTAMP NOT NULL) WITH (event_time = 'tss')",
            "CREATE TABLE t (ts TIMESTAMP) WITH (event_time = 'ts')",
            "CREATE TABLE t (ts BIGINT NOT NULL) WITH (event_time = 'ts')",
            "CREATE TABLE t (a INT) WITH (partitions = 0)",
            "CREATE TABLE t (a INT) WITH (lateness = '10 parsecs')",
            "CREATE TABLE t (a INT) WITH (lateness = '1 month')",
            "CREATE TABLE t (a INT, a TEXT)",
            "CREATE TABLE t (a INT PRIMARY KEY)",
            "CREATE TABLE t (a INT, PRIMARY KEY (a))",
            "CREATE TABLE t (_offset INT)",
            "CREATE TABLE t (a DECIMAL, b DECIMAL(40,2), c VARCHAR(10), d FLOAT, e UUID, f INT[], g TIMESTAMPTZ, h MONEY)",
            "CREATE TABLE payments (a INT)",
            "CREATE OR REPLACE TABLE t (a INT)",
        ],
        definition
    ));
}

#[test]
fn of_names() {
    snapshot!(all(
        &[
            "CREATE MATERIALIZED VIEW v AS SELECT amuont FROM payments",
            "CREATE MATERIALIZED VIEW v AS SELECT p.amount, q.card FROM payments p",
            "CREATE MATERIALIZED VIEW v AS SELECT card FROM payment",
            "CREATE MATERIALIZED VIEW v AS SELECT card FROM hot",
            "CREATE VIEW v AS SELECT card FROM payments",
            "CREATE VIEW v AS SELECT card FROM hto",
            "CREATE VIEW v AS SELECT card, n AS card FROM hot",
            "CREATE VIEW v AS SELECT n FROM hot JOIN by_country ON hot.n = by_country.n",
            "CREATE VIEW v AS SELECT LOWERCASE(card), LENGHT(card), JSON_EXTRACT(card, '$.a') FROM hot",
            "CREATE VIEW a AS SELECT * FROM b; CREATE VIEW b AS SELECT * FROM a",
            "CREATE VIEW v AS SELECT extra.country FROM raw",
            "CREATE MATERIALIZED VIEW v AS SELECT extra.country FROM payments",
            "CREATE VIEW v AS SELECT * FROM schema.hot",
            "CREATE VIEW v AS SELECT * FROM hot, hot",
        ],
        definition
    ));
}

#[test]
fn of_types() {
    snapshot!(all(
        &[
            "CREATE MATERIALIZED VIEW v AS SELECT card FROM payments WHERE amount > 'many'",
            "CREATE MATERIALIZED VIEW v AS SELECT card FROM payments WHERE ts >= '2026-13-01'",
            "CREATE MATERIALIZED VIEW v AS SELECT card FROM payments WHERE card = 5",
            "CREATE MATERIALIZED VIEW v AS SELECT card FROM payments WHERE amount",
            "CREATE MATERIALIZED VIEW v AS SELECT card FROM payments WHERE merchant = NULL",
            "CREATE MATERIALIZED VIEW v AS SELECT card + 1, ok * 2 FROM payments",
            "CREATE MATERIALIZED VIEW v AS SELECT ts - ts FROM payments",
            "CREATE MATERIALIZED VIEW v AS SELECT ts + 1 FROM payments",
            "CREATE MATERIALIZED VIEW v AS SELECT items + INTERVAL '1 day' FROM payments",
            "CREATE MATERIALIZED VIEW v AS SELECT ts + INTERVAL '1 fortnight' FROM payments",
            "CREATE MATERIALIZED VIEW v AS SELECT CASE WHEN ok THEN card ELSE items END FROM payments",
            "CREATE MATERIALIZED VIEW v AS SELECT COALESCE(amount, merchant) FROM payments",
            "CREATE MATERIALIZED VIEW v AS SELECT CAST(ts AS BIGINT), CAST('x' AS INT) FROM payments",
            "CREATE MATERIALIZED VIEW v AS SELECT LOWER(items), LOWER(), ROUND(card), risk('high'), risk(score, 1) FROM payments",
            "CREATE MATERIALIZED VIEW v AS SELECT amount * amount * amount * amount * 0.12345678901234567890123456789012345 FROM payments",
            "CREATE MATERIALIZED VIEW v AS SELECT REGEXP_LIKE(card, '(?<x'), REGEXP_LIKE(card, merchant) FROM payments",
            "CREATE MATERIALIZED VIEW v AS SELECT DATE_TRUNC('fortnight', ts), DATE_TRUNC('day', ts, 'Europe/Berln'), EXTRACT(century FROM ts) FROM payments",
            "CREATE MATERIALIZED VIEW v AS SELECT JSON_VALUE(extra, 'a.b'), extra -> 'a' FROM payments",
            "CREATE MATERIALIZED VIEW v AS SELECT 123456789012345678901234567890123456789 FROM payments",
            "CREATE MATERIALIZED VIEW v AS SELECT card LIKE merchant, ts AT TIME ZONE 'UTC' FROM payments",
        ],
        definition
    ));
}

#[test]
fn of_cores() {
    snapshot!(all(
        &[
            "CREATE MATERIALIZED VIEW v AS SELECT card, COUNT(*) FROM payments",
            "CREATE MATERIALIZED VIEW v AS SELECT card, COUNT(*) FROM payments GROUP BY merchant",
            "CREATE MATERIALIZED VIEW v AS SELECT card, COUNT(*) FROM payments GROUP BY card ORDER BY 2 DESC LIMIT 10",
            "CREATE MATERIALIZED VIEW v AS SELECT DISTINCT card FROM payments",
            "CREATE MATERIALIZED VIEW v AS SELECT card FROM payments UNION ALL SELECT merchant FROM payments",
            "CREATE MATERIALIZED VIEW v AS WITH x AS (SELECT 1) SELECT card FROM payments",
            "CREATE MATERIALIZED VIEW v AS SELECT * FROM (SELECT card FROM payments) x",
            "CREATE MATERIALIZED VIEW v AS SELECT * FROM payments JOIN by_country USING (country)",
            "CREATE MATERIALIZED VIEW v AS SELECT card FROM payments WHERE card IN (SELECT card FROM hot)",
            "CREATE MATERIALIZED VIEW v AS SELECT NOW(), random() FROM payments",
            "CREATE MATERIALIZED VIEW v AS SELECT card FROM payments WHERE ts > CURRENT_TIMESTAMP - INTERVAL '1 hour'",
            "CREATE MATERIALIZED VIEW v AS SELECT card, ROW_NUMBER() OVER (ORDER BY ts) FROM payments",
            "CREATE MATERIALIZED VIEW v AS SELECT card, RANK() FROM payments",
            "CREATE MATERIALIZED VIEW v AS SELECT card FROM payments WHERE COUNT(*) > 1",
            "CREATE MATERIALIZED VIEW v AS SELECT card, SUM(COUNT(*)) FROM payments GROUP BY card",
            "CREATE MATERIALIZED VIEW v AS SELECT * FROM payments GROUP BY card",
            "CREATE MATERIALIZED VIEW v AS SELECT COUNT(*) FROM payments GROUP BY ROLLUP (card)",
            "CREATE MATERIALIZED VIEW v AS SELECT COUNT(*) FROM payments GROUP BY 2",
            "CREATE MATERIALIZED VIEW v WITH (bukets = 3) AS SELECT COUNT(*) FROM payments",
            "CREATE MATERIALIZED VIEW v AS SELECT 1",
        ],
        definition
    ));
}

#[test]
fn of_windows() {
    snapshot!(all(
        &[
            "CREATE MATERIALIZED VIEW v AS SELECT card, COUNT(*) FROM TUMBLE(payments, ts, INTERVAL '1 minute') GROUP BY card",
            "CREATE MATERIALIZED VIEW v AS SELECT COUNT(*) FROM TUMBLE(payments, ts, INTERVAL '1 minute')",
            "CREATE MATERIALIZED VIEW v AS SELECT window_start, COUNT(*) FROM payments GROUP BY window_start",
            "CREATE MATERIALIZED VIEW v AS SELECT COUNT(*) FROM TUMBLE(payments, day, INTERVAL '1 minute') GROUP BY window_start",
            "CREATE MATERIALIZED VIEW v AS SELECT COUNT(*) FROM TUMBLE(payments, ts) GROUP BY window_start",
            "CREATE MATERIALIZED VIEW v AS SELECT COUNT(*) FROM TUMBLE(payments, ts, '1 minute') GROUP BY window_start",
            "CREATE MATERIALIZED VIEW v AS SELECT COUNT(*) FROM TUMBLE(payments, ts, INTERVAL '0 minutes') GROUP BY window_start",
            "CREATE MATERIALIZED VIEW v AS SELECT COUNT(*) FROM TUMBLE(payments, ts, INTERVAL '1 day 2 hours') GROUP BY window_start",
            "CREATE MATERIALIZED VIEW v AS SELECT COUNT(*) FROM TUMBLE(payments, ts, INTERVAL '1 hour', 'Europe/Berlin') GROUP BY window_start",
            "CREATE MATERIALIZED VIEW v AS SELECT COUNT(*) FROM HOP(payments, ts, INTERVAL '5 minutes', INTERVAL '1 minute') GROUP BY window_start",
            "CREATE MATERIALIZED VIEW v AS SELECT card FROM HOP(payments, ts, INTERVAL '1 minute', INTERVAL '5 minutes')",
            "CREATE MATERIALIZED VIEW v AS SELECT COUNT(*) FROM SESSION(payments, ts, INTERVAL '5 minutes') GROUP BY window_start",
            "CREATE MATERIALIZED VIEW v AS SELECT COUNT(*) FROM TUMBEL(payments, ts, INTERVAL '5 minutes') GROUP BY window_start",
            "CREATE MATERIALIZED VIEW v AS SELECT COUNT(*) FROM TUMBLE(hot, window_start, INTERVAL '5 minutes') GROUP BY window_start",
            "CREATE MATERIALIZED VIEW v AS SELECT COUNT(*) FROM TUMBLE(payments, ts, INTERVAL '1 hour') GROUP BY DATE_TRUNC('day', window_start)",
            "CREATE MATERIALIZED VIEW v AS SELECT MAX(window_start) FROM TUMBLE(payments, ts, INTERVAL '1 hour') GROUP BY window_start",
            "CREATE MATERIALIZED VIEW v AS SELECT COUNT(*) FROM TUMBLE(payments, ts, INTERVAL '1 hour') WHERE ts > window_start GROUP BY window_start",
            "CREATE VIEW v AS SELECT COUNT(*) FROM TUMBLE(hot, window_start, INTERVAL '5 minutes') GROUP BY window_start",
        ],
        definition
    ));
}

#[test]
fn of_aggregates() {
    snapshot!(all(
        &[
            "CREATE MATERIALIZED VIEW v AS SELECT SUM(card), MIN(ok), MAX(extra), AVG() FROM payments",
            "CREATE MATERIALIZED VIEW v AS SELECT SUM(DISTINCT amount), COUNT(DISTINCT card, merchant), SUM(*) FROM payments",
            "CREATE MATERIALIZED VIEW v AS SELECT APPROX_PERCENTILE(amount, 95), APPROX_PERCENTILE(amount) FROM payments",
            "CREATE MATERIALIZED VIEW v AS SELECT MEDIAN(amount), ARRAY_AGG(card), STDEV(amount) FROM payments",
            "CREATE MATERIALIZED VIEW v AS SELECT BOOL_AND(amount), COUNT(*) FILTER (WHERE amount) FROM payments",
            "CREATE MATERIALIZED VIEW v AS SELECT FIRST(amount ORDER BY ts) FROM payments",
            "CREATE VIEW v AS SELECT LAST(n) FROM hot",
        ],
        definition
    ));
}

#[test]
fn of_queries() {
    snapshot!(all(
        &[
            "",
            "SELECT * FROM hot; SELECT * FROM raw",
            "CREATE VIEW x AS SELECT * FROM hot",
            "SELECT card FROM hot WHERE RANK() OVER (ORDER BY n) = 1",
            "SELECT SUM(n) OVER (PARTITION BY card) FROM hot",
            "SELECT card, RANK() OVER w FROM hot",
            "SELECT card FROM hot GROUP BY card HAVING n > 3",
            "SELECT card FROM hot LIMIT 'ten'",
            "SELECT card FROM hot ORDER BY 7",
            "SELECT DISTINCT card FROM hot ORDER BY n",
            "SELECT card FROM hot UNION ALL SELECT country, n FROM by_country",
            "SELECT card FROM hot UNION ALL SELECT n FROM by_country",
            "SELECT card FROM hot EXCEPT SELECT card FROM raw",
            "SELECT * FROM hot JOIN raw",
            "SELECT * FROM hot JOIN raw ON hot.card = raw.card",
            "SELECT hot.n FROM hot LEFT JOIN raw ON hot.card = raw.card AND hot.n > raw.amount",
            "SELECT hot.n FROM hot JOIN by_country USING (card)",
            "SELECT hot.n FROM hot NATURAL JOIN raw",
            "SELECT (SELECT MAX(n) FROM hot)",
            "SELECT * FROM hot WHERE window_start > now() - INTERVAL '1 hour'",
            "SELECT * FROM hot WHERE card = $1",
            "SELECT *",
            "SELECT card FROM hot WHERE n = 1 OR n = 'x'",
            "WITH RECURSIVE t AS (SELECT 1) SELECT * FROM t",
            "VALUES (1, 2), (3)",
            "VALUES (1), ('2026-01-01'), (TRUE)",
        ],
        query
    ));
}
