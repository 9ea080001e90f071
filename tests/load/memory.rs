//! What a process takes: its memory at most, its open files.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use crate::support::command::Workplace;

const MIB: u64 = 1 << 20;

/// What `up` takes with nothing in it: the program, its threads, and room for what they allocate at once.
const RESTING_MIB: u64 = 64;
/// What one `append` process has under way: four requests of about 1 MiB, as they came and as the log's own copies, waiting or being
/// written. All producers together: 256 MiB of requests, their copies, and 64 MiB in the log's queue.
const PRODUCER_MIB: u64 = 12;
const PRODUCERS_MIB_MAX: u64 = 2 * 256 + 64;

/// What a project is configured for, in MiB; and the bound that follows, which `docs/reliability.md` states.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Materialized views.
    pub views: u64,
    /// `speed.max_bytes`.
    pub view: u64,
    /// `speed.step_bytes`.
    pub step: u64,
    /// `batch.memory`.
    pub batch: u64,
    /// Processes that append at the same time.
    pub producers: u64,
}

impl Limits {
    /// `[speed]` and `[batch]`, without a schedule.
    pub fn sections(&self) -> String {
        format!(
            "[speed]\nmax_bytes = \"{} MiB\"\nstep_bytes = \"{} MiB\"\n\n[batch]\nschedule = \"\"\nmemory = \"{} MiB\"\n",
            self.view, self.step, self.batch
        )
    }

    /// The most that `up` takes, in MiB: each view's slices twice (a merge makes new ones beside the old), a step's records as bytes
    /// and columns, and a batch run's partials as they are built, merged and encoded.
    pub fn up_mib(&self) -> u64 {
        let requests = (self.producers * PRODUCER_MIB).min(PRODUCERS_MIB_MAX);
        RESTING_MIB + requests + self.views * 2 * self.view + 8 * self.step + self.batch_mib()
    }

    /// The most that a batch run adds, in MiB.
    fn batch_mib(&self) -> u64 {
        3 * self.batch + 32
    }

    /// The most that a command beside `up` takes, in MiB, that keeps partials up to `batch.memory`.
    pub fn batch_command_mib(&self) -> u64 {
        RESTING_MIB + self.batch_mib()
    }

    /// Checks what `up` took, and says so.
    pub fn check_up(&self, what: &str, pid: u32) {
        let peak = peak_mib(pid);
        eprintln!("{what}: up took {peak} MiB at most; stated: {} MiB for {self:?}", self.up_mib());
        assert!(peak <= self.up_mib(), "{what}: {peak} MiB of {} MiB, {self:?}", self.up_mib());
    }
}

fn status_line(pid: u32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// The most memory that a running process has had resident.
pub fn peak_mib(pid: u32) -> u64 {
    status_line(pid, "VmHWM:").expect("the process runs") * 1024 / MIB
}

/// The memory that a process has resident now; `None` if it has ended.
pub fn resident_mib(pid: u32) -> Option<f64> {
    Some(status_line(pid, "VmRSS:")? as f64 / 1024.0)
}

/// How many files a process has open.
pub fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// How many files lie below a directory.
pub fn files_below(directory: &Path) -> usize {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let paths = entries.flatten().map(|entry| entry.path());
    paths.map(|path| if path.is_dir() { files_below(&path) } else { 1 }).sum()
}

/// Runs a command to its end; how it ended, and the most memory that it had resident, in MiB.
pub fn measured(place: &Workplace, arguments: &[&str]) -> (std::process::ExitStatus, u64) {
    const SCRIPT: &str = "import resource, subprocess, sys\n\
        code = subprocess.call(sys.argv[1:])\n\
        print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)\n\
        sys.exit(code)";
    let command = place.command(arguments);
    let mut measuring = Command::new("python3");
    measuring.args(["-c", SCRIPT]).arg(command.get_program()).args(command.get_args());
    measuring.current_dir(place.path()).stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => measuring.env(name, value),
            None => measuring.env_remove(name),
        };
    }
    let output = measuring.output().expect("python3 runs");
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    let kib: u64 = err.lines().last().and_then(|line| line.parse().ok()).unwrap_or_else(|| panic!("{err}"));
    (output.status, kib * 1024 / MIB)
}
