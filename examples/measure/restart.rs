//! From opening a project until its speed layer is at the head, and to its first answer.

use std::{path::PathBuf, time::Instant};

use serde_json::json;
use watershed::parts::{log::EventLog, serving::ReadOptions};

use crate::{Outcome, live};

#[derive(clap::Args)]
pub struct Args {
    project: PathBuf,
    /// The first question.
    query: String,
}

pub fn run(args: &Args) -> Outcome {
    let begun = Instant::now();
    let project = live::open(&args.project)?;
    let log = live::writer(&project)?;
    let recovered = begun.elapsed().as_secs_f64();
    let speed = live::speed(&project, &log, &live::built(&project.store()?)?)?;
    let serving = live::serving(&project, speed.clone())?;
    while speed.step()? {}
    let caught_up = begun.elapsed().as_secs_f64();
    let answer = serving.sql(&args.query, &ReadOptions::default())?;
    let answered = begun.elapsed().as_secs_f64();
    let records: u64 = log.head()?.iter().map(|(_, _, offset)| offset).sum();
    Ok(json!({
        "recovery_seconds": recovered,
        "caught_up_seconds": caught_up,
        "first_answer_seconds": answered,
        "records": records,
        "rows": answer.to_json_rows(),
    }))
}
