//! The `watershed` command, with the built-in functions only.

fn main() -> std::process::ExitCode {
    watershed::cli::main(watershed::Registry::new())
}
