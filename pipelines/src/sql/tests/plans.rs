//! Plans, as text.

use super::*;

fn views(texts: &[&str]) -> String {
    texts.iter().map(|text| format!("{text}\n{}", describe(text))).collect::<Vec<_>>().join("\n")
}

fn queries(texts: &[&str]) -> String {
    texts.iter().map(|text| format!("{text}\n{}", query(text))).collect::<Vec<_>>().join("\n")
}

#[test]
fn cores() {
    snapshot!(views(&[
        "CREATE MATERIALIZED VIEW v AS SELECT window_end, card, SUM(amount) / COUNT(*) AS mean, SUM(amount), COUNT(*) AS n, COUNT(*) \
         FROM HOP(payments, ts, INTERVAL '1 minute', INTERVAL '5 minutes') p WHERE country IN ('DE', 'AT') AND window_start >= \
         '2026-01-01' AND p.ok GROUP BY 1, card HAVING n > 5",
        "CREATE MATERIALIZED VIEW v AS SELECT DATE_TRUNC('hour', ts) AS hour, SUM(amount * 1.19) AS gross FROM payments GROUP BY hour",
        "CREATE MATERIALIZED VIEW v AS SELECT UPPER(country), COUNT(*) + 1 FROM payments GROUP BY UPPER(country), merchant",
        "CREATE MATERIALIZED VIEW v AS SELECT * FROM payments",
        "CREATE MATERIALIZED VIEW v AS SELECT _offset AS at, card AS _offset, _append_time FROM payments",
        "CREATE MATERIALIZED VIEW v AS SELECT card, window_start, window_end FROM TUMBLE(payments, ts, INTERVAL '1 day', 'Europe/Berlin') WHERE window_start > '2020-01-01'",
        "CREATE MATERIALIZED VIEW v (a, b, c) WITH (buckets = 3) AS SELECT COUNT(*), FIRST(card), LAST(amount) FROM payments",
        "CREATE MATERIALIZED VIEW v AS SELECT window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE payments, DESCRIPTOR(_append_time), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end",
        "CREATE MATERIALIZED VIEW v AS SELECT window_start AS month, COUNT(DISTINCT card) FILTER (WHERE items > 3) FROM TUMBLE(payments, ts, INTERVAL '1 month', 'UTC') GROUP BY window_start",
        "CREATE MATERIALIZED VIEW v AS SELECT COUNT(*) FROM TUMBLE(payments, ts, INTERVAL '1 hour', INTERVAL '90 minutes') GROUP BY window_end",
        "CREATE MATERIALIZED VIEW v AS SELECT SUM(items), SUM(points), SUM(score), AVG(amount), MIN(ts), VARIANCE(items), STDDEV(score), \
         BOOL_OR(amount > 3), EVERY(ok), APPROX_COUNT_DISTINCT(card), APPROX_PERCENTILE(amount, 0.95) FROM payments",
    ]));
}

pub(super) const EXPRESSIONS: &[&str] = &[
    "amount + 1, items + points, items * 2.5, amount * amount, points / items, amount / 2, -items, -5, items % 3, +score",
    "items = 5, amount > 100, score < 0.1, day = '2026-01-31', ts >= day, card = 'x', points = 3.5, extra = card, ok = 'true'",
    "amount BETWEEN 1 AND 2, card NOT IN ('a', 'b'), items IN (1, 2.5), card LIKE 'a%', card NOT ILIKE '_b' ESCAPE '!'",
    "ok IS TRUE, ok IS NOT FALSE, ok IS NULL, card IS DISTINCT FROM merchant, NOT ok, ok AND items > 1 OR ok",
    "CASE items WHEN 1 THEN 'one' WHEN 2 THEN 'two' END, CASE WHEN ok THEN amount ELSE 0 END, IF(ok, 1, NULL)",
    "CAST(card AS INT), TRY_CAST(card AS TIMESTAMP), items::BIGINT, '2026-01-31'::DATE, CAST(amount AS DECIMAL(20,2)), ok::INT",
    "COALESCE(amount, 0), NULLIF(items, 0), GREATEST(items, points), LEAST(amount, score), IFNULL(merchant, '?')",
    "card || '-' || items, CONCAT(card, merchant), LENGTH(card), SUBSTRING(card FROM 2 FOR 3), SUBSTR(card, 2), TRIM(LEADING ' ' FROM card)",
    "LEFT(card, 2), RIGHT(card, 2), SPLIT_PART(card, '-', 1), STRPOS(card, '-'), POSITION('-' IN card), REPLACE(card, 'a', 'b')",
    "STARTS_WITH(card, 'a'), ENDS_WITH(card, 'a'), CONTAINS(card, 'a'), LOWER(card), UPPER(card), LTRIM(card), RTRIM(card)",
    "REGEXP_LIKE(card, '^a'), card ~* 'b$', card !~ 'c', REGEXP_REPLACE(card, 'a+', '$0'), REGEXP_EXTRACT(card, '(a)(b)', 2)",
    "JSON_VALUE(extra, '$.a.b[0]'), ABS(items), SIGN(score), FLOOR(amount), CEIL(score), ROUND(amount, 1), ROUND(items), MOD(items, 2)",
    "SQRT(items), LN(score), LOG10(score), EXP(score), POWER(amount, 2)",
    "ts + INTERVAL '1 day 2 hours', day - INTERVAL '1' MONTH, INTERVAL '90 seconds' + ts, TIMESTAMP '2026-01-31 12:00:00+02:00'",
    "DATE_TRUNC('hour', ts), DATE_TRUNC('week', day, 'Europe/Berlin'), EXTRACT(DOW FROM ts), DATE_PART('hour', ts, 'Asia/Tokyo')",
    "DATE_DIFF('day', day, ts), TO_TIMESTAMP(points), TO_TIMESTAMP(amount), EPOCH_US(ts), DATE(ts), risk(amount)",
    "1, 3000000000, 0.50, 1e3, 'it''s', TRUE, NULL, 12345678901234567890",
];

