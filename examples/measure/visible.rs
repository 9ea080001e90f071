//! From the moment a record should be sent to an answer that has it, while records keep coming at a fixed rate.
//!
//! An open loop: the schedule does not wait for a slow system, and latencies count from the scheduled time.

use std::{
    error::Error,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hdrhistogram::Histogram;
use serde_json::{Value as Json, json};
use watershed::{
    Position,
    datagen::{Payments, Settings},
    parts::{
        log::{Append, Durability, EventLog, FileLog, LogError},
        pipelines::{decode::Decoder, types::Value},
        serving::{ReadOptions, Serving},
        speed::SpeedLayer,
    },
};

use crate::{Outcome, live};

/// How often records are sent.
const TICK: Duration = Duration::from_millis(1);
/// Different payloads; they are sent again and again.
const PAYLOADS: usize = 200_000;
/// Every so many ticks, the tick's last record is asked for.
const ASK_EVERY: u64 = 20;
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(clap::Args)]
pub struct Args {
    project: PathBuf,
    /// Records per second; 0: as many as are acknowledged.
    #[arg(long, default_value_t = 50_000)]
    rate: u64,
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Batch runs, one after the other.
    #[arg(long)]
    batches: bool,
    /// Threads of a batch run.
    #[arg(long)]
    batch_threads: Option<usize>,
}

/// Records of one tick.
struct Sent {
    scheduled: Instant,
    position: Position,
    acknowledged: Instant,
    key: Option<Vec<Value>>,
}

struct Latencies {
    acknowledged: Histogram<u64>,
    visible_after_acknowledged: Histogram<u64>,
    visible: Histogram<u64>,
    answered: Histogram<u64>,
}

