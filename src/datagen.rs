//! Payments that look real: few cards that pay often and many that pay rarely, records out of order, repeated, and broken.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::output::timestamp_text;

const MERCHANTS: &[(&str, f64)] = &[
    ("Corner Bakery", 6.0),
    ("Metro Transit", 3.0),
    ("Green Grocer", 32.0),
    ("Night Owl Cinema", 14.0),
    ("Fuel & Go", 48.0),
    ("Paper & Ink", 18.0),
    ("Airline Tickets", 260.0),
    ("Electro Market", 140.0),
    ("Caffè Nero", 4.5),
    ("Hôtel du Lac", 190.0),
];
const COUNTRIES: &[&str] = &["DE", "DE", "DE", "FR", "FR", "GB", "US", "IT", "ES", "JP"];
const STATUSES: &[&str] = &[
    "approved", "approved", "approved", "approved", "approved", "approved", "approved", "approved", "declined",
    "reversed",
];
/// How many past records a duplicate may be a copy of.
const DUPLICATE_DISTANCE: usize = 1_000;

/// What to generate.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Everything follows from it.
    pub seed: u64,
    /// Event time of the first payment, microseconds since 1970.
    pub start_micros: i64,
    /// Payments per second of event time.
    pub per_second: f64,
    /// Number of different cards.
    pub cards: u32,
    /// Fraction of records that come out of order, by up to `delay_max_micros`.
    pub disorder: f64,
    /// Largest delay of a record out of order.
    pub delay_max_micros: i64,
    /// Fraction of records that are followed, some time later, by an exact copy.
    pub duplicates: f64,
    /// Fraction of records that the schema refuses.
    pub bad: f64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            seed: 1,
            start_micros: 1_767_225_600_000_000,
            per_second: 100.0,
            cards: 1_000,
            disorder: 0.05,
            delay_max_micros: 30_000_000,
            duplicates: 0.01,
            bad: 0.001,
        }
    }
}

/// Payments as JSON lines, in the order of arrival. Endless; the same settings give the same lines.
#[derive(Debug)]
pub struct Payments {
    settings: Settings,
    rng: StdRng,
    made: u64,
    now_micros: i64,
    /// Delayed lines by (arrival, number).
    delayed: BinaryHeap<Reverse<(i64, u64, String)>>,
    recent: VecDeque<String>,
}

impl Payments {
    /// Starts.
    pub fn new(settings: Settings) -> Payments {
        let rng = StdRng::seed_from_u64(settings.seed);
        let now_micros = settings.start_micros;
        Payments { settings, rng, made: 0, now_micros, delayed: BinaryHeap::new(), recent: VecDeque::new() }
    }

    /// The moment (microseconds since 1970) at which the line that came last arrived.
    pub fn now_micros(&self) -> i64 {
        self.now_micros
    }

    fn chance(&mut self, probability: f64) -> bool {
        self.rng.random::<f64>() < probability
    }

    /// A card: a third of all payments are by 1 % of the cards.
    fn card(&mut self) -> u32 {
        let cards = self.settings.cards.max(1);
        let hot = (cards / 100).max(1);
        if self.chance(0.33) { self.rng.random_range(0..hot) } else { self.rng.random_range(0..cards) }
    }

    fn payment(&mut self) -> String {
        let card = self.card();
        let (merchant, typical) = MERCHANTS[self.rng.random_range(0..MERCHANTS.len())];
        let country = COUNTRIES[self.rng.random_range(0..COUNTRIES.len())];
        let status = STATUSES[self.rng.random_range(0..STATUSES.len())];
        // Amounts spread around the merchant's typical one, with a long tail.
        let spread = self.rng.random::<f64>() + self.rng.random::<f64>() + self.rng.random::<f64>() - 1.5;
        let cents = (typical * 100.0 * (spread * 1.2).exp()).round().max(1.0) as u64;
        let (seed, number, ts) = (self.settings.seed, self.made, timestamp_text(self.now_micros));
        let amount = format!("{}.{:02}", cents / 100, cents % 100);
        let null = |present: bool, text: &str| if present { format!("\"{text}\"") } else { "null".to_owned() };
        let country = null(!self.chance(0.01), country);
        format!(
            r#"{{"event_id":"{seed:x}-{number:08x}","ts":"{ts}","card":"card-{card:05}","merchant":"{merchant}","country":{country},"amount":{amount},"status":"{status}"}}"#
        )
    }

