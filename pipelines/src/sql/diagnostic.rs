//! Mistakes with their place: from the parser's lines and columns to bytes of the text, and a plain rendering.

use std::ops::Range;

use sqlparser::tokenizer::{Location, Span};

use crate::error::Diagnostic;

/// A diagnostic under its text, for places without a terminal: message, place, the line with the wrong part underlined, help.
pub fn render(diagnostic: &Diagnostic, text: &str) -> String {
    let start = floor_boundary(text, diagnostic.span.start);
    let end = floor_boundary(text, diagnostic.span.end).max(start);
    let line_start = text[..start].rfind('\n').map_or(0, |i| i + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |i| start + i);
    let number = text[..start].matches('\n').count() + 1;
    let column = text[line_start..start].chars().count() + 1;
    let line = text[line_start..line_end].trim_end_matches('\r');
    let gutter = " ".repeat(number.to_string().len());
    let lead: String = text[line_start..start].chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    let width = text[start..end.min(line_end)].chars().count().max(1);
    let mut out = format!(
        "error: {}\n{gutter}--> {}:{number}:{column}\n{gutter} |\n{number} | {line}\n{gutter} | {lead}{}",
        diagnostic.message,
        diagnostic.file,
        "^".repeat(width)
    );
    if !diagnostic.label.is_empty() {
        out.push(' ');
        out.push_str(&diagnostic.label);
    }
    out.push('\n');
    if let Some(help) = &diagnostic.help {
        for (i, line) in help.lines().enumerate() {
            out.push_str(&format!("{gutter} {} {line}\n", if i == 0 { "= help:" } else { "       " }));
        }
    }
    out
}

fn floor_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// A mistake while planning: its place is still the parser's, and there may be more of them.
#[derive(Clone, Debug)]
pub(crate) struct Mistake {
    message: String,
    span: Span,
    label: String,
    help: Option<String>,
    more: Vec<Mistake>,
}

/// What planning gives. Boxed, because mistakes are large and rare.
pub(crate) type Planned<T> = Result<T, Box<Mistake>>;

impl Mistake {
    pub(crate) fn new(span: Span, message: impl Into<String>) -> Box<Mistake> {
        Box::new(Mistake { message: message.into(), span, label: String::new(), help: None, more: Vec::new() })
    }

    /// The words beside the underline.
    pub(crate) fn label(mut self: Box<Self>, label: impl Into<String>) -> Box<Self> {
        self.label = label.into();
        self
    }

    /// What would be right.
    pub(crate) fn help(mut self: Box<Self>, help: impl Into<String>) -> Box<Self> {
        self.help = Some(help.into());
        self
    }

    /// As [`Mistake::help`], if there is something to say and nothing was said yet.
    pub(crate) fn maybe_help(mut self: Box<Self>, help: Option<String>) -> Box<Self> {
        self.help = self.help.or(help);
        self
    }

    /// Help where there is none yet.
    pub(crate) fn or_help(mut self: Box<Self>, help: impl FnOnce() -> String) -> Box<Self> {
        self.help.get_or_insert_with(help);
        self
    }

    /// Gives a place to a mistake that has none.
    pub(crate) fn at(mut self: Box<Self>, span: Span) -> Box<Self> {
        if self.span == Span::empty() {
            self.span = span;
        }
        self
    }

    /// All of them with their places in `text`. `statement` stands in where the parser kept no place.
    pub(crate) fn diagnostics(self, text: &Text<'_>, statement: Span) -> Vec<Diagnostic> {
        let span = if self.span == Span::empty() { statement } else { self.span };
        let mut all = vec![Diagnostic {
            message: self.message,
            file: text.name.to_owned(),
            span: text.range(span),
            label: self.label,
            help: self.help,
        }];
        for mistake in self.more {
            all.extend(mistake.diagnostics(text, statement));
        }
        all
    }
}

/// All values, or all mistakes.
pub(crate) fn all<T>(results: impl IntoIterator<Item = Planned<T>>) -> Planned<Vec<T>> {
    let mut values = Vec::new();
    let mut first: Option<Box<Mistake>> = None;
    for result in results {
        match result {
            Ok(value) => values.push(value),
            Err(mistake) => match &mut first {
                None => first = Some(mistake),
                // One place is blamed once: what follows there follows from it.
                Some(first) if first.span == mistake.span && first.span != Span::empty() => {}
                Some(first) => first.more.push(*mistake),
            },
        }
    }
    first.map_or(Ok(values), Err)
}

/// Two results, or the mistakes of both.
pub(crate) fn both<A, B>(a: Planned<A>, b: Planned<B>) -> Planned<(A, B)> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (Err(mut a), Err(b)) => {
            a.more.push(*b);
            Err(a)
        }
        (Err(mistake), _) | (_, Err(mistake)) => Err(mistake),
    }
}

/// A text, to turn the parser's lines and columns (in characters, from 1) into bytes.
pub(crate) struct Text<'a> {
    pub(crate) name: &'a str,
    pub(crate) text: &'a str,
    line_starts: Vec<usize>,
}

impl<'a> Text<'a> {
    pub(crate) fn new(name: &'a str, text: &'a str) -> Text<'a> {
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i + 1)).collect();
        Text { name, text, line_starts }
    }

    fn offset(&self, location: Location) -> usize {
        let line = usize::try_from(location.line.max(1)).unwrap_or(usize::MAX) - 1;
        let Some(&start) = self.line_starts.get(line) else { return self.text.len() };
        let column = usize::try_from(location.column.max(1)).unwrap_or(usize::MAX) - 1;
        self.text[start..].char_indices().nth(column).map_or(self.text.len(), |(i, _)| start + i)
    }

    fn range(&self, span: Span) -> Range<usize> {
        if span == Span::empty() {
            return 0..self.text.len();
        }
        let start = self.offset(span.start);
        let end = self.offset(span.end).max(start);
        start..self.close_parentheses(start, end)
    }

    /// The parser's spans leave out a call's closing parenthesis: goes on to where those opened in the range are closed.
    fn close_parentheses(&self, start: usize, end: usize) -> usize {
        let mut open = 0i64;
        let mut quote = None;
        for (i, c) in self.text[start..].char_indices() {
            let at = start + i;
            if at >= end && (open <= 0 || quote.is_some()) {
                return end;
            }
            match quote {
                Some(q) => quote = (c != q).then_some(q),
                None => match c {
                    '\'' | '"' => quote = Some(c),
                    '(' => open += 1,
                    ')' => {
                        open -= 1;
                        if at >= end && open <= 0 {
                            return at + 1;
                        }
                    }
                    ';' if at >= end => return end,
                    _ => {}
                },
            }
        }
        end
    }
}