pub fn run(args: &Args) -> Outcome {
    let project = live::open(&args.project)?;
    let log = live::writer(&project)?;
    let speed = live::speed(&project, &log, &live::built(&project.store()?)?)?;
    let serving = live::serving(&project, speed.clone())?;
    while speed.step()? {}
    let payloads = payloads(&project)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (stop_speed, stopped) = tokio::sync::oneshot::channel::<()>();
    let tail = runtime.spawn(speed.clone().run(async {
        let _ = stopped.await;
    }));
    let ended = AtomicBool::new(false);
    let batches = AtomicU64::new(0);
    let (sent, to_watch) = mpsc::channel();
    let (ask, to_ask) = mpsc::channel();
    let latencies = Mutex::new(Latencies::new()?);
    let measured = thread::scope(|scope| -> Outcome {
        let watcher = scope.spawn(|| watch(to_watch, &ask_if_wanted(ask), &speed, &latencies));
        let asker = scope.spawn(|| answer(to_ask, &serving, &latencies));
        let batcher = scope.spawn(|| -> Result<(), String> {
            while args.batches && !ended.load(Ordering::Relaxed) {
                live::batch(&project, &log, &speed, &serving, args.batch_threads).map_err(|e| e.to_string())?;
                batches.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        let begun = Instant::now();
        let records = send(args, &log, &payloads, sent, &runtime)?;
        let seconds = begun.elapsed().as_secs_f64();
        watcher.join().map_err(|_| "the watcher failed")??;
        asker.join().map_err(|_| "the asker failed")??;
        ended.store(true, Ordering::Relaxed);
        batcher.join().map_err(|_| "the batch thread failed")??;
        Ok(json!({ "records": records, "seconds": seconds, "per_second": records as f64 / seconds }))
    })?;
    let _ = stop_speed.send(());
    runtime.block_on(tail)??;
    let latencies = latencies.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut result = latencies.json();
    result["sent"] = measured;
    result["batch_runs"] = json!(batches.load(Ordering::Relaxed));
    Ok(result)
}

/// Payloads with their partitions and the keys they have in `card_minute`.
fn payloads(project: &watershed::Project) -> Result<Vec<(u32, Bytes)>, Box<dyn Error>> {
    let source = project.catalog().sources.get("payments").ok_or("the project has no table payments")?;
    let decoder = Decoder::new(source);
    let settings = Settings { bad: 0.0, cards: 10_000, per_second: 1000.0, ..Settings::default() };
    Ok(Payments::new(settings)
        .take(PAYLOADS)
        .map(|line| (decoder.partition_of(line.as_bytes()).0, Bytes::from(line)))
        .collect())
}

/// Sends on schedule. Returns how many records were sent.
fn send(
    args: &Args,
    log: &Arc<FileLog>,
    payloads: &[(u32, Bytes)],
    sent: mpsc::Sender<Sent>,
    runtime: &tokio::runtime::Runtime,
) -> Result<u64, LogError> {
    let begun = Instant::now();
    let ticks = args.seconds * 1000;
    let mut records = 0u64;
    for tick in 0..ticks {
        let scheduled = begun + TICK * tick as u32;
        if let Some(wait) = scheduled.checked_duration_since(Instant::now()) {
            thread::sleep(wait);
        }
        let wanted = if args.rate == 0 { 1000 } else { args.rate * (tick + 1) / 1000 - args.rate * tick / 1000 };
        let batch: Vec<Append> = (records..records + wanted)
            .map(|n| &payloads[n as usize % payloads.len()])
            .map(|(partition, payload)| Append::new(*partition, payload.clone()))
            .collect();
        let key = (tick % ASK_EVERY == 0).then(|| batch.last().map(|append| key_of(&append.payload))).flatten();
        records += batch.len() as u64;
        let appending = log.submit("payments", batch, Some(Durability::Fsync));
        let sent = sent.clone();
        let acknowledge = async move {
            let appended = appending.await?;
            let mut position = Position::new();
            for (partition, offset) in appended.records {
                let above = (offset + 1).max(position.partition("payments", partition));
                position.set("payments", partition, above);
            }
            let _ = sent.send(Sent { scheduled, position, acknowledged: Instant::now(), key });
            Ok::<(), LogError>(())
        };
        if args.rate == 0 {
            runtime.block_on(acknowledge)?;
        } else {
            runtime.spawn(acknowledge);
        }
        if args.rate == 0 && begun.elapsed() > Duration::from_secs(args.seconds) {
            break;
        }
    }
    Ok(records)
}

/// The first columns of the key that a payment has in `card_minute`.
fn key_of(payload: &[u8]) -> Vec<Value> {
    let payment: Json = serde_json::from_slice(payload).unwrap_or_default();
    vec![Value::Text(payment["card"].as_str().unwrap_or_default().to_owned())]
}

fn ask_if_wanted(ask: mpsc::Sender<Sent>) -> impl Fn(Sent) {
    move |sent| {
        if sent.key.is_some() {
            let _ = ask.send(sent);
        }
    }
}

/// Waits until each tick's records are in a published snapshot.
fn watch(
    ticks: mpsc::Receiver<Sent>,
    ask: &dyn Fn(Sent),
    speed: &SpeedLayer,
    latencies: &Mutex<Latencies>,
) -> Result<(), String> {
    for sent in ticks {
        let snapshot = speed.wait_until(&mut |s| s.reaches(&sent.position), TIMEOUT).map_err(|e| e.to_string())?;
        if !snapshot.reaches(&sent.position) {
            return Err(format!("records were not visible within {TIMEOUT:?}"));
        }
        let now = Instant::now();
        let mut latencies = latencies.lock().unwrap_or_else(PoisonError::into_inner);
        record(&mut latencies.acknowledged, sent.acknowledged - sent.scheduled);
        record(&mut latencies.visible_after_acknowledged, now.saturating_duration_since(sent.acknowledged));
        record(&mut latencies.visible, now - sent.scheduled);
        drop(latencies);
        ask(sent);
    }
    Ok(())
}

/// Asks for a record that was just acknowledged.
fn answer(asked: mpsc::Receiver<Sent>, serving: &Serving, latencies: &Mutex<Latencies>) -> Result<(), String> {
    for sent in asked {
        let begun = Instant::now();
        let options = ReadOptions { timeout: TIMEOUT, ..ReadOptions::default() }.at_least(sent.position);
        let answer =
            serving.lookup("card_minute", &sent.key.unwrap_or_default(), &options).map_err(|e| e.to_string())?;
        std::hint::black_box(answer.len());
        let mut latencies = latencies.lock().unwrap_or_else(PoisonError::into_inner);
        record(&mut latencies.answered, begun.elapsed());
    }
    Ok(())
}

fn record(histogram: &mut Histogram<u64>, latency: Duration) {
    histogram.saturating_record(latency.as_micros() as u64);
}

impl Latencies {
    fn new() -> Result<Latencies, Box<dyn Error>> {
        let histogram = || Histogram::new_with_bounds(1, 600_000_000, 3);
        Ok(Latencies {
            acknowledged: histogram()?,
            visible_after_acknowledged: histogram()?,
            visible: histogram()?,
            answered: histogram()?,
        })
    }

    fn json(&self) -> Json {
        let figures = |histogram: &Histogram<u64>| {
            let millis = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1e3;
            json!({ "p50_ms": millis(0.5), "p99_ms": millis(0.99), "p999_ms": millis(0.999), "max_ms": millis(1.0) })
        };
        json!({
            "scheduled_to_acknowledged": figures(&self.acknowledged),
            "acknowledged_to_visible": figures(&self.visible_after_acknowledged),
            "scheduled_to_visible": figures(&self.visible),
            "lookup": figures(&self.answered),
        })
    }
}
