//! The subcommands, one per file: parse, call the library, print.

pub(crate) mod append;
pub(crate) mod batch;
pub(crate) mod completions;
pub(crate) mod datagen;
pub(crate) mod dead_letters;
pub(crate) mod demo;
pub(crate) mod epoch;
pub(crate) mod fsck;
pub(crate) mod gc;
pub(crate) mod init;
pub(crate) mod query;
pub(crate) mod rejected;
pub(crate) mod status;
pub(crate) mod up;
pub(crate) mod validate;
pub(crate) mod verify;
