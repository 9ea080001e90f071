//! Errors and notes on standard error. A mistake in a definition is shown under the SQL where it is.

use std::{
    fmt::{self, Display},
    io::Write,
    sync::OnceLock,
};

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource};
use watershed_batch::Secrets;
use watershed_pipelines::error::Diagnostic;

use crate::{
    error::{Error, Mistakes},
    output::{masked, shown_lines},
};

/// What no message may say; set once.
static SECRETS: OnceLock<Secrets> = OnceLock::new();
/// Mistakes that are shown at once.
const MISTAKES_MAX: usize = 100;

/// Keeps these texts out of all that is told from now on.
pub fn keep_secret(secrets: Secrets) {
    let _ = SECRETS.set(secrets);
}

/// Writes a line to standard error, with nothing in it that steers a terminal. That nobody reads it is no reason to stop.
pub fn note(line: impl Display) {
    write(&shown_lines(&line.to_string()));
}

fn write(text: &str) {
    let text = SECRETS.get().map_or_else(|| text.to_owned(), |secrets| secrets.hidden(text));
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Writes an error to standard error, with its causes.
pub fn error(error: &Error) {
    match error {
        // Colours are ours, the rest has been masked.
        Error::Definitions(mistakes) => write(mistakes_text(mistakes, is_plain()).trim_end()),
        other => {
            let mut text = format!("error: {other}");
            let mut cause = std::error::Error::source(other);
            while let Some(error) = cause {
                let line = error.to_string();
                // Most errors quote their cause already.
                if !text.contains(&line) {
                    text.push_str(&format!("\n  caused by: {line}"));
                }
                cause = error.source();
            }
            note(text);
        }
    }
}

fn is_plain() -> bool {
    use std::io::IsTerminal;
    !std::io::stderr().is_terminal() || std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty())
}

/// All mistakes, each under its text.
pub fn mistakes_text(mistakes: &Mistakes, plain: bool) -> String {
    let theme = if plain { GraphicalTheme::unicode_nocolor() } else { GraphicalTheme::unicode() };
    let handler = GraphicalReportHandler::new_themed(theme).with_links(false);
    let mut out = String::new();
    for diagnostic in mistakes.diagnostics.iter().take(MISTAKES_MAX) {
        let text = mistakes.texts.iter().find(|(name, _)| *name == diagnostic.file).map_or("", |(_, text)| text);
        let text = &*masked(text);
        let diagnostic = &harmless(diagnostic);
        let shown = Shown { diagnostic, source: NamedSource::new(&diagnostic.file, text.to_owned()), text };
        if handler.render_report(&mut out, &shown).is_err() {
            out.push_str(&format!("{}: {}\n", diagnostic.file, diagnostic.message));
        }
    }
    let count = mistakes.diagnostics.len();
    if count > 1 {
        out.push_str(&format!("{count} mistakes\n"));
    }
    if count > MISTAKES_MAX {
        out.push_str(&format!("the first {MISTAKES_MAX} are shown\n"));
    }
    out
}

/// A diagnostic whose words, which quote the text, do not steer a terminal.
fn harmless(diagnostic: &Diagnostic) -> Diagnostic {
    let line = |text: &str| shown_lines(text).into_owned();
    Diagnostic {
        message: line(&diagnostic.message),
        file: line(&diagnostic.file),
        span: diagnostic.span.clone(),
        label: line(&diagnostic.label),
        help: diagnostic.help.as_deref().map(line),
    }
}

/// A [`Diagnostic`] as miette wants it.
#[derive(Debug)]
struct Shown<'a> {
    diagnostic: &'a Diagnostic,
    source: NamedSource<String>,
    text: &'a str,
}

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.diagnostic.message)
    }
}

impl std::error::Error for Shown<'_> {}

impl miette::Diagnostic for Shown<'_> {
    fn help(&self) -> Option<Box<dyn Display + '_>> {
        self.diagnostic.help.as_ref().map(|help| Box::new(help) as Box<dyn Display>)
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        (!self.text.is_empty()).then_some(&self.source as &dyn miette::SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let end = self.text.len();
        let (from, to) = (self.diagnostic.span.start.min(end), self.diagnostic.span.end.min(end));
        let label = Some(self.diagnostic.label.clone()).filter(|label| !label.is_empty());
        Some(Box::new(std::iter::once(LabeledSpan::new(label, from, to.saturating_sub(from)))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_shown_under_its_sql() {
        let text = "CREATE VIEW v AS\nSELECT random() FROM payments;\n";
        let from = text.find("random").unwrap();
        let diagnostic = Diagnostic {
            message: "random() is volatile".to_owned(),
            file: "definitions/v.sql".to_owned(),
            span: from..from + 8,
            label: "not a function of the record".to_owned(),
            help: Some("hash a column".to_owned()),
        };
        let beyond = Diagnostic { span: 900..1000, ..diagnostic.clone() };
        let mistakes = Mistakes {
            texts: vec![("definitions/v.sql".to_owned(), text.to_owned())],
            diagnostics: vec![diagnostic, beyond],
        };
        let shown = mistakes_text(&mistakes, true);
        for part in [
            "definitions/v.sql:2:8",
            "random() is volatile",
            "not a function of the record",
            "hash a column",
            "2 mistakes",
        ] {
            assert!(shown.contains(part), "{part} is missing in\n{shown}");
        }
    }
}
