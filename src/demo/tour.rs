//! The tour itself, step by step. It uses the library's public API only.

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::America::New_York;
use futures::future::try_join_all;
use tokio::sync::oneshot;
use watershed_batch::Report;
use watershed_log::{EventLog, ManualClock};
use watershed_pipelines::{registry::Registry, types::Value};
use watershed_serving::{Answer, Receipt};

use super::{
    directory,
    flights::{self, Delivery},
    progress::Bar,
    screen::{Screen, Style, bar, bytes, duration, thousands},
};
use crate::{
    config::{Durability, Overrides},
    error::Error,
    output::{Format, write_answer},
    project::{BatchOptions, Project, QueryOptions, VerifyOptions, Writer},
};

/// How the tour is given.
#[derive(Clone, Debug)]
pub struct Tour {
    /// The directory of its project.
    pub directory: PathBuf,
    /// How long each half hour of the live day takes at least, for people who watch.
    pub pace: Duration,
}

/// Midnights in New York.
const FRIDAY: &str = "2013-02-08T05:00:00Z";
const SATURDAY: &str = "2013-02-09T05:00:00Z";
/// A day's hours after which a frame of the live day stays, where frames are not drawn in place.
const KEPT_FRAMES: [i64; 4] = [6, 12, 18, 24];

fn instant(text: &str) -> Result<DateTime<Utc>, Error> {
    text.parse().map_err(|error| Error::Internal(format!("{text}: {error}")))
}

fn output(error: std::io::Error) -> Error {
    Error::Output(error)
}

impl Tour {
    /// Gives the tour.
    ///
    /// # Errors
    /// If the directory holds anything that the demo did not make, or if any step fails.
    pub async fn give(&self, screen: &mut Screen<'_>) -> Result<(), Error> {
        let begun = Instant::now();
        let (friday, saturday) = (instant(FRIDAY)?, instant(SATURDAY)?);
        directory::prepare(&self.directory)?;
        let clock = Arc::new(ManualClock::new(0));
        // The night load is started by hand here: the replayed clock runs through a day in seconds.
        let settings = vec![("batch.schedule".to_owned(), String::new())];
        let project = Project::builder(&self.directory)
            .registry(Registry::new())
            .overrides(Overrides { environment: None, settings })
            .clock(Arc::clone(&clock) as Arc<_>)
            .open()?;

        self.fill(screen, &project, &clock, friday).await?;
        screen.step("The night of 7 February: the batch load").map_err(output)?;
        let report = load(screen, &project).await?;
        show_load(screen, &report).map_err(output)?;
        screen
            .line(&format!(
                "The cut, the watershed, is now epoch {}: batch answers below it, speed above.",
                report.epoch
            ))
            .map_err(output)?;

        screen.step("Friday, 8 February: a blizzard comes, and the speed layer runs").map_err(output)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell_ready, ready) = oneshot::channel::<()>();
        let live = tokio::spawn({
            let project = project.clone();
            async move {
                let stop = async {
                    let _ = stopped.await;
                };
                let ready = || {
                    let _ = tell_ready.send(());
                };
                project.up(stop, ready).await
            }
        });
        let lived = match ready.await {
            Ok(()) => self.live(screen, &project, &clock, friday, saturday).await,
            Err(_) => Ok(()),
        };
        let _ = stop.send(());
        let ended = live.await.map_err(|error| Error::Internal(format!("the speed layer ended: {error}")))?;
        lived?;
        ended?;

        screen.step("The storm, as SQL sees it").map_err(output)?;
        let sql = "SELECT CAST(day AS DATE) AS day, origin, flights, cancelled, frozen, ROUND(gust) AS gust, visib FROM storms \
                   ORDER BY day, origin";
        show_table(screen, sql, &project.query(sql).await?)?;
        let sql = "SELECT place, origin, window_start, flights, cancelled FROM worst_hours WHERE place <= 5 ORDER BY place, origin";
        show_table(screen, sql, &project.query(sql).await?)?;

