//! What producers send.

use bytes::Bytes;
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Map, Value, json};

use super::reference::Content;

const CARDS: [&str; 6] = ["a", "b", "c/d", "", "é\u{0}", "NULL"];
/// Quarters: what `f64` adds exactly, what it loses, what cancels.
const QUARTERS: [i64; 8] = [0, 1, -1, 3, 1 << 54, -(1 << 54), 1 << 60, -(1 << 60)];
const SECOND: i64 = 1_000_000;

/// A record for `table`, at a time like `now_micros`; `id` is its own.
pub fn draw(table: &str, id: u64, now_micros: i64, rng: &mut StdRng) -> (Bytes, Content) {
    if rng.random_ratio(1, 12) {
        return (refused(id, rng), Content::Refused);
    }
    let n = rng.random_ratio(7, 8).then(|| rng.random_range(-1..4_i64));
    let mut fields = Map::new();
    fields.insert("id".to_owned(), json!(id.to_string()));
    if n.is_some() || rng.random() {
        fields.insert("n".to_owned(), json!(n));
    }
    if table == "taps" {
        return (Value::Object(fields).to_string().into(), Content::Tap { n });
    }
    let at = event_time(now_micros, rng);
    let card = *CARDS.choose(rng).unwrap_or(&"a");
    let cents = rng.random_ratio(7, 8).then(|| rng.random_range(-500..4000_i64));
    let quarters = rng.random_ratio(3, 4).then(|| *QUARTERS.choose(rng).unwrap_or(&0));
    fields.insert("ts".to_owned(), json!(timestamp(at)));
    fields.insert("card".to_owned(), json!(card));
    fields.insert("amount".to_owned(), json!(cents.map(decimal)));
    fields.insert("score".to_owned(), json!(quarters.map(|quarters| quarters as f64 / 4.0)));
    let content = Content::Pay { id: id.to_string(), at, card, cents, quarters, n };
    (Value::Object(fields).to_string().into(), content)
}

/// Mostly about now, some late, some long ago, some ahead, few too far ahead.
fn event_time(now_micros: i64, rng: &mut StdRng) -> i64 {
    let seconds = match rng.random_range(0..10) {
        0 => rng.random_range(-100_000..0),
        1 => rng.random_range(-4000..4000),
        // Either side of what is just accepted and just late.
        2 => *[-10, -11, 3600, 3601, -3600, -3601].choose(rng).unwrap_or(&0),
        _ => rng.random_range(-90..10),
    };
    now_micros + seconds * SECOND
}

fn refused(id: u64, rng: &mut StdRng) -> Bytes {
    let texts = [
        format!("{{\"id\":\"{id}\""),
        format!("{{\"id\":{id}}}"),
        format!("[\"{id}\"]"),
        format!("{{\"id\":\"{id}\",\"ts\":\"2026-02-30\",\"card\":\"a\",\"n\":1.5}}"),
        format!("\u{0}{id}"),
        format!("{{\"id\":\"{id}\",\"id\":\"{id}\"}}"),
    ];
    texts.choose(rng).cloned().unwrap_or_default().into()
}

fn decimal(cents: i64) -> String {
    format!("{}{}.{:02}", if cents < 0 { "-" } else { "" }, cents.abs() / 100, cents.abs() % 100)
}

fn timestamp(micros: i64) -> String {
    let at = chrono::DateTime::from_timestamp_micros(micros).expect("in range");
    at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}
