//! Whole-system tests: of the public library and of the built command.

mod support;

mod store_s3;
