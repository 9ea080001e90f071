//! A backlog through the speed layer, from opening the project on.

use std::{path::PathBuf, sync::Arc, time::Instant};

use serde_json::json;
use watershed::parts::{
    serving::{FixedSpeed, ReadOptions},
    speed::Built,
};

use crate::{Outcome, live};

#[derive(clap::Args)]
pub struct Args {
    project: PathBuf,
    /// A query whose rows are printed, for comparison.
    #[arg(long)]
    answer: Option<String>,
}

pub fn run(args: &Args) -> Outcome {
    let begun = Instant::now();
    let project = live::open(&args.project)?;
    let log = Arc::new(project.log()?);
    // From the first record on, whatever the batch side holds.
    let speed = live::speed(&project, &log, &Built::default())?;
    while speed.step()? {}
    let seconds = begun.elapsed().as_secs_f64();
    let snapshot = speed.snapshot();
    let records: u64 = snapshot.position().iter().map(|(_, _, offset)| offset).sum();
    let mut rows = Vec::new();
    if let Some(sql) = &args.answer {
        // Before the first manifest, the speed side answers for everything.
        let serving = live::serving(&project, Arc::new(FixedSpeed(snapshot)))?;
        rows = serving.sql(sql, &ReadOptions::default())?.to_json_rows();
    }
    Ok(json!({ "seconds": seconds, "records": records, "rows": rows }))
}
