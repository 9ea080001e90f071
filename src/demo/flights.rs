//! New York's flights and weather of 2013, as facts in the order in which they became known.
//!
//! `datasets/README.md` tells where the data comes from. It says when things happened; when each became known is assumed here:
//! a departure when the aircraft left, an arrival when it landed, a cancellation [`CANCELLATION_KNOWN_AFTER`] its scheduled
//! hour, and a weather reading [`READING_KNOWN_AFTER`] it was taken. Replayed in that order, a flight's arrival reaches the log
//! hours after the departure that it belongs to.

use std::{collections::BTreeMap, ops::Range};

use arrow_array::{
    Array, Float64Array, Int16Array, RecordBatch, StringArray, TimestampMillisecondArray,
    cast::AsArray,
    types::{Float64Type, Int16Type, TimestampMillisecondType},
};
use bytes::Bytes;
use chrono::{DateTime, DurationRound, SecondsFormat, TimeDelta, Utc};
use parquet::{
    arrow::arrow_reader::ParquetRecordBatchReaderBuilder,
    errors::{ParquetError, Result},
};
use serde::Serialize;

static FLIGHTS: &[u8] = include_bytes!("../../datasets/flights/flights.parquet");
static WEATHER: &[u8] = include_bytes!("../../datasets/flights/weather.parquet");

/// How long after its scheduled departure a cancelled flight is known to be cancelled.
pub const CANCELLATION_KNOWN_AFTER: TimeDelta = TimeDelta::hours(2);
/// How long after it was taken a weather reading is known.
pub const READING_KNOWN_AFTER: TimeDelta = TimeDelta::minutes(10);

/// One event: what a producer would have appended, and when.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fact {
    /// When it became known: its append time.
    pub known_at: DateTime<Utc>,
    /// The table it goes to: `arrivals`, `departures` or `weather`.
    pub table: &'static str,
    /// The record, as JSON.
    pub payload: Vec<u8>,
}

#[derive(Serialize)]
struct Departure<'a> {
    scheduled: String,
    carrier: &'a str,
    flight: i16,
    #[serde(skip_serializing_if = "Option::is_none")]
    tailnum: Option<&'a str>,
    origin: &'a str,
    dest: &'a str,
    distance: i16,
    cancelled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    departed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay: Option<i16>,
}

#[derive(Serialize)]
struct Arrival<'a> {
    scheduled: String,
    carrier: &'a str,
    flight: i16,
    #[serde(skip_serializing_if = "Option::is_none")]
    tailnum: Option<&'a str>,
    origin: &'a str,
    dest: &'a str,
    distance: i16,
    arrived: String,
    /// Missing for a flight that was diverted and came later.
    #[serde(skip_serializing_if = "Option::is_none")]
    delay: Option<i16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    air_time: Option<i16>,
}

#[derive(Serialize)]
struct Reading<'a> {
    observed: String,
    origin: &'a str,
    temp: Option<f64>,
    humid: Option<f64>,
    wind_speed: Option<f64>,
    wind_gust: Option<f64>,
    precip: Option<f64>,
    pressure: Option<f64>,
    visib: Option<f64>,
}

/// The facts that became known in `range`, in that order; ties are ordered by table and payload.
///
/// # Errors
/// Only if the embedded files were replaced by others.
pub fn facts(range: Range<DateTime<Utc>>) -> Result<Vec<Fact>> {
    let mut facts = Vec::new();
    let mut keep = |known_at, table, payload: serde_json::Result<Vec<u8>>| -> Result<()> {
        let payload = payload.map_err(|error| ParquetError::External(Box::new(error)))?;
        facts.push(Fact { known_at, table, payload });
        Ok(())
    };
    for batch in batches(FLIGHTS)? {
        let batch = batch?;
        let (scheduled, departed, arrived) =
            (instants(&batch, "scheduled")?, instants(&batch, "departed")?, instants(&batch, "arrived")?);
        let (departure_delay, arrival_delay) = (integers(&batch, "dep_delay")?, integers(&batch, "arr_delay")?);
        let (flight, air_time, distance) =
            (integers(&batch, "flight")?, integers(&batch, "air_time")?, integers(&batch, "distance")?);
        let (carrier, tailnum) = (texts(&batch, "carrier")?, texts(&batch, "tailnum")?);
        let (origin, dest) = (texts(&batch, "origin")?, texts(&batch, "dest")?);
        for row in 0..batch.num_rows() {
            let scheduled = instant(scheduled.value(row))?;
            let departed = departed.is_valid(row).then(|| instant(departed.value(row))).transpose()?;
            let known_at = departed.unwrap_or(scheduled + CANCELLATION_KNOWN_AFTER);
            let tailnum = tailnum.is_valid(row).then(|| tailnum.value(row));
            let (carrier, flight, distance) = (carrier.value(row), flight.value(row), distance.value(row));
            let (origin, dest) = (origin.value(row), dest.value(row));
            if range.contains(&known_at) {
                let departure = Departure {
                    scheduled: text(scheduled),
                    carrier,
                    flight,
                    tailnum,
                    origin,
                    dest,
                    distance,
                    cancelled: departed.is_none(),
                    departed: departed.map(text),
                    delay: departure_delay.is_valid(row).then(|| departure_delay.value(row)),
                };
                keep(known_at, "departures", serde_json::to_vec(&departure))?;
            }
            if arrived.is_null(row) {
                continue;
            }
            let arrived = instant(arrived.value(row))?;
            if range.contains(&arrived) {
                let arrival = Arrival {
                    scheduled: text(scheduled),
                    carrier,
                    flight,
                    tailnum,
                    origin,
                    dest,
                    distance,
                    arrived: text(arrived),
                    delay: arrival_delay.is_valid(row).then(|| arrival_delay.value(row)),
                    air_time: air_time.is_valid(row).then(|| air_time.value(row)),
                };
                keep(arrived, "arrivals", serde_json::to_vec(&arrival))?;
            }
        }
    }
    for batch in batches(WEATHER)? {
        let batch = batch?;
        let (observed, origin) = (instants(&batch, "observed")?, texts(&batch, "origin")?);
        let measures = ["temp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib"];
        let [temp, humid, wind_speed, wind_gust, precip, pressure, visib] = measures.map(|name| doubles(&batch, name));
        let measures = [temp?, humid?, wind_speed?, wind_gust?, precip?, pressure?, visib?];
        for row in 0..batch.num_rows() {
            let observed = instant(observed.value(row))?;
            let known_at = observed + READING_KNOWN_AFTER;
            if range.contains(&known_at) {
                let [temp, humid, wind_speed, wind_gust, precip, pressure, visib] =
                    measures.map(|measure| measure.is_valid(row).then(|| measure.value(row)));
                let reading = Reading {
                    observed: text(observed),
                    origin: origin.value(row),
                    temp,
                    humid,
                    wind_speed,
                    wind_gust,
                    precip,
                    pressure,
                    visib,
                };
                keep(known_at, "weather", serde_json::to_vec(&reading))?;
            }
        }
    }
    facts.sort_unstable();
    Ok(facts)
}

