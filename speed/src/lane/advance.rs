//! Moving the cut, and knowing which views the batch side has.

use std::sync::Arc;

use super::{Lane, Status};
use crate::run::{Offsets, Run, Span, max};

impl Lane {
    /// Drops the first `slices` slices: the cut moves to `cut`, the bound above them.
    pub fn drop_slices(&mut self, slices: usize, cut: Offsets) {
        let dropped: Vec<Arc<Run>> = self.slices.drain(..slices).flatten().collect();
        self.bounds.drain(..slices);
        if self.any_unbuilt() {
            // Views without a batch part keep what they have of those slices, and fold what was not read yet.
            let mut runs = std::mem::take(&mut self.base.runs);
            for mut run in dropped {
                for (view, kept) in Arc::make_mut(&mut run).views.iter_mut().zip(&self.views) {
                    if kept.built {
                        *view = None;
                    }
                }
                runs.push(run);
                self.compact(&mut runs);
            }
            self.base.runs = runs;
            let unread = Span { low: self.read.clone(), high: max(&self.read, &cut) };
            if !unread.is_empty() {
                self.base.todo.push_back(unread);
            }
        }
        self.read = max(&self.read, &cut);
        self.cut = cut;
        self.damaged = None;
        // The live part is smaller now, so a stalled view gets another chance: what it lacks is folded again.
        for view in self.views.iter_mut().filter(|view| view.status == Status::Stalled) {
            view.status = Status::Kept;
        }
    }

    /// Says which views the batch side answers for up to the cut, in the order of `views`; the others are built from `start`,
    /// the beginning of the log.
    pub fn set_built(&mut self, built: &[bool], start: &[u64]) {
        let newly_unbuilt = self.views.iter().zip(built).any(|(view, built)| view.built && !built);
        for (index, built) in built.iter().enumerate() {
            let view = &mut self.views[index];
            if *built && !view.built {
                if view.status == Status::NotBuilt {
                    view.status = Status::Kept;
                }
                for run in &mut self.base.runs {
                    Arc::make_mut(run).views[index] = None;
                }
            }
            self.views[index].built = *built;
        }
        if !self.any_unbuilt() {
            self.base.runs.clear();
            self.base.todo.clear();
        } else if newly_unbuilt {
            self.base.runs.clear();
            self.base.todo.clear();
            let span = Span { low: vec![0; self.cut.len()], high: self.cut.clone() };
            if !span.is_empty() {
                self.base.todo.push_back(span);
            }
            if start.iter().zip(&self.cut).any(|(start, cut)| *start > 0 && *cut > 0) {
                self.give_up_unbuilt();
            }
        }
    }

    fn any_unbuilt(&self) -> bool {
        self.views.iter().any(|view| !view.built)
    }
}
