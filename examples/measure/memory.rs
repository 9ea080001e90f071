//! Bytes per key of a view.

use std::{fs, path::PathBuf};

use serde_json::json;
use watershed::{KeyFilter, parts::serving::ReadOptions};

use crate::{Outcome, live};

#[derive(clap::Args)]
pub struct Args {
    project: PathBuf,
    /// A materialized view.
    view: String,
}

pub fn run(args: &Args) -> Outcome {
    let project = live::open(&args.project)?;
    let snapshot = live::replayed(&project)?;
    let (_, bytes) = snapshot.views()[&args.view];
    let resident = resident_bytes()?;
    let serving = live::serving(&project, std::sync::Arc::new(watershed::parts::serving::FixedSpeed(snapshot)))?;
    let keys = serving.scan(&args.view, &KeyFilter::all(), &ReadOptions::default())?.len();
    Ok(json!({ "keys": keys, "view_bytes": bytes, "resident_bytes": resident }))
}

fn resident_bytes() -> Result<u64, Box<dyn std::error::Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS in /proc/self/status")?;
    let kib: u64 = line.split_whitespace().nth(1).ok_or("no figure in VmRSS")?.parse()?;
    Ok(kib << 10)
}
