//! The records, and what the view over them must answer.

use std::collections::BTreeMap;

use crate::support::command::Workplace;

pub const DEFINITIONS: &str = "
CREATE TABLE payments (id BIGINT NOT NULL, at TIMESTAMP NOT NULL, card TEXT NOT NULL, amount DECIMAL(12,2))
WITH (event_time = 'at', partitions = 3, partition_by = 'card');

CREATE MATERIALIZED VIEW cards AS
SELECT card, window_start, COUNT(*) AS n, SUM(amount) AS total, COUNT(DISTINCT id) AS ids
FROM TUMBLE(payments, at, INTERVAL '1 hour')
GROUP BY card, window_start;
";

/// Card and minute of the day of a payment. Event times come out of order by up to an hour.
fn card_and_minute(id: u64) -> (u64, u64) {
    (id % 17, (id / 50 + id * 37 % 60) % 1440)
}

fn cents(id: u64) -> u64 {
    id % 100_000
}

/// A payment as a JSON line.
pub fn line(id: u64) -> String {
    let ((card, minutes), cents) = (card_and_minute(id), cents(id));
    let (hour, minute) = (minutes / 60, minutes % 60);
    format!(
        "{{\"id\":{id},\"at\":\"2026-03-01T{hour:02}:{minute:02}:00Z\",\"card\":\"c{card}\",\"amount\":{}.{:02}}}\n",
        cents / 100,
        cents % 100
    )
}

/// For each card and hour: payments, cents, distinct ids.
pub type Answer = BTreeMap<(String, u64), (u64, u64, u64)>;

/// What the view answers for these payments.
pub fn expected(ids: impl IntoIterator<Item = u64>) -> Answer {
    let mut answer = Answer::new();
    for id in ids {
        let (card, minutes) = card_and_minute(id);
        let row = answer.entry((format!("c{card}"), minutes / 60)).or_default();
        *row = (row.0 + 1, row.1 + cents(id), row.2 + 1);
    }
    answer
}

/// What the view answers.
pub fn answered(place: &Workplace) -> Answer {
    let out = place.run(["query", "SELECT * FROM cards", "--format", "json"]).ok();
    let row = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
        let number = |name: &str| value[name].as_u64().unwrap_or_else(|| panic!("{name} in {line}"));
        let hour = value["window_start"].as_str().and_then(|text| text.get(11..13)?.parse().ok());
        let card = value["card"].as_str().expect("a card").to_owned();
        // So few cents that a double has them all.
        let total = value["total"].as_f64().unwrap_or_else(|| panic!("total in {line}"));
        let cents = (total * 100.0).round() as u64;
        ((card, hour.unwrap_or_else(|| panic!("window_start in {line}"))), (number("n"), cents, number("ids")))
    };
    out.lines().map(row).collect()
}
