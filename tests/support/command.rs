//! Running the built command.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
};

use tempfile::TempDir;

use super::wait;

/// A directory with a project, and the environment that its commands get.
#[derive(Debug)]
pub struct Workplace {
    directory: PathBuf,
    /// Deleted with this value.
    _temporary: Option<TempDir>,
    /// Further environment variables.
    pub environment: Vec<(String, String)>,
}

/// What a command that has ended left behind.
#[derive(Debug)]
pub struct Ended {
    /// The command line, for messages.
    pub line: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Ended {
    /// Checks that it succeeded; gives its standard output.
    ///
    /// # Panics
    /// If it did not.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.status.success(), "{} ended with {}\n{}{}", self.line, self.status, self.out, self.err);
        self.out
    }

    /// Checks that it ended with this exit code; gives its standard error.
    ///
    /// # Panics
    /// If it did not.
    #[track_caller]
    pub fn fails(self, code: i32) -> String {
        assert_eq!(self.status.code(), Some(code), "{} wrote\n{}{}", self.line, self.out, self.err);
        self.err
    }

    /// Its standard output as JSON.
    ///
    /// # Panics
    /// If it failed or wrote something else.
    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        let line = self.line.clone();
        let out = self.ok();
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{line}: {error} in\n{out}"))
    }
}

impl Workplace {
    /// An empty directory.
    pub fn new() -> Workplace {
        // Short: the path of a Unix socket in it has at most 107 bytes.
        let directory = tempfile::Builder::new().prefix("ws").tempdir().expect("a temporary directory");
        let path = directory.path().to_owned();
        Workplace { directory: path, _temporary: Some(directory), environment: Vec::new() }
    }

    /// A directory that somebody else looks after; it is made.
    pub fn in_directory(directory: PathBuf) -> Workplace {
        std::fs::create_dir_all(&directory).expect("a directory");
        Workplace { directory, _temporary: None, environment: Vec::new() }
    }

    /// A project with these definitions.
    pub fn with_definitions(definitions: &[(&str, &str)]) -> Workplace {
        let workplace = Workplace::new();
        workplace.run(["init", "."]).ok();
        let folder = workplace.path().join("definitions");
        for entry in std::fs::read_dir(&folder).expect("init makes definitions/") {
            std::fs::remove_file(entry.expect("an entry").path()).expect("the template can be removed");
        }
        for (name, text) in definitions {
            std::fs::write(folder.join(name), text).expect("definitions can be written");
        }
        workplace
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Adds lines to `watershed.toml`. Sections that are there are taken away first, so `text` must give whole sections.
    pub fn configure(&self, text: &str) {
        let file = self.file("watershed.toml");
        let old = std::fs::read_to_string(&file).unwrap_or_default();
        let sections: Vec<&str> = text.lines().filter(|line| line.starts_with('[')).collect();
        let mut kept = String::new();
        let mut keep = true;
        for line in old.lines() {
            if line.starts_with('[') {
                keep = !sections.contains(&line.trim());
            }
            if keep {
                kept.push_str(line);
                kept.push('\n');
            }
        }
        std::fs::write(file, format!("{kept}\n{text}")).expect("watershed.toml can be written");
    }

    /// The command with these arguments, not started.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        self.program(env!("CARGO_BIN_EXE_watershed"), arguments)
    }

    fn program<S: AsRef<OsStr>>(&self, program: &str, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(self.path())
            .env_remove("RUST_LOG")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs the command to its end.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ended {
        self.run_with(arguments, b"")
    }

    /// Runs the command to its end, with this standard input.
    pub fn run_with<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>, input: &[u8]) -> Ended {
        let mut command = self.command(arguments);
        let line = format!("{command:?}");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command starts");
        let mut to_child = child.stdin.take().expect("piped");
        let output = std::thread::scope(|scope| {
            // A command that ends early need not read it all.
            scope.spawn(move || drop(to_child.write_all(input)));
            child.wait_with_output().expect("the command ends")
        });
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ended { line, status: output.status, out: text(output.stdout), err: text(output.stderr) }
    }

    /// Starts the command and leaves it running.
    pub fn start<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Running {
        self.start_program(env!("CARGO_BIN_EXE_watershed"), arguments)
    }

    /// Starts a program, such as a shell that starts the command, and leaves it running.
    pub fn start_program<S: AsRef<OsStr>>(&self, program: &str, arguments: impl IntoIterator<Item = S>) -> Running {
        let mut command = self.program(program, arguments);
        let line = format!("{command:?}");
        let errors = tempfile::NamedTempFile::new_in(self.path()).expect("a file");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors.reopen().expect("the same file"));
        let mut child = command.spawn().expect("the command starts");
        let out = child.stdout.take().map(BufReader::new);
        Running { line, child, out, errors }
    }
}

/// A command that runs. It is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    line: String,
    child: Child,
    out: Option<BufReader<ChildStdout>>,
    errors: tempfile::NamedTempFile,
}

impl Running {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn reader(&mut self) -> &mut BufReader<ChildStdout> {
        self.out.as_mut().expect("its output is open")
    }

    /// The next line of its standard output, `None` at the end.
    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.reader().read_line(&mut line).expect("its output can be read");
        (read > 0).then(|| line.trim_end().to_owned())
    }

    /// Takes its standard input, to write from another thread.
    pub fn take_input(&mut self) -> std::process::ChildStdin {
        self.child.stdin.take().expect("not taken yet")
    }

    /// Closes its standard input.
    pub fn close_input(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// What it wrote to standard error so far.
    pub fn errors(&self) -> String {
        std::fs::read_to_string(self.errors.path()).unwrap_or_default()
    }

    /// Kills it (SIGKILL) and reads what it had written to standard output.
    pub fn kill(mut self) -> String {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
        let mut out = String::new();
        self.reader().read_to_string(&mut out).expect("its output can be read");
        out
    }

    /// Sends a signal by name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.id().to_string()).status();
        assert!(status.expect("kill runs").success());
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Ended {
        self.close_input();
        // Reading ends with it: a full pipe must not keep it from ending.
        let mut out = String::new();
        self.reader().read_to_string(&mut out).expect("its output can be read");
        self.ended(out)
    }

    /// Closes its standard output, and waits for its end.
    pub fn close_output(mut self) -> Ended {
        self.close_input();
        self.out = None;
        self.ended(String::new())
    }

    fn ended(&mut self, out: String) -> Ended {
        let status = wait::until("the end of a command", || self.child.try_wait().expect("it can be waited for"));
        Ended { line: self.line.clone(), status, out, err: self.errors() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