        verify(screen, &project).await?;
        self.end(screen, &project, begun.elapsed()).await
    }

    /// Step 1: a log with five weeks of flights.
    async fn fill(
        &self,
        screen: &mut Screen<'_>,
        project: &Project,
        clock: &ManualClock,
        until: DateTime<Utc>,
    ) -> Result<(), Error> {
        screen.step("Five weeks of flights from New York go into the log").map_err(output)?;
        let facts = flights::facts(DateTime::<Utc>::MIN_UTC..until).map_err(|e| Error::Internal(e.to_string()))?;
        let deliveries = flights::deliveries(facts, TimeDelta::hours(1));
        let progress = Bar::new(screen.is_terminal(), "appending");
        progress.plan(deliveries.iter().map(records_of).sum());
        let writer = project.writer().await?;
        let (begun, mut counts, mut size) = (Instant::now(), BTreeMap::new(), 0);
        let mut failure = None;
        for delivery in deliveries {
            let records = records_of(&delivery);
            for (table, payloads) in &delivery.payloads {
                *counts.entry(*table).or_insert(0) += payloads.len() as u64;
                size += payloads.iter().map(Vec::len).sum::<usize>();
            }
            // Synced in the background, and before the writer is closed: history can wait, and it is a thousand deliveries.
            if let Err(error) = deliver(&writer, clock, delivery, Some(Durability::Os)).await {
                failure = Some(error);
                break;
            }
            progress.add(records);
        }
        progress.finish();
        writer.close().await?;
        if let Some(error) = failure {
            return Err(error);
        }
        let took = begun.elapsed();
        let total: u64 = counts.values().sum();
        let each: Vec<String> = counts.iter().map(|(table, count)| format!("{} {table}", thousands(*count))).collect();
        screen.line(&format!("{}, in the order in which they became known:", each.join(", "))).map_err(output)?;
        screen
            .line("an arrival hours after its departure, a cancellation two hours after the time on the board.")
            .map_err(output)?;
        let rate = total as f64 / took.as_secs_f64().max(1e-9);
        screen
            .line(&format!(
                "{} records, {} of JSON, written and synced to disk in {} ({} records/s)",
                thousands(total),
                bytes(size as u64),
                duration(took),
                thousands(rate as u64)
            ))
            .map_err(output)
    }

    /// Step 3: the day, half hour by half hour; then the night load beside the running speed layer.
    async fn live(
        &self,
        screen: &mut Screen<'_>,
        project: &Project,
        clock: &ManualClock,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Result<(), Error> {
        screen
            .line("Its records go into the log as they become known; each frame is one SQL query of the merged views.")
            .map_err(output)?;
        screen.line("").map_err(output)?;
        let facts = flights::facts(from..to).map_err(|e| Error::Internal(e.to_string()))?;
        let (log, writer) = (project.log()?, project.writer().await?);
        let mut slowest = Duration::ZERO;
        let mut answered = 0;
        for delivery in flights::deliveries(facts, TimeDelta::minutes(30)) {
            let frame_begun = Instant::now();
            let now = delivery.at;
            deliver(&writer, clock, delivery, None).await?;
            let head = log.head()?;
            let asked = Instant::now();
            let options = QueryOptions { at_least: Some(head), ..QueryOptions::default() };
            let answer = project.query_with(&day_query(FRIDAY), options).await?;
            let took = asked.elapsed();
            slowest = slowest.max(took);
            answered += 1;
            let hours = (now - from).num_minutes();
            let keep = hours % 60 == 0 && KEPT_FRAMES.contains(&(hours / 60));
            screen.draw(&frame(screen, now, &answer, took), keep).map_err(output)?;
            if let Some(rest) = self.pace.checked_sub(frame_begun.elapsed()) {
                tokio::time::sleep(rest).await;
            }
        }
        writer.close().await?;
        screen.line("").map_err(output)?;
        screen
            .line(&format!(
                "{answered} questions, each answered with every record acknowledged before it; the slowest in {}.",
                duration(slowest)
            ))
            .map_err(output)?;

        screen.step("The night of 8 February: the next load, while the speed layer runs").map_err(output)?;
        let before = everything(project).await?;
        let old = before.receipt.clone();
        let report = load(screen, project).await?;
        let after = everything(project).await?;
        show_load(screen, &report).map_err(output)?;
        let (views, rows) = (after.rows.len(), after.rows.values().map(Vec::len).sum::<usize>());
        screen
            .line(&format!(
                "The cut moved from epoch {} to epoch {}.",
                old.epoch.map_or_else(|| "none".to_owned(), |epoch| epoch.to_string()),
                report.epoch
            ))
            .map_err(output)?;
        if before.rows != after.rows {
            return Err(Error::Internal("the answers changed when the cut moved".to_owned()));
        }
        let same = screen.styled(Style::Good, "The answers did not");
        screen
            .line(&format!("{same}: all {} rows of all {views} views are the same as before.", thousands(rows as u64)))
            .map_err(output)
    }

    /// The last step: what is where, and what to try.
    async fn end(&self, screen: &mut Screen<'_>, project: &Project, took: Duration) -> Result<(), Error> {
        let status = project.status().await?;
        let late: u64 = status.sources.iter().map(|source| source.late).sum();
        let records: u64 = status.sources.iter().map(|source| source.records).sum();
        let stored: u64 = status.views.iter().map(|view| view.bytes).sum();
        screen.step(&format!("That took {}", duration(took))).map_err(output)?;
        let dir = self.directory.display();
        let mut line = |text: String| screen.line(&text).map_err(output);
        line(format!(
            "{} records, {} of them late, none lost: `watershed status` shows the books.",
            thousands(records),
            thousands(late)
        ))?;
        let (tables, views) = (status.sources.len(), project.catalog().views.len());
        line(format!("{dir}/definitions/*.sql  {tables} tables and {views} views, to read and to change"))?;
        line(format!("{dir}/log/               {} of log", bytes(status.log_bytes)))?;
        line(format!(
            "{dir}/store/             {} of views and {} of archive, in Parquet that DuckDB, Spark and Polars read",
            bytes(stored),
            bytes(status.archive_bytes)
        ))?;
        line(String::new())?;
        line("Try:".to_owned())?;
        line(format!("  cd {}", shell_word(&self.directory)))?;
        line("  watershed query \"SELECT * FROM worst_routes ORDER BY place LIMIT 10\" --receipt".to_owned())?;
        line(
            "  watershed query \"SELECT * FROM carrier_days WHERE carrier = 'B6' ORDER BY window_start DESC LIMIT 7\""
                .to_owned(),
        )?;
        line("  watershed verify".to_owned())?;
        line("  watershed up          # and, in another terminal: watershed status".to_owned())
    }
}