#[test]
fn expressions() {
    let plans = EXPRESSIONS.iter().map(|list| {
        let text = format!("CREATE MATERIALIZED VIEW v AS SELECT {list} FROM payments");
        let plan = describe(&text);
        plan.lines()
            .filter(|l| l.contains(" AS ") && !l.contains("key _"))
            .map(|l| format!("{l}\n"))
            .collect::<String>()
    });
    snapshot!(plans.collect::<Vec<_>>().join("\n"));
}

/// Queries of all kinds.
pub(super) const TAILS: &[&str] = &[
    "SELECT card, SUM(total) AS t, RANK() OVER (ORDER BY SUM(total) DESC) AS r FROM hot WHERE window_start >= '2026-01-01' AND \
         card = 'x' GROUP BY card HAVING t > 10 QUALIFY r <= 3 ORDER BY COUNT(*) DESC LIMIT 5",
    "WITH a (c, m) AS (SELECT card, n FROM card_minute) SELECT a.*, r.amount, _offset FROM a JOIN raw r ON a.c = r.card AND a.m > \
         r.amount LEFT JOIN by_country c ON r.country = c.country AND c.n > 5",
    "SELECT * FROM card_minute JOIN raw USING (card)",
    "SELECT card, l.n FROM hot l FULL JOIN card_minute r USING (card, window_start)",
    "SELECT a.n FROM hot a RIGHT JOIN hot b ON b.card = a.card AND a.n > 3, by_country",
    "SELECT a.n, b.n AS m FROM hot a CROSS JOIN hot b WHERE a.card < b.card",
    "SELECT card FROM hot UNION SELECT country FROM by_country ORDER BY card LIMIT 3",
    "SELECT n, amount FROM by_country JOIN raw USING (country) UNION ALL SELECT 1, 2 UNION ALL VALUES (3, 4.5)",
    "SELECT DISTINCT card FROM hot ORDER BY card",
    "SELECT card, n AS total FROM hot ORDER BY total DESC NULLS LAST, largest OFFSET 5",
    "SELECT 1 + 1 AS two, 'x' || 3",
    "SELECT n, LAG(n, 2) OVER w AS before, NTILE(4) OVER w, ROW_NUMBER() OVER (PARTITION BY card ORDER BY n) FROM hot WINDOW w AS (PARTITION BY card ORDER BY window_start)",
    "SELECT COUNT(*), AVG(n), COUNT(DISTINCT card) FILTER (WHERE n > 3) FROM (SELECT * FROM hot WHERE n < 100) x",
    "SELECT DATE_TRUNC('hour', window_start) AS hour, SUM(n) FROM card_minute GROUP BY 1 ORDER BY 2 DESC",
    "SELECT \"card\" AS \"Card\" FROM HOT",
];

#[test]
fn tails() {
    snapshot!(queries(TAILS));
}

