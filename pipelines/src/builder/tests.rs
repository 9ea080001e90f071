use super::*;

fn payments() -> Table {
    Table::new("payments")
        .required("ts", DataType::Timestamp)
        .required("card", DataType::Text)
        .column("amount", DataType::Decimal { precision: 12, scale: 2 })
        .column("order", DataType::Int)
        .column("Status", DataType::Text)
        .event_time("ts")
        .partitions(4)
        .partition_by("card")
        .lateness("10 seconds")
}

fn definitions() -> Definitions {
    Definitions::new()
        .table(payments())
        .materialized(
            View::from(tumble("payments", "ts", "1 day").time_zone("Europe/Berlin"))
                .named("card_day")
                .filter(col("Status").eq(lit("it's")).or(col("order").gt(lit(-3))))
                .filter(col("card").is_not_null())
                .select([
                    col("card").into(),
                    col("window_start").into(),
                    count().alias("n"),
                    (sum(col("amount") * (lit(1) + col("order"))) / count()).alias("mean"),
                    count_distinct(col("Status")).filter(col("amount").between(lit(0), lit(0.5))).alias("statuses"),
                ])
                .group_by([col("card"), col("window_start")]),
        )
        .materialized(View::from("payments").named("raw").select([
            col("card").into(),
            case([(col("amount").lt(lit(0)), lit("refund"))], Some(lit("sale"))).alias("kind"),
            (col("ts") + interval("1 hour")).alias("later"),
            col("Status").try_cast(DataType::Int).alias("code"),
        ]))
        .view(
            View::from("card_day")
                .named("top")
                .left_join("raw", &["card"])
                .select([col("card").into(), of("card_day", "n").into(), call("upper", [col("kind")]).alias("k")])
                .order_by(col("n"), true)
                .limit(3),
        )
}

const SQL: &str = r#"
CREATE TABLE payments (ts TIMESTAMP NOT NULL, card TEXT NOT NULL, amount DECIMAL(12,2), "order" INT, "Status" TEXT)
  WITH (event_time = 'ts', partitions = 4, partition_by = 'card', lateness = '10 seconds');
CREATE MATERIALIZED VIEW card_day AS
SELECT card, window_start, COUNT(*) AS n, SUM(amount * (1 + "order")) / COUNT(*) AS mean,
  COUNT(DISTINCT "Status") FILTER (WHERE amount BETWEEN 0 AND 5e-1) AS statuses
FROM TUMBLE(payments, ts, INTERVAL '1 day', 'Europe/Berlin')
WHERE ("Status" = 'it''s' OR "order" > -3) AND card IS NOT NULL
GROUP BY card, window_start;
CREATE MATERIALIZED VIEW raw AS
SELECT card, CASE WHEN amount < 0 THEN 'refund' ELSE 'sale' END AS kind, ts + INTERVAL '1' HOUR AS later,
  TRY_CAST("Status" AS INT) AS code FROM payments;
CREATE VIEW top AS SELECT card, card_day.n, UPPER(kind) AS k FROM card_day LEFT JOIN raw USING (card) ORDER BY n DESC LIMIT 3;
"#;

#[test]
fn plans_as_the_same_sql_does() {
    let registry = Registry::new();
    let built = definitions().catalog(&registry).unwrap_or_else(|m| panic!("{m:#?}\n{}", definitions().to_sql()));
    let written = Catalog::from_sql(&[SqlFile::new("views.sql", SQL)], &registry).expect("plans");
    let rendered =
        Catalog::from_sql(&[SqlFile::new("rendered.sql", definitions().to_sql())], &registry).expect("plans");
    for (name, view) in &written.views {
        for other in [&built, &rendered] {
            let other = other.view(name).expect("is there");
            assert_eq!(view.core, other.core, "{name}");
            assert_eq!(view.fingerprint, other.fingerprint, "{name}");
            assert_eq!(view.tail, other.tail, "{name}");
        }
    }
    assert_eq!(written.sources, built.sources);
}

#[test]
fn mistakes_have_their_place_in_the_rendered_text() {
    let definitions = Definitions::new().table(payments()).view(View::from("payment").named("v"));
    let mistakes = definitions.catalog(&Registry::new()).expect_err("a mistake");
    assert_eq!(&definitions.to_sql()[mistakes[0].span.clone()], "payment");
}