fn records_of(delivery: &Delivery) -> u64 {
    delivery.payloads.values().map(|payloads| payloads.len() as u64).sum()
}

/// Appends what arrives together, at its time.
async fn deliver(
    writer: &Writer,
    clock: &ManualClock,
    delivery: Delivery,
    durability: Option<Durability>,
) -> Result<(), Error> {
    clock.set(delivery.at.timestamp_micros());
    let appends = delivery.payloads.into_iter().map(|(table, payloads)| {
        let payloads: Vec<Bytes> = payloads.into_iter().map(Bytes::from).collect();
        writer.append(table, payloads, durability)
    });
    try_join_all(appends).await.map(drop)
}

async fn load(screen: &mut Screen<'_>, project: &Project) -> Result<Report, Error> {
    let progress = Arc::new(Bar::new(screen.is_terminal(), "reading"));
    let options = BatchOptions { progress: Some(Arc::clone(&progress) as Arc<_>), ..BatchOptions::default() };
    let report = project.run_batch(&options).await;
    progress.finish();
    report
}

fn show_load(screen: &mut Screen<'_>, report: &Report) -> std::io::Result<()> {
    let new: u64 = report.sources.values().map(|counts| counts.records).sum();
    let late: u64 = report.sources.values().map(|counts| counts.late).sum();
    screen.line(&format!(
        "{} new records ({} late) folded into {} views: {}, {} records/s read",
        thousands(new),
        thousands(late),
        report.views.len(),
        duration(report.total),
        thousands(report.records_per_second() as u64)
    ))?;
    screen.line(&format!("{} of Parquet written and published as one manifest:", bytes(report.bytes_written)))?;
    let width = report.views.keys().map(String::len).max().unwrap_or(0);
    for (name, view) in &report.views {
        let late = match view.late.len() {
            0 => String::new(),
            late => format!(", {late} of them for late records"),
        };
        screen.line(&format!(
            "  {name:width$}  {:>6} rows  {:>9}   {:>2} partitions written{late}, {} kept as they were",
            thousands(view.rows),
            bytes(view.bytes),
            view.written.len(),
            view.kept,
        ))?;
    }
    Ok(())
}

/// One day's cancellations beside its weather.
fn day_query(day: &str) -> String {
    format!(
        "SELECT d.origin, d.flights, d.cancelled, d.cancelled_percent, w.frozen, w.gust FROM airport_days AS d \
         LEFT JOIN weather_days AS w ON w.origin = d.origin AND w.window_start = d.day \
         WHERE d.day = TIMESTAMP '{day}' ORDER BY d.origin"
    )
}

