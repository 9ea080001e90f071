//! Random definitions over random records, whatever happens to the project: every way to an answer gives the same, and DuckDB agrees.

mod aggregates;
mod attack;
mod case;
mod coverage;
mod derived;
mod differences;
mod expressions;
mod found;
mod functions;
mod language;
mod materialized;
mod oracle;
mod records;
mod shrink;
mod tables;
mod types;
mod values;
mod windows;

use std::{cell::RefCell, collections::BTreeMap};

use self::{
    attack::{Figures, attack},
    case::Case,
    oracle::Oracle,
};
use crate::support::{seeds, tools::Tools};

/// Seeds that a run without further words tries.
const SEEDS: u64 = 200;

#[test]
fn every_way_to_an_answer_gives_the_same_and_duckdb_agrees() {
    let Some(tools) = Tools::for_test("every_way_to_an_answer_gives_the_same_and_duckdb_agrees") else { return };
    let (functions, oracle) = (functions::catalog(), RefCell::new(Oracle::start(tools)));
    let totals = RefCell::new(Figures::default());
    let counts = RefCell::new(BTreeMap::new());
    seeds::each(SEEDS, |seed| {
        let case = Case::random(seed, &functions);
        match attack(&case, &oracle) {
            Ok(figures) => totals.borrow_mut().add(&figures),
            Err(failure) => shrink::report(seed, &case, failure, &oracle),
        }
        case.count(&mut counts.borrow_mut());
    });
    coverage::print(&counts.borrow(), &totals.borrow());
}

#[test]
fn the_seeds_draw_the_whole_grammar() {
    let functions = functions::catalog();
    let mut counts = BTreeMap::new();
    (0..SEEDS).for_each(|seed| Case::random(seed, &functions).count(&mut counts));
    let never = coverage::never_drawn(&counts, &functions);
    assert!(never.is_empty(), "never drawn: {never:?}");
}
