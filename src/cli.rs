//! The command: what is parsed, and what every subcommand is given.

use std::{path::PathBuf, process::ExitCode};

use clap::{CommandFactory, Parser, Subcommand};
use watershed_pipelines::registry::Registry;

use crate::{
    commands,
    config::{Config, LoggingFormat, Overrides},
    error::Error,
    logging, report,
};

const EXIT_CODES: &str = "\
Exit codes:
   0  done
   1  failed; the message says what
   2  a mistake in the arguments, the configuration or a definition
   3  a difference: `verify` found one, a batch run differs from the speed layer or (with --full) from the runs before it, or
      the numbers of `status` do not add up
   4  the answer cannot be had: a view is being built or stalled, an epoch is no longer kept, or a limit of [query] is reached
   5  another process holds what this one needs
   6  `fsck` found damage that it can repair
   7  `fsck` found that something is lost
  75  the store failed for now; the same command may succeed later (EX_TEMPFAIL)";

/// Write a transform once; run it nightly and live; ask one question and get one exact answer.
#[derive(Parser, Debug)]
#[command(name = "watershed", version, after_help = EXIT_CODES, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Args, Debug)]
struct Global {
    /// The project's directory.
    #[arg(long, global = true, value_name = "DIR", default_value = ".", env = "WATERSHED_PROJECT")]
    project: PathBuf,
    /// Overrides a key of watershed.toml, e.g. `--set log.path=/data/log`. May be repeated.
    #[arg(long, global = true, value_name = "SECTION.KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
    /// What goes to standard error: error, warn, info, debug, trace, or a list such as info,watershed_batch=debug.
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
    /// The form of the lines on standard error.
    #[arg(long, global = true, value_name = "FORM")]
    log_format: Option<LoggingFormat>,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Shows what Watershed does, on real flights, in a minute.
    Demo(commands::demo::Args),
    /// Writes a new project that works as it is.
    Init(commands::init::Args),
    /// Checks the configuration and all definitions.
    Validate(commands::validate::Args),
    /// Appends records (JSON lines) to a table.
    Append(commands::append::Args),
    /// Folds the log into the store and moves the cut.
    Batch(commands::batch::Args),
    /// Runs the speed layer and the schedules until told to stop.
    Up(commands::up::Args),
    /// Answers a SELECT over the views, the newest records included.
    Query(commands::query::Args),
    /// Recomputes views in batch only, in speed only and merged at several cuts, and compares them byte for byte.
    Verify(commands::verify::Args),
    /// Checks every file, byte for byte; makes anew what is damaged, if asked.
    Fsck(commands::fsck::Args),
    /// Shows head, cut, epochs, freshness, sizes, and that no record is missing.
    Status(commands::status::Args),
    /// Lists the records that a table's schema refuses.
    DeadLetters(commands::dead_letters::Args),
    /// Lists the records for which an expression of a view fails.
    Rejected(commands::rejected::Args),
    /// Records an epoch: a durable position that a query can go back to.
    Epoch(commands::epoch::Args),
    /// Deletes what no kept manifest names.
    Gc(commands::gc::Args),
    /// Writes payments that look real, as JSON lines.
    Datagen(commands::datagen::Args),
    /// Writes a completion script for a shell.
    Completions(commands::completions::Args),
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if key.contains('.') => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("write SECTION.KEY=VALUE".to_owned()),
    }
}

/// How a command ended that did not fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// As it should.
    Done,
    /// What was compared differs (exit code 3).
    Different,
    /// Something is damaged that can be made anew (6).
    Damaged,
    /// Something is lost (7).
    Lost,
}

/// What every command is given.
#[derive(Clone, Debug)]
pub struct Context {
    /// The functions that definitions may call.
    pub registry: Registry,
    /// The project's directory.
    pub directory: PathBuf,
    /// Settings from flags.
    pub overrides: Overrides,
}

