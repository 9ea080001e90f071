//! Making a failing case small: whatever can go, goes, as long as it fails in the same way.

use std::cell::RefCell;

use super::{
    attack::{Failure, attack},
    case::{Case, Step},
    derived::Query,
    language::Expr,
    oracle::Oracle,
};

/// Cases that are tried at most.
const TRIES: usize = 400;

/// Makes the case small, and panics with it.
pub fn report(seed: u64, case: &Case, failure: Failure, oracle: &RefCell<Oracle>) -> ! {
    // The smaller cases panic on purpose.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let (small, last) = shrunk(case.clone(), failure.clone(), oracle);
    std::panic::set_hook(hook);
    let Failure { kind, message } = failure;
    panic!("seed {seed}: {kind}\n{message}\n\nmade small: {}\n{}", last.message, small.shown());
}

fn shrunk(mut case: Case, mut failure: Failure, oracle: &RefCell<Oracle>) -> (Case, Failure) {
    let mut tries = 0;
    'smaller: loop {
        for candidate in smaller(&case) {
            tries += 1;
            if tries > TRIES {
                return (case, failure);
            }
            match attack(&candidate, oracle) {
                Err(same) if same.kind == failure.kind => {
                    (case, failure) = (candidate, same);
                    continue 'smaller;
                }
                _ => {}
            }
        }
        return (case, failure);
    }
}

/// Smaller cases, those with much less first.
fn smaller(case: &Case) -> Vec<Case> {
    let mut all = Vec::new();
    let mut with = |change: &dyn Fn(&mut Case)| {
        let mut candidate = case.clone();
        change(&mut candidate);
        if candidate != *case {
            all.push(candidate);
        }
    };
    for number in (0..case.derived.len()).rev() {
        with(&|c| drop(c.derived.remove(number)));
    }
    if case.before.is_some() {
        with(&|c| c.before = None);
    }
    if case.other.is_some() {
        with(&|c| c.other = None);
    }
    for number in (0..case.views.len()).rev().filter(|_| case.views.len() > 1 && case.before.is_none()) {
        with(&|c| without_view(c, number));
    }
    steps(case, &mut with);
    for number in 0..case.views.len() {
        let view = &case.views[number];
        with(&|c| c.views[number].having = None);
        with(&|c| c.views[number].filter = None);
        with(&|c| c.views[number].buckets = None);
        for item in (0..view.items.len()).rev().filter(|_| view.items.len() > 1) {
            with(&|c| drop(c.views[number].items.remove(item)));
        }
        if view.groups.as_ref().is_some_and(|(keys, _)| keys.is_empty()) || view.groups.is_none() {
            with(&|c| c.views[number].window = None);
        }
        for replacement in view.filter.iter().flat_map(Expr::smaller) {
            with(&|c| c.views[number].filter = Some(replacement.clone()));
        }
        for replacement in view.having.iter().flat_map(Expr::smaller) {
            with(&|c| c.views[number].having = Some(replacement.clone()));
        }
        for (item, old) in view.items.iter().enumerate() {
            for replacement in old.expr.smaller() {
                with(&|c| c.views[number].items[item].expr = replacement.clone());
            }
        }
        let Some((keys, aggregates)) = &view.groups else { continue };
        for (key, old) in keys.iter().enumerate() {
            for replacement in old.smaller() {
                with(&|c| c.views[number].groups.iter_mut().for_each(|(keys, _)| keys[key] = replacement.clone()));
            }
        }
        for (aggregate, old) in aggregates.iter().enumerate() {
            for replacement in old.smaller() {
                with(&|c| c.views[number].groups.iter_mut().for_each(|(_, all)| all[aggregate] = replacement.clone()));
            }
        }
    }
    for (number, view) in case.derived.iter().enumerate() {
        for replacement in queries(&view.query) {
            with(&|c| c.derived[number].query = replacement.clone());
        }
    }
    all
}

/// Makes a case smaller.
type Change<'a> = &'a dyn Fn(&mut Case);

/// Fewer steps, fewer records.
fn steps(case: &Case, with: &mut dyn FnMut(Change<'_>)) {
    for number in (0..case.steps.len()).rev() {
        with(&|c| drop(c.steps.remove(number)));
    }
    for (number, step) in case.steps.iter().enumerate() {
        let Step::Append(_, records, _) = step else { continue };
        let mut piece = records.len() / 2;
        while piece > 0 {
            for start in (0..records.len()).step_by(piece) {
                with(&|c| {
                    if let Step::Append(_, records, _) = &mut c.steps[number] {
                        records.drain(start..(start + piece).min(records.len()));
                    }
                });
            }
            piece /= 2;
        }
    }
}

/// Without a materialized view and what reads it.
fn without_view(case: &mut Case, number: usize) {
    let mut gone = vec![case.views.remove(number).name];
    case.derived.retain(|view| {
        let mut read = Vec::new();
        view.query.from.views(&mut read);
        let keep = !read.iter().any(|name| gone.contains(name));
        if !keep {
            gone.push(view.name.clone());
        }
        keep
    });
}

fn queries(query: &Query) -> Vec<Query> {
    let mut smaller = Vec::new();
    let mut with = |change: &dyn Fn(&mut Query)| {
        let mut candidate = query.clone();
        change(&mut candidate);
        if candidate != *query {
            smaller.push(candidate);
        }
    };
    with(&|q| q.union = None);
    with(&|q| q.limit = None);
    with(&|q| q.order.clear());
    with(&|q| q.distinct = false);
    with(&|q| q.having = None);
    with(&|q| q.qualify = None);
    with(&|q| q.filter = None);
    for item in (0..query.items.len()).rev().filter(|_| query.items.len() > 1 && query.order.is_empty()) {
        with(&|q| drop(q.items.remove(item)));
    }
    for replacement in query.filter.iter().flat_map(Expr::smaller) {
        with(&|q| q.filter = Some(replacement.clone()));
    }
    for (item, (_, old)) in query.items.iter().enumerate() {
        for replacement in old.smaller() {
            with(&|q| q.items[item].1 = replacement.clone());
        }
    }
    smaller
}
