//! `watershed datagen`

use std::{
    io::{BufWriter, Write},
    thread,
    time::{Duration, Instant},
};

use chrono::DateTime;
use watershed_log::{Clock, SystemClock};

use crate::{
    cli::Exit,
    datagen::{Payments, Settings},
    error::Error,
};

/// Lines per second in real time when neither `--count` nor `--rate` is given.
const ENDLESS_RATE: f64 = 100.0;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// What to generate.
    #[arg(long, default_value = "payments", value_parser = ["payments"])]
    table: String,
    /// Stop after this many lines; without it: never.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Lines per second, in real time; without it and with --count: as fast as possible.
    #[arg(long, value_name = "PER_SECOND", value_parser = positive)]
    rate: Option<f64>,
    /// The same seed and start give the same lines.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Event time of the first line, in RFC 3339; without it: so that the last one is now.
    #[arg(long, value_name = "TIME")]
    start: Option<DateTime<chrono::FixedOffset>>,
    /// Lines per second of event time, where lines are not paced.
    #[arg(long, value_name = "PER_SECOND", default_value_t = 100.0, value_parser = positive)]
    density: f64,
    /// Number of different cards.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    cards: u32,
    /// Fraction of lines that come out of order, by up to 30 seconds.
    #[arg(long, value_name = "FRACTION", default_value_t = 0.05, value_parser = fraction)]
    disorder: f64,
    /// Fraction of lines that come twice.
    #[arg(long, value_name = "FRACTION", default_value_t = 0.01, value_parser = fraction)]
    duplicates: f64,
    /// Fraction of lines that the schema refuses.
    #[arg(long, value_name = "FRACTION", default_value_t = 0.001, value_parser = fraction)]
    bad: f64,
}

fn fraction(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|f| (0.0..=1.0).contains(f)).ok_or_else(|| "must be between 0 and 1".to_owned())
}

fn positive(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|f: &f64| f.is_finite() && *f > 0.0).ok_or_else(|| "must be greater than 0".to_owned())
}

pub(crate) fn run(args: &Args) -> Result<Exit, Error> {
    let rate = args.rate.or_else(|| args.count.is_none().then_some(ENDLESS_RATE));
    let per_second = rate.unwrap_or(args.density);
    let lasts_micros = match (rate, args.count) {
        (None, Some(count)) => (count as f64 / per_second * 1e6) as i64,
        _ => 0,
    };
    let start_micros = match args.start {
        Some(start) => start.timestamp_micros(),
        None => SystemClock.now_micros().saturating_sub(lasts_micros),
    };
    let settings = Settings {
        seed: args.seed,
        start_micros,
        per_second,
        cards: args.cards,
        disorder: args.disorder,
        duplicates: args.duplicates,
        bad: args.bad,
        ..Settings::default()
    };
    let mut payments = Payments::new(settings);
    let mut out = BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
    let begun = Instant::now();
    let mut written = 0u64;
    while args.count.is_none_or(|count| written < count) {
        let Some(line) = payments.next() else { break };
        if rate.is_some() {
            let due = Duration::from_micros(u64::try_from(payments.now_micros() - start_micros).unwrap_or(0));
            if let Some(wait) = due.checked_sub(begun.elapsed()) {
                out.flush().map_err(Error::Output)?;
                thread::sleep(wait);
            }
        }
        writeln!(out, "{line}").map_err(Error::Output)?;
        written += 1;
    }
    out.flush().map_err(Error::Output)?;
    Ok(Exit::Done)
}
