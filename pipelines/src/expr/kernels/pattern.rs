//! `LIKE` and regular expressions, compiled once.

use polars::prelude as pl;
use polars_arrow::array::MutableBooleanArray;
use regex::{Regex, RegexBuilder};

use crate::{
    error::{Failure, PipelineError},
    expr::{
        Evaluated, Function,
        lanes::{Lanes, TEXT_BYTES_MAX, append, rows, text_rows},
    },
    types::DataType,
};

/// The largest compiled regular expression.
const REGEX_BYTES_MAX: usize = 4 << 20;

/// A prepared pattern function.
pub(crate) enum Pattern {
    /// The whole text is this.
    Is(String),
    /// `abc%`
    Starts(String),
    /// `%abc`
    Ends(String),
    /// `%abc%`
    Contains(String),
    /// Anything else.
    Matches(Regex),
    /// `REGEXP_REPLACE`
    Replace(Regex, String),
    /// `REGEXP_EXTRACT`
    Extract(Regex, usize),
}

impl Pattern {
    pub(crate) fn new(function: &Function) -> Result<Pattern, PipelineError> {
        match function {
            Function::Like { pattern, escape, case_insensitive } => like(pattern, *escape, *case_insensitive),
            Function::RegexpLike { pattern } => Ok(Pattern::Matches(compile(pattern)?)),
            Function::RegexpReplace { pattern, replacement } => {
                Ok(Pattern::Replace(compile(pattern)?, replacement.clone()))
            }
            Function::RegexpExtract { pattern, group } => {
                let regex = compile(pattern)?;
                if *group >= regex.captures_len() {
                    return Err(PipelineError::Definition(format!(
                        "the regular expression '{pattern}' has no capture group {group}; it has {}",
                        regex.captures_len() - 1
                    )));
                }
                Ok(Pattern::Extract(regex, *group))
            }
            _ => Err(PipelineError::Definition(format!("{function:?} has no pattern"))),
        }
    }

    pub(crate) fn evaluate(&self, argument: &pl::Column, height: usize) -> Result<Evaluated, PipelineError> {
        let texts = Lanes::<str>::new(argument)?;
        let matches = |test: &dyn Fn(&str) -> bool| {
            rows::<MutableBooleanArray>(height, DataType::Boolean, |i| Ok(texts.get(i).map(test)))
        };
        Ok(match self {
            Pattern::Is(text) => matches(&|t| t == text),
            Pattern::Starts(text) => matches(&|t| t.starts_with(text.as_str())),
            Pattern::Ends(text) => matches(&|t| t.ends_with(text.as_str())),
            Pattern::Contains(text) => matches(&|t| t.contains(text.as_str())),
            Pattern::Matches(regex) => matches(&|t| regex.is_match(t)),
            Pattern::Replace(regex, replacement) => text_rows(height, |i, out| {
                let Some(text) = texts.get(i) else { return Ok(false) };
                replace_all(regex, text, replacement, out)?;
                Ok(true)
            }),
            Pattern::Extract(regex, group) => text_rows(height, |i, out| {
                let Some(text) = texts.get(i) else { return Ok(false) };
                let found = if *group == 0 {
                    regex.find(text)
                } else {
                    regex.captures(text).and_then(|captures| captures.get(*group))
                };
                if let Some(found) = found {
                    out.push_str(found.as_str());
                }
                Ok(found.is_some())
            }),
        })
    }
}

/// [`Regex::replace_all`], unless the result could become too long.
fn replace_all(regex: &Regex, text: &str, replacement: &str, out: &mut String) -> Result<(), Failure> {
    // A reference to a group gives a part of the match.
    let references = replacement.bytes().filter(|byte| *byte == b'$').count();
    let mut last = 0;
    for captures in regex.captures_iter(text) {
        let Some(found) = captures.get(0) else { continue };
        append(out, &text[last..found.start()])?;
        let longest = references.saturating_mul(found.len()).saturating_add(replacement.len());
        if out.len().saturating_add(longest) > TEXT_BYTES_MAX {
            return Err(Failure::TextTooLong);
        }
        captures.expand(replacement, out);
        last = found.end();
    }
    append(out, &text[last..])
}

/// Compiles a regular expression; one that would take more than a few megabytes is refused.
pub(crate) fn regex(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).build()
}

fn compile(pattern: &str) -> Result<Regex, PipelineError> {
    regex(pattern).map_err(|e| PipelineError::Definition(format!("the regular expression '{pattern}': {e}")))
}

/// Without an escape character no character escapes.
fn like(pattern: &str, escape: Option<char>, case_insensitive: bool) -> Result<Pattern, PipelineError> {
    enum Part {
        Text(String),
        Any,
        One,
    }
    let mut parts: Vec<Part> = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        let literal = if Some(c) == escape {
            chars.next().ok_or_else(|| {
                PipelineError::Definition(format!("the LIKE pattern '{pattern}' ends with its escape character"))
            })?
        } else if c == '%' {
            if !matches!(parts.last(), Some(Part::Any)) {
                parts.push(Part::Any);
            }
            continue;
        } else if c == '_' {
            parts.push(Part::One);
            continue;
        } else {
            c
        };
        match parts.last_mut() {
            Some(Part::Text(text)) => text.push(literal),
            _ => parts.push(Part::Text(literal.to_string())),
        }
    }
    if !case_insensitive {
        match parts.as_slice() {
            [] => return Ok(Pattern::Is(String::new())),
            [Part::Text(text)] => return Ok(Pattern::Is(text.clone())),
            [Part::Text(text), Part::Any] => return Ok(Pattern::Starts(text.clone())),
            [Part::Any, Part::Text(text)] => return Ok(Pattern::Ends(text.clone())),
            [Part::Any, Part::Text(text), Part::Any] => return Ok(Pattern::Contains(text.clone())),
            _ => {}
        }
    }
    let mut regex = String::from(if case_insensitive { r"(?si)\A" } else { r"(?s)\A" });
    for part in &parts {
        match part {
            Part::Text(text) => regex.push_str(&regex::escape(text)),
            Part::Any => regex.push_str(".*"),
            Part::One => regex.push('.'),
        }
    }
    regex.push_str(r"\z");
    self::regex(&regex)
        .map(Pattern::Matches)
        .map_err(|e| PipelineError::Definition(format!("the LIKE pattern '{pattern}' is too large: {e}")))
}
