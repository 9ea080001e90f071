//! The `watershed` command, with the built-in functions only.

#[global_allocator]
static ALLOCATOR: watershed::HugePages = watershed::HugePages;

fn main() -> std::process::ExitCode {
    watershed::cli::main(watershed::Registry::new())
}
