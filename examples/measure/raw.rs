//! The same bytes to a file, without a log: what the disk allows.

use std::{
    fs::File,
    io::{Seek, Write},
    path::PathBuf,
    time::Instant,
};

use serde_json::json;

use crate::{Outcome, append::payload};

#[derive(clap::Args)]
pub struct Args {
    /// The file; must not exist.
    file: PathBuf,
    /// Bytes in all.
    #[arg(long)]
    bytes: usize,
    /// Into how many writes they are divided.
    #[arg(long)]
    writes: usize,
    /// Sync after each write.
    #[arg(long)]
    sync: bool,
    /// Fill the file with zeros first, which is not counted: the writes then take their place.
    #[arg(long)]
    zeros: bool,
}

pub fn run(args: &Args) -> Outcome {
    let mut file = File::create_new(&args.file)?;
    let buffer = payload(args.bytes.div_ceil(args.writes));
    if args.zeros {
        let zeros = vec![0; buffer.len()];
        (0..args.writes).try_for_each(|_| file.write_all(&zeros))?;
        file.sync_all()?;
        file.rewind()?;
    }
    let begun = Instant::now();
    for _ in 0..args.writes {
        file.write_all(&buffer)?;
        if args.sync {
            file.sync_data()?;
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    Ok(json!({ "seconds": seconds, "bytes": buffer.len() * args.writes, "writes": args.writes }))
}