impl Context {
    /// Opens the project.
    pub fn project(&self) -> Result<crate::Project, Error> {
        crate::Project::open_with(&self.directory, self.registry.clone(), &self.overrides)
    }
}

/// Runs the command with this process's arguments. A binary of your own that calls it is the command plus your functions:
///
/// ```no_run
/// use watershed::{DataType, Registry, Value};
///
/// fn main() -> std::process::ExitCode {
///     let registry = Registry::new().scalar("shout", 1, &[DataType::Text], DataType::Text, |args| {
///         Ok(match &args[0] {
///             Value::Text(text) => Value::Text(text.to_uppercase()),
///             _ => Value::Null,
///         })
///     });
///     watershed::cli::main(registry)
/// }
/// ```
pub fn main(registry: Registry) -> ExitCode {
    let cli = Cli::parse();
    let mut overrides = Overrides { environment: None, settings: cli.global.set };
    if let Some(level) = cli.global.log_level {
        overrides.settings.push(("logging.level".to_owned(), level));
    }
    if let Some(format) = cli.global.log_format {
        let format = if format == LoggingFormat::Json { "json" } else { "plain" };
        overrides.settings.push(("logging.format".to_owned(), format.to_owned()));
    }
    let context = Context { registry, directory: cli.global.project, overrides };
    std::panic::set_hook(Box::new(|panic| {
        report::note(panic);
        if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
            report::note(std::backtrace::Backtrace::force_capture());
        }
    }));
    match run(cli.command, &context) {
        Ok(Exit::Done) => ExitCode::SUCCESS,
        Ok(Exit::Different) => ExitCode::from(3),
        Ok(Exit::Damaged) => ExitCode::from(6),
        Ok(Exit::Lost) => ExitCode::from(7),
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            report::error(&error);
            ExitCode::from(error.kind().exit_code())
        }
    }
}

fn run(command: Command, context: &Context) -> Result<Exit, Error> {
    // What goes wrong with the configuration is told by the command, if it needs one.
    let config = Config::load(&context.directory, &context.overrides)
        .or_else(|_| Config::without_file(&context.overrides))
        .unwrap_or_default();
    let secrets = config.secrets();
    report::keep_secret(secrets.clone());
    let is_service = matches!(command, Command::Up(_));
    logging::start(&config.logging, is_service, secrets)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Error::io("start threads for", &context.directory))?;
    let done = runtime.block_on(async {
        match command {
            Command::Demo(args) => commands::demo::run(args, context).await,
            Command::Init(args) => commands::init::run(&args, context),
            Command::Validate(args) => commands::validate::run(&args, context),
            Command::Append(args) => commands::append::run(args, context).await,
            Command::Batch(args) => commands::batch::run(args, context).await,
            Command::Up(args) => commands::up::run(args, context).await,
            Command::Query(args) => commands::query::run(args, context).await,
            Command::Verify(args) => commands::verify::run(args, context).await,
            Command::Fsck(args) => commands::fsck::run(args, context).await,
            Command::Status(args) => commands::status::run(args, context).await,
            Command::DeadLetters(args) => commands::dead_letters::run(args, context).await,
            Command::Rejected(args) => commands::rejected::run(args, context).await,
            Command::Epoch(args) => commands::epoch::run(args, context).await,
            Command::Gc(args) => commands::gc::run(args, context).await,
            Command::Datagen(args) => commands::datagen::run(&args),
            Command::Completions(args) => commands::completions::run(&args, Cli::command()),
        }
    });
    if done.is_ok() && !is_service {
        // All has been waited for that had something to finish: the threads' memory need not be given back one by one.
        runtime.shutdown_background();
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn settings_are_section_key_value() {
        assert_eq!(key_value("log.path=/a=b"), Ok(("log.path".to_owned(), "/a=b".to_owned())));
        assert!(key_value("log=/a").is_err() && key_value("log.path").is_err());
    }
}
