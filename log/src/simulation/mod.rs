//! A disk in memory that does to the log what disks, file systems and power failures do, for tests of it and of all that is
//! built on it. Deterministic: what happens is a function of what is asked and of the seeds passed in.
//!
//! - What was written and not synced may be lost at a [power cut](SimulatedDisk::power_cut), sector by sector (512 bytes), in
//!   any mixture of what each sector has held since it was last synced; so may changes of a file's size, what lies beyond its
//!   old end then being zeros or rubbish.
//! - What was created, renamed or removed since its directory was synced is kept or lost, each name by itself.
//! - A [killed](SimulatedProcess::kill) process loses its locks, and nothing that it wrote.
//! - A failed sync behaves as on Linux: the pages count as written, the disk does not have them, the next sync says that all is
//!   well, and what processes read may turn back into what the disk has ([`SimulatedDisk::forget_pages`]).
//! - Every operation is counted and named ([`Operation`]), and its [`Fate`] can be chosen: done, done in part or not at all;
//!   answered, answered with an error, or never answered because the process dies.
//!
//! ```
//! use std::sync::Arc;
//! use watershed_log::simulation::{Fate, SimulatedDisk};
//! use watershed_log::{Append, EventLog, FileLog, ManualClock, Options};
//!
//! # fn main() -> watershed_log::Result<()> {
//! let disk = SimulatedDisk::new();
//! let clock = Arc::new(ManualClock::new(0));
//! let process = disk.process();
//! let log = FileLog::open_stepped("/log", Options { files: process.clone(), ..Options::default() }, clock.clone())?;
//! log.create_source("payments", 1)?;
//! log.append("payments", vec![Append::new(0, "acknowledged")])?;
//! drop(log.append_async("payments", vec![Append::new(0, "under way")]));
//! process.set_fates(|operation| if operation.kind.is_sync() { Fate::KILLED_BEFORE } else { Fate::DONE });
//! log.step();
//! disk.power_cut(7);
//!
//! let log = FileLog::open_stepped("/log", Options { files: disk.process(), ..Options::default() }, clock)?;
//! assert!((1..=2).contains(&log.head()?.partition("payments", 0)));
//! # Ok(())
//! # }
//! ```

mod contents;
mod disk;
mod fate;
mod names;
mod process;
mod random;

pub use disk::SimulatedDisk;
pub use fate::{Answer, Effect, Failure, Fate, Operation, OperationKind};
pub use process::SimulatedProcess;