fn frame(screen: &Screen<'_>, now: DateTime<Utc>, answer: &Answer, took: Duration) -> String {
    let clock = now.with_timezone(&New_York).format("%H:%M");
    let mut text = screen.styled(Style::Bold, &format!("{clock} in New York"));
    text.push('\n');
    for row in answer.rows() {
        let [origin, flights, cancelled, percent, frozen, gust] = row.as_slice() else { continue };
        let share = if let Value::Double(percent) = percent { percent / 100.0 } else { 0.0 };
        let mut drawn = bar(share, 24);
        if share >= 0.3 {
            drawn = screen.styled(Style::Bad, &drawn);
        }
        let frozen = if let Value::Decimal(hundredths) = frozen { *hundredths as f64 / 100.0 } else { 0.0 };
        let gust = if let Value::Double(gust) = gust { format!("{gust:.0} mph") } else { "–".to_owned() };
        text.push_str(&format!(
            "{}  {drawn} {:>4} of {:>4} flights cancelled   gusts {gust:>6}   {frozen:.2} in of snow, as water\n",
            plain(origin),
            plain(cancelled),
            plain(flights),
        ));
    }
    text.push_str(&screen.styled(Style::Dim, &receipt(&answer.receipt, took)));
    text
}

fn plain(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Int(number) => number.to_string(),
        Value::Decimal(number) => number.to_string(),
        _ => String::new(),
    }
}

/// A receipt in one line.
fn receipt(receipt: &Receipt, took: Duration) -> String {
    let records: u64 = receipt.sources.values().map(|counts| counts.records).sum();
    let late: u64 = receipt.sources.values().map(|counts| counts.late).sum();
    let above: u64 = receipt
        .sources
        .keys()
        .map(|source| {
            let sum = |offsets: Option<&[u64]>| offsets.unwrap_or(&[]).iter().sum::<u64>();
            sum(receipt.head.get(source)).saturating_sub(sum(receipt.cut.get(source)))
        })
        .sum();
    let cut = receipt.epoch.map_or_else(|| "no batch yet".to_owned(), |epoch| format!("cut at epoch {epoch}"));
    format!(
        "receipt: {cut}: {} records by batch + {} by speed, {} late; answered in {}",
        thousands(records - above.min(records)),
        thousands(above),
        thousands(late),
        duration(took)
    )
}

/// All rows of all views, for comparison.
struct Everything {
    rows: BTreeMap<String, Vec<String>>,
    receipt: Receipt,
}

async fn everything(project: &Project) -> Result<Everything, Error> {
    let mut everything = Everything { rows: BTreeMap::new(), receipt: Receipt::default() };
    let head = project.log()?.head()?;
    for name in project.catalog().views.keys() {
        let options = QueryOptions { at_least: Some(head.clone()), ..QueryOptions::default() };
        let answer = project.query_with(&format!("SELECT * FROM {name}"), options).await?;
        let mut rows: Vec<String> = answer.rows().map(|row| format!("{row:?}")).collect();
        rows.sort_unstable();
        everything.rows.insert(name.clone(), rows);
        everything.receipt = answer.receipt;
    }
    Ok(everything)
}

fn show_table(screen: &mut Screen<'_>, sql: &str, answer: &Answer) -> Result<(), Error> {
    screen.line(&screen.styled(Style::Dim, sql)).map_err(output)?;
    let mut text = Vec::new();
    write_answer(&mut text, Format::Table, &answer.frame, &answer.schema, Some("–"))?;
    text.flush().map_err(output)?;
    screen.lines(&String::from_utf8_lossy(&text)).map_err(output)
}

async fn verify(screen: &mut Screen<'_>, project: &Project) -> Result<(), Error> {
    screen.step("The proof").map_err(output)?;
    screen
        .line(
            "Every view recomputed in batch only, in speed only, and merged at many cuts; rows compared byte for byte:",
        )
        .map_err(output)?;
    let begun = Instant::now();
    let verified = project.verify(&VerifyOptions::default()).await?;
    let width = verified.iter().map(|view| view.view.len()).max().unwrap_or(0);
    let mut equal = true;
    for view in &verified {
        equal &= view.is_equal();
        let result =
            if view.is_equal() { screen.styled(Style::Good, "equal") } else { screen.styled(Style::Bad, "DIFFERENT") };
        let digest: String = view.digest.chars().take(16).collect();
        screen
            .line(&format!(
                "  {:width$}  {:>6} rows at {} cuts  {result}  {digest}",
                view.view,
                thousands(view.rows),
                view.cuts.len()
            ))
            .map_err(output)?;
    }
    screen.line(&format!("in {}", duration(begun.elapsed()))).map_err(output)?;
    if equal { Ok(()) } else { Err(Error::Internal("batch and speed differ".to_owned())) }
}

/// A path as one word of a shell command.
fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = text.chars().all(|c| c.is_alphanumeric() || "/._-+".contains(c));
    if is_plain { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}
