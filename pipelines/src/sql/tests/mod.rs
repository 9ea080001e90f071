//! Plans of definitions and queries, and the words for each mistake.

/// A snapshot without the expression that made it: the texts stand in it anyway.
macro_rules! snapshot {
    ($text:expr $(,)?) => {
        insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!($text) })
    };
}

mod answers;
mod mistakes;
mod plans;
mod robust;

use crate::{catalog::Catalog, error::Diagnostic, explain, registry::Registry, sql::SqlFile};

/// The tables and views that the tests are about.
const TABLES: &str = "\
CREATE TABLE payments (
  event_id TEXT NOT NULL, ts TIMESTAMP NOT NULL, card TEXT NOT NULL, merchant TEXT, country TEXT,
  amount DECIMAL(12,2), items INT, points BIGINT, score DOUBLE, day DATE, ok BOOLEAN, extra JSON
) WITH (event_time = 'ts', partitions = 4, partition_by = 'card', lateness = '10 seconds');
";

const VIEWS: &str = "\
CREATE MATERIALIZED VIEW card_minute AS
SELECT card, window_start, COUNT(*) AS n, SUM(amount) AS total, MAX(amount) AS largest
FROM TUMBLE(payments, ts, INTERVAL '1 minute') WHERE ok GROUP BY card, window_start;
CREATE MATERIALIZED VIEW by_country AS SELECT country, COUNT(*) AS n, AVG(score) AS mean FROM payments GROUP BY country;
CREATE MATERIALIZED VIEW raw AS SELECT card, amount, country FROM payments WHERE amount > 0;
CREATE VIEW hot AS SELECT * FROM card_minute WHERE n >= 10;
";

fn registry() -> Registry {
    use crate::types::DataType;
    Registry::new().scalar("risk", 3, &[DataType::Double], DataType::Double, |args| Ok(args[0].clone()))
}

fn catalog() -> Catalog {
    plan(&[TABLES, VIEWS].concat()).expect("the test definitions plan")
}

fn plan(text: &str) -> Result<Catalog, Vec<Diagnostic>> {
    Catalog::from_sql(&[SqlFile::new("views.sql", text)], &registry())
}

/// The plan of one more view, or its mistakes.
fn describe(view: &str) -> String {
    let text = [TABLES, VIEWS, view].concat();
    match plan(&text) {
        Ok(catalog) => {
            let known = self::catalog();
            let mut out = String::new();
            for view in catalog.views.values().filter(|v| known.view(&v.name).is_none()) {
                if let Some(core) = &view.core {
                    out.push_str(&explain::core(core));
                }
                out.push_str(&explain::rel(&view.tail));
            }
            out
        }
        Err(mistakes) => mistakes.iter().map(|m| crate::sql::render(m, &text)).collect(),
    }
}

/// The plan of a query, or its mistake.
fn query(sql: &str) -> String {
    match catalog().plan_query(sql, &registry()) {
        Ok(query) => explain::rel(&query.rel),
        Err(mistake) => crate::sql::render(&mistake, sql),
    }
}
