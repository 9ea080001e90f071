//! Texts and JSON.

use super::Outcome;
use crate::{error::Failure, expr::Function, types::Value};

pub(super) fn text(function: &Function, values: &[Value]) -> Outcome {
    use Function as F;
    let s = |i: usize| match &values[i] {
        Value::Text(text) => text.as_str(),
        other => panic!("{other:?} is not text"),
    };
    let n = |i: usize| match values[i] {
        Value::Int(n) => i128::from(n),
        _ => panic!(),
    };
    let chars: Vec<char> = s(0).chars().collect();
    let regex = |pattern: &str| regex::Regex::new(pattern).unwrap();
    let some = |text: Option<String>| text.map_or(Value::Null, Value::Text);
    // Characters at 1-based positions from ≤ p < to.
    let between = |from: i128, to: i128| {
        (1..).zip(&chars).filter(|(p, _)| from <= *p && *p < to).map(|(_, c)| *c).collect::<String>()
    };
    let count = chars.len() as i128;
    Ok(match function {
        F::Concat => Value::Text(s(0).to_owned() + s(1)),
        F::Like { pattern, escape, case_insensitive } => {
            let tokens = like_tokens(pattern, *escape);
            Value::Boolean(like(&tokens, &chars, *case_insensitive))
        }
        F::RegexpLike { pattern } => Value::Boolean(regex(pattern).is_match(s(0))),
        F::RegexpReplace { pattern, replacement } => {
            Value::Text(regex(pattern).replace_all(s(0), replacement.as_str()).into_owned())
        }
        F::RegexpExtract { pattern, group } => {
            some(regex(pattern).captures(s(0)).and_then(|c| c.get(*group).map(|m| m.as_str().to_owned())))
        }
        F::Lower => Value::Text(s(0).to_lowercase()),
        F::Upper => Value::Text(s(0).to_uppercase()),
        F::Length => Value::Int(chars.len() as i64),
        F::Trim => Value::Text(s(0).trim_start_matches(' ').trim_end_matches(' ').to_owned()),
        F::TrimStart => Value::Text(s(0).trim_start_matches(' ').to_owned()),
        F::TrimEnd => Value::Text(s(0).trim_end_matches(' ').to_owned()),
        F::Substring => {
            if values.len() < 3 {
                return Ok(Value::Text(between(n(1), i128::MAX)));
            }
            if n(2) < 0 {
                return Err(Failure::Domain);
            }
            Value::Text(between(n(1), n(1) + n(2)))
        }
        F::Left => Value::Text(between(1, if n(1) >= 0 { n(1) + 1 } else { count + n(1) + 1 })),
        F::Right => Value::Text(between(if n(1) >= 0 { count - n(1) + 1 } else { 1 - n(1) }, i128::MAX)),
        F::Replace if s(1).is_empty() => Value::Text(s(0).to_owned()),
        F::Replace => Value::Text(s(0).replace(s(1), s(2))),
        F::StartsWith => Value::Boolean(s(0).starts_with(s(1))),
        F::EndsWith => Value::Boolean(s(0).ends_with(s(1))),
        F::Contains => Value::Boolean(s(0).contains(s(1))),
        F::Position => {
            let part: Vec<char> = s(1).chars().collect();
            let at = (0..=chars.len()).find(|at| chars[*at..].starts_with(&part));
            Value::Int(at.map_or(0, |at| at as i64 + 1))
        }
        F::SplitPart => {
            if n(2) == 0 {
                return Err(Failure::Domain);
            }
            let parts: Vec<&str> = if s(1).is_empty() { vec![s(0)] } else { s(0).split(s(1)).collect() };
            let index = if n(2) > 0 { n(2) - 1 } else { parts.len() as i128 + n(2) };
            let part = usize::try_from(index).ok().and_then(|i| parts.get(i).copied());
            Value::Text(part.unwrap_or("").to_owned())
        }
        F::JsonValue { path } => some(json(s(0), path)),
        _ => panic!("{function:?} is not in the reference"),
    })
}

#[derive(Clone, Copy)]
enum Token {
    Any,
    One,
    Char(char),
}

fn like_tokens(pattern: &str, escape: Option<char>) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            c if Some(c) == escape => Token::Char(chars.next().unwrap()),
            '%' => Token::Any,
            '_' => Token::One,
            c => Token::Char(c),
        });
    }
    tokens
}

fn like(tokens: &[Token], text: &[char], fold: bool) -> bool {
    match (tokens.first(), text.first()) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some(Token::Any), _) => (0..=text.len()).any(|at| like(&tokens[1..], &text[at..], fold)),
        (Some(_), None) => false,
        (Some(Token::One), Some(_)) => like(&tokens[1..], &text[1..], fold),
        (Some(Token::Char(a)), Some(b)) => {
            // Simple case folding suffices for the characters of these tests.
            let lower = |c: char| c.to_lowercase().next().unwrap();
            let sigma = |c: char| if c == 'ς' { 'σ' } else { c };
            let equal = if fold { sigma(lower(*a)) == sigma(lower(*b)) } else { a == b };
            equal && like(&tokens[1..], &text[1..], fold)
        }
    }
}

/// Walks raw JSON texts, so that numbers keep theirs.
fn json(text: &str, path: &[String]) -> Option<String> {
    use std::collections::HashMap;
    let mut raw: Box<serde_json::value::RawValue> = serde_json::from_str(text).ok()?;
    for step in path {
        raw = match raw.get().as_bytes()[0] {
            b'{' => {
                let mut members: HashMap<String, Box<serde_json::value::RawValue>> =
                    serde_json::from_str(raw.get()).ok()?;
                members.remove(step)?
            }
            b'[' => {
                let mut items: Vec<Box<serde_json::value::RawValue>> = serde_json::from_str(raw.get()).ok()?;
                let index: usize = step.parse().ok()?;
                if index >= items.len() {
                    return None;
                }
                items.swap_remove(index)
            }
            _ => return None,
        };
    }
    match raw.get().as_bytes()[0] {
        b'{' | b'[' | b'n' => None,
        b'"' => serde_json::from_str(raw.get()).ok(),
        _ => Some(raw.get().to_owned()),
    }
}