/// Queries with conditions on keys.
pub(super) const PUSHED: &[&str] = &[
    "SELECT * FROM card_minute WHERE card IN ('a', 'b') AND window_start BETWEEN '2026-01-01' AND '2026-01-02'",
    "SELECT * FROM hot WHERE 'a' = card AND n > 20",
    "SELECT * FROM hot WHERE card = 'a' OR card = 'b'",
    "SELECT * FROM hot WHERE card = 'a' OR n = 3",
    "SELECT * FROM hot WHERE card > 'a' AND card > 'b' AND card <= 'c'",
    "SELECT * FROM hot WHERE card IN ('a', 'z') AND card < 'm'",
    "SELECT * FROM hot WHERE LOWER(card) = 'a' AND NOT card = 'b'",
    "WITH x AS (SELECT card AS c, n FROM hot) SELECT c FROM x WHERE c = 'a'",
    "SELECT card, SUM(n) FROM hot GROUP BY card HAVING card = 'a'",
    "SELECT * FROM (SELECT card, SUM(n) AS n FROM hot GROUP BY card) WHERE card = 'a' AND n = 3",
    "SELECT a.n FROM hot a LEFT JOIN hot b USING (card) WHERE card = 'a'",
    "SELECT a.n FROM hot a LEFT JOIN hot b ON a.card = b.card WHERE b.card = 'a'",
    "SELECT * FROM (SELECT card FROM hot LIMIT 3) WHERE card = 'a'",
    "SELECT * FROM (SELECT card, RANK() OVER (PARTITION BY card ORDER BY n) AS r FROM hot) WHERE card = 'a' AND r = 1",
    "SELECT * FROM (SELECT card, RANK() OVER (ORDER BY n) AS r FROM hot) WHERE card = 'a' AND r = 1",
    "SELECT * FROM (SELECT card FROM hot UNION ALL SELECT country FROM by_country) WHERE card = 'a'",
    "SELECT * FROM raw WHERE _partition = 0 AND _offset >= 100",
];

#[test]
fn keys_are_pushed_to_the_scans() {
    let scan = |sql: &str| {
        let plan = query(sql);
        let scans: Vec<&str> =
            plan.lines().filter(|l| l.contains("scan") || l.contains("error")).map(str::trim).collect();
        format!("{sql}\n  {}", scans.join("\n  "))
    };
    snapshot!(PUSHED.iter().map(|sql| scan(sql)).collect::<Vec<_>>().join("\n"));
}

#[test]
fn fingerprints_cover_the_core_only() {
    let fingerprint = |table: &str, view: &str| {
        let text = format!(
            "CREATE TABLE t (a INT NOT NULL, ts TIMESTAMP NOT NULL) {table}; CREATE MATERIALIZED VIEW v AS {view}"
        );
        plan(&text).expect("plans").view("v").expect("is there").fingerprint.clone()
    };
    let base = fingerprint("", "SELECT a, COUNT(*) AS n FROM t GROUP BY a");
    assert_eq!(base.len(), 64);
    for same in [
        "SELECT a, COUNT(*) AS n FROM t GROUP BY a HAVING n > 3",
        "SELECT a, COUNT(*) AS n, COUNT(*) * 2 AS twice FROM t AS x GROUP BY 1",
        "select A, count(*) as N from T group by t.a",
    ] {
        assert_eq!(fingerprint("", same), base, "{same}");
    }
    assert_eq!(
        fingerprint("WITH (lateness = '1 hour', partitions = 8)", "SELECT a, COUNT(*) AS n FROM t GROUP BY a"),
        base
    );
    for other in [
        "SELECT a, COUNT(*) AS m FROM t GROUP BY a",
        "SELECT a, COUNT(*) AS n FROM t WHERE a > 1 GROUP BY a",
        "SELECT a AS b, COUNT(*) AS n FROM t GROUP BY a",
    ] {
        assert_ne!(fingerprint("", other), base, "{other}");
    }
    assert_ne!(fingerprint("WITH (event_time = 'ts')", "SELECT a, COUNT(*) AS n FROM t GROUP BY a"), base);
}

#[test]
fn rendered_sql_plans_to_the_same() {
    let catalog = catalog();
    let rendered: Vec<String> = catalog.views.values().map(|v| v.sql.clone()).collect();
    let again = plan(&format!("{TABLES}{}", rendered.join(";\n"))).expect("rendered SQL plans");
    for (name, view) in &catalog.views {
        let other = again.view(name).expect("is there");
        assert_eq!(view.fingerprint, other.fingerprint, "{name}");
        assert_eq!(view.tail, other.tail, "{name}");
    }
}

#[test]
fn the_catalog_knows_what_reads_what() {
    let catalog = catalog();
    assert_eq!(catalog.dependencies("hot").into_iter().collect::<Vec<_>>(), ["card_minute"]);
    assert_eq!(catalog.dependencies("raw").into_iter().collect::<Vec<_>>(), ["raw"]);
    assert_eq!(
        catalog.materialized().map(|(v, _)| v.name.as_str()).collect::<Vec<_>>(),
        ["by_country", "card_minute", "raw"]
    );
    // Any order, any number of files, and all mistakes at once.
    let files = [SqlFile::new("b.sql", VIEWS), SqlFile::new("a.sql", TABLES)];
    assert!(Catalog::from_sql(&files, &registry()).is_ok());
    let mistakes = plan(
        "CREATE TABLE t (a INT, a INT); CREATE MATERIALIZED VIEW v AS SELECT b FROM t; CREATE VIEW w AS SELECT x FROM y",
    );
    let places: Vec<usize> = mistakes.expect_err("mistakes").iter().map(|m| m.span.start).collect();
    assert_eq!(places.len(), 2, "the view over the faulty table is not blamed");
}
