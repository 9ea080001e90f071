//! Queries over the merged views.

use std::{path::PathBuf, time::Instant};

use serde_json::json;
use watershed::parts::serving::ReadOptions;

use crate::{Outcome, live};

#[derive(clap::Args)]
pub struct Args {
    project: PathBuf,
    /// The query.
    query: String,
    /// How often it is asked; the first time is a warm-up.
    #[arg(long, default_value_t = 6)]
    times: usize,
}

pub fn run(args: &Args) -> Outcome {
    let project = live::open(&args.project)?;
    let serving = live::replayed_serving(&project)?;
    let mut seconds = Vec::new();
    let mut rows = Vec::new();
    for _ in 0..args.times {
        let begun = Instant::now();
        let answer = serving.sql(&args.query, &ReadOptions::default())?;
        seconds.push(begun.elapsed().as_secs_f64());
        rows = answer.to_json_rows();
    }
    Ok(json!({ "seconds": seconds, "rows": rows }))
}