    /// Breaks a line in one of the ways that real ones are broken.
    fn broken(&mut self, line: String) -> String {
        match self.rng.random_range(0..4) {
            0 => line.chars().take(line.chars().count() / 2).collect(),
            1 => line.replace(r#""ts":"2"#, r#""ts":"soon-2"#),
            2 => line.replace(r#""card":"#, r#""kard":"#),
            _ => line.replace(r#","status""#, r#"x,"status""#),
        }
    }

    fn step_micros(&mut self) -> i64 {
        // Exponential gaps: arrivals of independent payers.
        let uniform: f64 = self.rng.random::<f64>().max(f64::MIN_POSITIVE);
        let gap = -uniform.ln() / self.settings.per_second.max(1e-6);
        (gap * 1e6).round().clamp(0.0, 3.6e9) as i64
    }
}

impl Iterator for Payments {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        loop {
            if let Some(Reverse((due, _, _))) = self.delayed.peek()
                && *due <= self.now_micros
                && let Some(Reverse((_, _, line))) = self.delayed.pop()
            {
                return Some(line);
            }
            self.now_micros += self.step_micros();
            self.made += 1;
            let mut line = self.payment();
            if self.chance(self.settings.bad) {
                line = self.broken(line);
            }
            self.recent.push_back(line.clone());
            if self.recent.len() > DUPLICATE_DISTANCE {
                self.recent.pop_front();
            }
            if self.chance(self.settings.duplicates) {
                let copy = self.recent[self.rng.random_range(0..self.recent.len())].clone();
                self.delayed.push(Reverse((self.now_micros + 1_000, self.made, copy)));
            }
            let delay = if self.chance(self.settings.disorder) {
                self.rng.random_range(0..=self.settings.delay_max_micros.max(0))
            } else {
                0
            };
            self.delayed.push(Reverse((self.now_micros + delay, self.made, line)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn field(line: &str, name: &str) -> Option<String> {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(value.get(name)?.as_str()?.to_owned())
    }

    #[test]
    fn a_seed_gives_the_same_lines() {
        let lines = |seed| Payments::new(Settings { seed, ..Settings::default() }).take(500).collect::<Vec<_>>();
        assert_eq!(lines(7), lines(7));
        assert_ne!(lines(7), lines(8));
    }

    #[test]
    fn disorder_duplicates_and_bad_records_are_there_as_asked() {
        let lines: Vec<String> = Payments::new(Settings { bad: 0.02, ..Settings::default() }).take(10_000).collect();
        let times: Vec<String> = lines.iter().filter_map(|l| field(l, "ts")).filter(|t| t.starts_with('2')).collect();
        assert!(times.windows(2).any(|pair| pair[0] > pair[1]));
        assert!(lines.iter().collect::<HashSet<_>>().len() < lines.len());
        let bad = lines
            .iter()
            .filter(|l| field(l, "card").is_none() || field(l, "ts").is_none_or(|t| !t.starts_with('2')))
            .count();
        assert!((100..400).contains(&bad), "{bad}");

        let clean = Settings { disorder: 0.0, duplicates: 0.0, bad: 0.0, ..Settings::default() };
        let lines: Vec<String> = Payments::new(clean).take(2_000).collect();
        let times: Vec<String> = lines.iter().map(|l| field(l, "ts").unwrap()).collect();
        assert_eq!(times.len(), 2_000);
        assert_eq!(lines.iter().collect::<HashSet<_>>().len(), lines.len());
    }
}
