//! Whole-system tests: of the public library and of the built command.

mod support;

mod command;
mod crash;
mod flights;
mod parity;
mod processes;
mod readme;
mod store_s3;