/// Facts that reach the log together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Their append time.
    pub at: DateTime<Utc>,
    /// Payloads by table.
    pub payloads: BTreeMap<&'static str, Vec<Vec<u8>>>,
}

/// Facts gathered into one delivery per `every`, at its end, as a feed would send them. There is none for a stretch of time in
/// which nothing became known.
pub fn deliveries(facts: Vec<Fact>, every: TimeDelta) -> Vec<Delivery> {
    let mut deliveries: Vec<Delivery> = Vec::new();
    for fact in facts {
        let at = fact.known_at.duration_trunc(every).unwrap_or(fact.known_at) + every;
        let delivery = match deliveries.last_mut() {
            Some(last) if last.at == at => last,
            _ => deliveries.push_mut(Delivery { at, payloads: BTreeMap::new() }),
        };
        delivery.payloads.entry(fact.table).or_default().push(fact.payload);
    }
    deliveries
}

fn batches(file: &'static [u8]) -> Result<impl Iterator<Item = Result<RecordBatch>>> {
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(Bytes::from_static(file))?.with_batch_size(1 << 14).build()?;
    Ok(reader.map(|batch| batch.map_err(ParquetError::from)))
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a dyn Array> {
    match batch.column_by_name(name) {
        Some(column) => Ok(column.as_ref()),
        None => Err(ParquetError::General(format!("the embedded data set has no column {name}"))),
    }
}

fn wrong_type(name: &str) -> ParquetError {
    ParquetError::General(format!("the embedded data set's column {name} has another type"))
}

fn instants<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a TimestampMillisecondArray> {
    column(batch, name)?.as_primitive_opt::<TimestampMillisecondType>().ok_or_else(|| wrong_type(name))
}

fn integers<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a Int16Array> {
    column(batch, name)?.as_primitive_opt::<Int16Type>().ok_or_else(|| wrong_type(name))
}

fn doubles<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a Float64Array> {
    column(batch, name)?.as_primitive_opt::<Float64Type>().ok_or_else(|| wrong_type(name))
}

fn texts<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringArray> {
    column(batch, name)?.as_string_opt::<i32>().ok_or_else(|| wrong_type(name))
}

fn instant(millis: i64) -> Result<DateTime<Utc>> {
    DateTime::from_timestamp_millis(millis)
        .ok_or_else(|| ParquetError::General(format!("the embedded data set has the instant {millis}")))
}

fn text(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("an instant")
    }

    #[test]
    fn every_flight_departs_or_is_cancelled_and_facts_come_in_the_order_in_which_they_became_known() {
        let facts = facts(DateTime::<Utc>::MIN_UTC..DateTime::<Utc>::MAX_UTC).expect("the embedded data");
        assert!(facts.is_sorted_by_key(|fact| fact.known_at));
        let mut counts = BTreeMap::new();
        for fact in &facts {
            *counts.entry(fact.table).or_insert(0) += 1;
        }
        assert_eq!(counts, BTreeMap::from([("arrivals", 328_063), ("departures", 336_776), ("weather", 26_115)]));
    }

    #[test]
    fn deliveries_hold_what_became_known_before_them() {
        let facts = facts(at("2013-02-08T00:00:00Z")..at("2013-02-08T06:00:00Z")).expect("the embedded data");
        let count = facts.len();
        let deliveries = deliveries(facts, TimeDelta::minutes(30));
        assert!(deliveries.iter().map(|d| d.at).is_sorted_by(|a, b| a < b));
        assert_eq!(deliveries.iter().flat_map(|d| d.payloads.values()).map(Vec::len).sum::<usize>(), count);
        assert_eq!(deliveries.last().map(|d| d.at), Some(at("2013-02-08T06:00:00Z")));
    }

    #[test]
    fn a_fact_is_one_json_object() {
        let facts = facts(at("2013-02-08T15:08:00Z")..at("2013-02-08T15:12:00Z")).expect("the embedded data");
        let lines = facts.iter().map(|f| format!("{} {}", f.table, String::from_utf8_lossy(&f.payload)));
        insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
    }
}
