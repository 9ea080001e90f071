//! Whatever the text, planning gives a plan or mistakes with a place in the text.

use proptest::prelude::*;

use super::*;

const SEEDS: &[&str] = &[
    TABLES,
    VIEWS,
    "CREATE MATERIALIZED VIEW v AS SELECT window_end, card, SUM(amount) / COUNT(*) AS mean, COUNT(DISTINCT merchant) FILTER \
     (WHERE items > 3) FROM HOP(payments, ts, INTERVAL '1 minute', INTERVAL '5 minutes') p WHERE country IN ('DE', 'AT') AND \
     window_start >= '2026-01-01' GROUP BY 1, card HAVING mean > 5;",
    "CREATE VIEW w AS WITH a AS (SELECT card, n FROM card_minute) SELECT a.*, r.amount, _offset, RANK() OVER (PARTITION BY \
     card ORDER BY n DESC) k FROM a JOIN raw r USING (card) LEFT JOIN by_country c ON r.country = c.country AND c.n > 5 \
     QUALIFY k < 3 ORDER BY 1 LIMIT 3 OFFSET 2;",
    "CREATE VIEW x AS SELECT CASE WHEN n > 1 THEN 'a' ELSE LEFT(card, 2) END, ROUND(total, 1), DATE_TRUNC('day', window_start, \
     'Asia/Tokyo') FROM hot UNION ALL VALUES ('é', 1.5, TIMESTAMP '2026-01-01 00:00:00');",
];

/// Words that mistakes are made of.
const WORDS: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP BY",
    "card",
    "n",
    "*",
    "(",
    ")",
    ",",
    ";",
    "'",
    "\"",
    "1",
    "0.5",
    "1e400",
    "NULL",
    "AND",
    "NOT",
    "payments",
    "hot",
    "TUMBLE",
    "INTERVAL",
    "OVER",
    "COUNT(*)",
    "CASE",
    "END",
    "AS",
    "--",
    "/*",
    "é",
    "\n",
    "-",
    "=",
    "::INT",
    "JOIN",
    "USING",
    "UNION ALL",
    "window_start",
    "99999999999999999999999999999999999999999",
    "INTERVAL '1 day'",
    "$$",
    "\0",
];

fn check(text: &str) -> Result<(), TestCaseError> {
    if let Err(mistakes) = plan(text) {
        prop_assert!(!mistakes.is_empty());
        for mistake in mistakes {
            prop_assert!(mistake.span.start <= mistake.span.end && mistake.span.end <= text.len());
            prop_assert!(text.is_char_boundary(mistake.span.start) && text.is_char_boundary(mistake.span.end));
            crate::sql::render(&mistake, text);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in "\\PC{0,80}") {
        check(&text)?;
        let _ = catalog().plan_query(&text, &registry());
    }

    #[test]
    fn any_words(words in proptest::collection::vec(proptest::sample::select(WORDS), 0..24)) {
        let text = words.join(" ");
        check(&[TABLES, VIEWS, "CREATE MATERIALIZED VIEW v AS SELECT ", &text].concat())?;
        check(&[TABLES, VIEWS, "CREATE VIEW v AS SELECT ", &text].concat())?;
    }

    #[test]
    fn mutated_definitions(
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), 0usize..12, proptest::sample::select(WORDS)), 1..4)
    ) {
        let mut text = SEEDS.concat();
        for (at, removed, inserted) in edits {
            let boundaries: Vec<usize> = text.char_indices().map(|(i, _)| i).collect();
            let start = *at.get(&boundaries);
            let end = boundaries.iter().copied().find(|b| *b >= start + removed).unwrap_or(text.len());
            text.replace_range(start..end, inserted);
        }
        check(&text)?;
    }
}

#[test]
fn deep_and_long_texts() {
    let chain = |op: &str, count: usize| vec!["n"; count].join(op);
    for text in [
        format!("SELECT {} FROM hot", chain(" + ", 5000)),
        format!("SELECT * FROM hot WHERE n > 1 AND {}", chain(" > 1 OR ", 3000)),
        format!("SELECT {}n{} FROM hot", "(".repeat(3000), ")".repeat(3000)),
        format!("SELECT {} n FROM hot", "NOT ".repeat(3000)),
        format!("SELECT {} n FROM hot", "- ".repeat(3000)),
        format!("SELECT * FROM {}hot{}", "(SELECT * FROM ".repeat(300), ")".repeat(300)),
        format!("SELECT {} FROM hot", chain(" , ", 25_000)),
        format!("SELECT CASE {} END FROM hot", "WHEN n > 1 THEN 2 ".repeat(2000)),
        vec!["SELECT n FROM hot"; 400].join(" UNION ALL "),
        vec!["SELECT n FROM hot"; 3000].join(" UNION ALL "),
    ] {
        let _ = catalog().plan_query(&text, &registry());
    }
    // Views that read views twice grow without bound; they are refused in time.
    let mut text = [TABLES, VIEWS].concat();
    text.push_str("CREATE VIEW v0 AS SELECT card, n FROM hot;");
    for i in 1..40 {
        text.push_str(&format!(
            "CREATE VIEW v{i} AS SELECT a.card, b.n FROM v{} a JOIN v{} b USING (card);",
            i - 1,
            i - 1
        ));
    }
    let mistakes = plan(&text).expect_err("too large");
    assert!(mistakes[0].message.starts_with("the plan has grown"), "{}", mistakes[0].message);
    // A chain of views on one another.
    let mut text = [TABLES, VIEWS].concat();
    text.push_str("CREATE VIEW v0 AS SELECT card, n FROM hot;");
    for i in 1..300 {
        text.push_str(&format!("CREATE VIEW v{i} AS SELECT card, n + 1 AS n FROM v{};", i - 1));
    }
    assert!(plan(&text).is_err());
}

#[test]
fn reserved_names_of_columns_are_stored_under_others() {
    let sum = ["_state_", "_rest_", "_state__state_a", "_rest__state__rest_a", "a", "_rest_a"]
        .map(|name| format!("SUM(score) AS \"{name}\""))
        .join(", ");
    let view = format!("CREATE MATERIALIZED VIEW v AS SELECT card, {sum} FROM payments GROUP BY card;");
    let rows = "CREATE MATERIALIZED VIEW w AS SELECT score AS \"_state__state_a\", score AS \"_rest_\" FROM payments;";
    for definition in [view.as_str(), rows] {
        let catalog = plan(&[TABLES, definition].concat()).expect("it plans");
        for core in catalog.views.values().filter_map(|view| view.core.as_ref()) {
            let mut names: Vec<&str> = core.aggregates.iter().map(|call| call.name.as_str()).collect();
            assert!(names.iter().all(|name| !name.is_empty() && !name.starts_with('_')), "{names:?}");
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), core.aggregates.len(), "{names:?}");
        }
    }
}
