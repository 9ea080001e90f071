//! A progress bar on a terminal.

use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use watershed_batch::Progress;

/// A bar that counts records; nothing where nobody watches.
pub(super) struct Bar {
    bar: ProgressBar,
    merged: AtomicU64,
}

impl Bar {
    pub(super) fn new(is_terminal: bool, what: &'static str) -> Bar {
        let target = if is_terminal { ProgressDrawTarget::stderr_with_hz(20) } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let style = ProgressStyle::with_template("   {msg:10} {bar:40} {human_pos} of {human_len} records, {per_sec}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("██·"));
        bar.set_message(what);
        Bar { bar, merged: AtomicU64::new(0) }
    }

    pub(super) fn plan(&self, records: u64) {
        self.bar.set_length(records);
    }

    pub(super) fn add(&self, records: u64) {
        self.bar.inc(records);
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Bar {
    fn records_planned(&self, records: u64) {
        self.plan(records);
    }

    fn records_decoded(&self, records: u64, _bytes: u64) {
        self.add(records);
    }

    fn partition_merged(&self, _view: &str, _partition: &str, _changed: bool) {
        let merged = self.merged.fetch_add(1, Ordering::Relaxed) + 1;
        self.bar.set_message(format!("merging {merged}"));
    }
}
