//! Whole-system tests: of the public library and of the built command.

#![expect(clippy::print_stderr, reason = "seeds, and tests that are left out, are told on standard error")]

mod support;

mod command;
mod damage;
mod definitions;
mod faults;
mod flights;
mod formats;
mod hostile;
mod killed;
mod load;
mod numbered;
mod parity;
mod processes;
mod readme;
mod simulation;
mod store_faults;
mod store_outages;
mod store_s3;
mod time;
mod verify;
mod verify_reports;
