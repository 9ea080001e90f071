//! `TUMBLE` and `HOP`.

use rand::rngs::StdRng;
use watershed::DataType;

use super::{
    functions::{ZONES, in_python},
    language::{Expr, Fails, quoted},
    types::{chance, pick},
};

/// A window of a materialized view.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// The time column.
    pub time: String,
    unit: Unit,
    size: (&'static str, i64),
    /// A hopping window's.
    slide: Option<(&'static str, i64)>,
    shift: Option<(&'static str, i64)>,
    zone: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Unit {
    Micros,
    Days,
    Months,
}

/// Lengths as written, and in units. Those that follow in a line are multiples or hop over each other.
const SHORT: &[(&str, i64)] = &[
    ("7 microseconds", 7),
    ("1 second", 1_000_000),
    ("1 minute", 60_000_000),
    ("90 seconds", 90_000_000),
    ("15 minutes", 900_000_000),
    ("1 hour", 3_600_000_000),
    ("5 hours", 18_000_000_000),
    ("36 hours", 129_600_000_000),
];
const DAYS: &[(&str, i64)] = &[("1 day", 1), ("2 days", 2), ("3 days", 3), ("1 week", 7), ("30 days", 30)];
const MONTHS: &[(&str, i64)] = &[("1 month", 1), ("2 months", 2), ("1 quarter", 3), ("5 months", 5), ("1 year", 12)];
const SHIFTS: &[(&str, i64)] = &[("1 microsecond", 1), ("30 seconds", 30_000_000), ("17 minutes", 1_020_000_000)];

impl Window {
    /// A random one over one of the time columns.
    pub fn random(rng: &mut StdRng, times: &[String], tumbling: bool) -> Window {
        let (unit, lengths) = *pick(rng, &[(Unit::Micros, SHORT), (Unit::Days, DAYS), (Unit::Months, MONTHS)]);
        let size = *pick(rng, lengths);
        let slides: Vec<(&str, i64)> =
            lengths.iter().filter(|(_, slide)| *slide <= size.1 && size.1 / slide <= 40).copied().collect();
        let slide = (!tumbling).then(|| *pick(rng, &slides)).filter(|(_, slide)| size.1 / gcd(size.1, *slide) <= 500);
        let shift = (unit == Unit::Micros && chance(rng, 30)).then(|| *pick(rng, SHIFTS));
        let zone = (unit != Unit::Micros && chance(rng, 60)).then(|| *pick(rng, ZONES));
        Window { time: pick(rng, times).clone(), unit, size, slide, shift, zone }
    }

    /// What of the grammar it is.
    pub fn whats(&self) -> Vec<String> {
        let unit = match self.unit {
            Unit::Micros => "time",
            Unit::Days => "days",
            Unit::Months => "months",
        };
        let kind = if self.slide.is_some() { "HOP" } else { "TUMBLE" };
        let zone = if self.zone.is_some() { " in a zone" } else { "" };
        let mut whats = vec![format!("{kind} {unit}{zone}")];
        whats.extend(self.shift.map(|_| format!("{kind} with an offset")));
        whats
    }

    /// Watershed's `FROM`.
    pub fn ours(&self, table: &str) -> String {
        let mut arguments = vec![table.to_owned(), quoted(&self.time)];
        arguments.extend(self.slide.iter().chain([&self.size]).map(|(length, _)| format!("INTERVAL '{length}'")));
        arguments.extend(self.shift.map(|(length, _)| format!("INTERVAL '{length}'")));
        arguments.extend(self.zone.map(|zone| format!("'{zone}'")));
        format!("{}({})", if self.slide.is_some() { "HOP" } else { "TUMBLE" }, arguments.join(", "))
    }

    fn parameters(&self) -> (&'static str, i64, i64, i64, &'static str) {
        let unit = match self.unit {
            Unit::Micros => "micros",
            Unit::Days => "days",
            Unit::Months => "months",
        };
        let slide = self.slide.unwrap_or(self.size).1;
        (
            unit,
            self.size.1,
            slide,
            self.shift.map_or(0, |(_, micros)| micros.rem_euclid(slide)),
            in_python(self.zone.unwrap_or("UTC")),
        )
    }

    /// DuckDB's list of the windows that a record is in, by number.
    pub fn numbers(&self) -> String {
        let (unit, size, slide, shift, zone) = self.parameters();
        format!("ws_windows(epoch_us({}), '{unit}', {size}, {slide}, {shift}, '{zone}')", quoted(&self.time))
    }

    /// DuckDB's start and end of the window with this number.
    pub fn bounds(&self, number: &str) -> [String; 2] {
        let (unit, size, _, shift, zone) = self.parameters();
        [0, size].map(|units| format!("make_timestamp(ws_unit_start({number} + {units}, '{unit}', {shift}, '{zone}'))"))
    }

    /// `window_start` and `window_end` as expressions over a record, for views of rows.
    pub fn of_rows(&self) -> [Expr; 2] {
        let [start, end] = self.bounds(&format!("{}[1]", self.numbers()));
        [("window_start", start), ("window_end", end)].map(|(name, theirs)| {
            let time = Expr::column(&self.time, DataType::Timestamp);
            Expr::new(DataType::Timestamp, "column", name, &theirs, Fails::WithoutValue, vec![time])
        })
    }
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
