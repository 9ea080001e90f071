//! DuckDB, in a process of Python that lives as long as the test.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use serde_json::{Value, json};

use crate::support::tools::{self, Tools};

/// The process.
pub struct Oracle {
    child: Child,
    requests: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
}

/// What a request asks, step by step.
#[derive(Debug, Default)]
pub struct Request {
    tables: Vec<Value>,
    steps: Vec<Value>,
}

/// A column of an answer: name, DuckDB's type, how it is compared.
pub type Column = (String, String, String);

impl Request {
    /// A table with all its rows.
    pub fn table(&mut self, name: &str, columns: &[(String, String)], rows: &[Vec<Option<String>>]) {
        self.tables.push(json!({"name": name, "columns": columns, "rows": rows}));
    }

    /// A statement to run.
    pub fn run(&mut self, statement: &str) {
        self.steps.push(json!({"run": statement}));
    }

    /// A question, with Watershed's rows, or the reason why it has none. They are kept as a table of that name.
    pub fn compare(
        &mut self,
        name: &str,
        sql: &str,
        columns: &[Column],
        answer: &Result<Vec<Vec<Option<String>>>, String>,
        ordered: bool,
    ) {
        let mut step = json!({"name": name, "sql": sql, "columns": columns, "ordered": ordered, "keep": true});
        match answer {
            Ok(rows) => step["rows"] = json!(rows),
            Err(why) => step["failed"] = json!(why),
        }
        self.steps.push(step);
    }
}

impl Oracle {
    /// Starts it.
    pub fn start(tools: &Tools) -> Oracle {
        let mut command = tools.python();
        command.arg(tools::support().join("oracle.py")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("python3 runs");
        let requests = child.stdin.take();
        let replies = BufReader::new(child.stdout.take().expect("piped"));
        Oracle { child, requests, replies }
    }

    /// How many values were compared, or the differences.
    ///
    /// # Panics
    /// If DuckDB does not understand the request: a mistake of the test.
    pub fn ask(&mut self, request: &Request) -> Result<u64, Vec<String>> {
        let line = json!({"tables": request.tables, "steps": request.steps}).to_string();
        let requests = self.requests.as_mut().expect("it runs");
        writeln!(requests, "{line}").expect("it reads");
        let mut reply = String::new();
        self.replies.read_line(&mut reply).expect("it writes");
        let reply: Value =
            serde_json::from_str(&reply).unwrap_or_else(|error| panic!("{error}: {reply:?} is no reply"));
        let list = |name: &str| -> Vec<String> {
            reply[name]
                .as_array()
                .expect("a list")
                .iter()
                .map(|text| text.as_str().unwrap_or_default().to_owned())
                .collect()
        };
        let errors = list("errors");
        assert!(errors.is_empty(), "DuckDB does not understand: {}", errors.join("\n"));
        let differences = list("differences");
        if differences.is_empty() { Ok(reply["compared"].as_u64().expect("a number")) } else { Err(differences) }
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        drop(self.requests.take());
        let _ = self.child.wait();
    }
}
