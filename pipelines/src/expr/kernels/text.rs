//! Functions of text. Positions and lengths count characters (Unicode code points).

use polars::prelude as pl;
use polars_arrow::array::MutableBooleanArray;

use crate::{
    error::{Failure, PipelineError},
    expr::{
        Evaluated, Function,
        lanes::{Lanes, Numbers, append, integers, rows, text_rows},
    },
    types::DataType,
};

pub(crate) fn evaluate(
    function: &Function,
    arguments: &[pl::Column],
    height: usize,
) -> Result<Evaluated, PipelineError> {
    match function {
        Function::Length => {
            let texts = Lanes::<str>::new(&arguments[0])?;
            Ok(rows::<Numbers<i32>>(height, DataType::Int, |i| {
                texts.get(i).map(|t| count(t.chars().count())).transpose()
            }))
        }
        Function::StartsWith => test(arguments, height, |text, part| text.starts_with(part)),
        Function::EndsWith => test(arguments, height, |text, part| text.ends_with(part)),
        Function::Contains => test(arguments, height, |text, part| text.contains(part)),
        Function::Position => {
            let (texts, parts) = (Lanes::<str>::new(&arguments[0])?, Lanes::<str>::new(&arguments[1])?);
            Ok(rows::<Numbers<i32>>(height, DataType::Int, |i| match (texts.get(i), parts.get(i)) {
                (Some(text), Some(part)) => match text.find(part) {
                    Some(at) => count(text[..at].chars().count() + 1).map(Some),
                    None => Ok(Some(0)),
                },
                _ => Ok(None),
            }))
        }
        Function::Concat => concat(arguments, height),
        Function::Substring => substring(arguments, height),
        Function::Left | Function::Right => side(*function == Function::Left, arguments, height),
        Function::Replace => replace(arguments, height),
        Function::SplitPart => split_part(arguments, height),
        _ => change(function, &arguments[0], height),
    }
}

fn count(characters: usize) -> Result<i32, Failure> {
    i32::try_from(characters).map_err(|_| Failure::OutOfRange)
}

fn test(
    arguments: &[pl::Column],
    height: usize,
    test: impl Fn(&str, &str) -> bool,
) -> Result<Evaluated, PipelineError> {
    let (texts, parts) = (Lanes::<str>::new(&arguments[0])?, Lanes::<str>::new(&arguments[1])?);
    Ok(rows::<MutableBooleanArray>(height, DataType::Boolean, |i| match (texts.get(i), parts.get(i)) {
        (Some(text), Some(part)) => Ok(Some(test(text, part))),
        _ => Ok(None),
    }))
}

fn change(function: &Function, argument: &pl::Column, height: usize) -> Result<Evaluated, PipelineError> {
    let texts = Lanes::<str>::new(argument)?;
    Ok(text_rows(height, |i, out| {
        let Some(text) = texts.get(i) else { return Ok(false) };
        match function {
            Function::Lower => out.push_str(&text.to_lowercase()),
            Function::Upper => out.push_str(&text.to_uppercase()),
            Function::TrimStart => out.push_str(text.trim_start_matches(' ')),
            Function::TrimEnd => out.push_str(text.trim_end_matches(' ')),
            _ => out.push_str(text.trim_matches(' ')),
        }
        Ok(true)
    }))
}

fn concat(arguments: &[pl::Column], height: usize) -> Result<Evaluated, PipelineError> {
    let parts = arguments.iter().map(Lanes::<str>::new).collect::<Result<Vec<_>, _>>()?;
    Ok(text_rows(height, |i, out| {
        for part in &parts {
            match part.get(i) {
                Some(text) => append(out, text)?,
                None => return Ok(false),
            }
        }
        Ok(true)
    }))
}

/// The byte where character number `index` begins; the text's end beyond it.
fn byte_of(text: &str, index: usize) -> usize {
    text.char_indices().nth(index).map_or(text.len(), |(at, _)| at)
}

/// Characters `from..from + count`, 1-based: those before the first count, too, but are not there. A negative count fails.
fn substring(arguments: &[pl::Column], height: usize) -> Result<Evaluated, PipelineError> {
    let (texts, starts) = (Lanes::<str>::new(&arguments[0])?, integers(&arguments[1])?);
    let counts = arguments.get(2).map(integers).transpose()?;
    Ok(text_rows(height, |i, out| {
        let (Some(text), Some(start)) = (texts.get(i), starts.get(i)) else { return Ok(false) };
        let end = match &counts {
            Some(counts) => match counts.get(i) {
                Some(count) if count < 0 => return Err(Failure::Domain),
                Some(count) => start.saturating_add(count),
                None => return Ok(false),
            },
            None => i64::MAX,
        };
        let first = usize::try_from(start.max(1) - 1).unwrap_or(usize::MAX);
        let length = usize::try_from(end.saturating_sub(start.max(1))).unwrap_or(0);
        let rest = &text[byte_of(text, first)..];
        out.push_str(&rest[..byte_of(rest, length)]);
        Ok(true)
    }))
}

/// `LEFT` and `RIGHT`; a negative number leaves out so many characters at the other end.
fn side(left: bool, arguments: &[pl::Column], height: usize) -> Result<Evaluated, PipelineError> {
    let (texts, counts) = (Lanes::<str>::new(&arguments[0])?, integers(&arguments[1])?);
    Ok(text_rows(height, |i, out| {
        let (Some(text), Some(count)) = (texts.get(i), counts.get(i)) else { return Ok(false) };
        let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
        let at = match (left, count >= 0) {
            (true, true) | (false, false) => byte_of(text, wanted),
            // From the end.
            _ => byte_of(text, text.chars().count().saturating_sub(wanted)),
        };
        out.push_str(if left { &text[..at] } else { &text[at..] });
        Ok(true)
    }))
}

fn replace(arguments: &[pl::Column], height: usize) -> Result<Evaluated, PipelineError> {
    let lanes = arguments.iter().map(Lanes::<str>::new).collect::<Result<Vec<_>, _>>()?;
    Ok(text_rows(height, |i, out| {
        let (Some(text), Some(from), Some(to)) = (lanes[0].get(i), lanes[1].get(i), lanes[2].get(i)) else {
            return Ok(false);
        };
        if from.is_empty() {
            out.push_str(text);
            return Ok(true);
        }
        let mut last = 0;
        for (at, part) in text.match_indices(from) {
            append(out, &text[last..at])?;
            append(out, to)?;
            last = at + part.len();
        }
        append(out, &text[last..])?;
        Ok(true)
    }))
}

/// Part number `n` from the left, or from the right if negative; zero fails. An empty separator does not separate.
fn split_part(arguments: &[pl::Column], height: usize) -> Result<Evaluated, PipelineError> {
    let (texts, separators) = (Lanes::<str>::new(&arguments[0])?, Lanes::<str>::new(&arguments[1])?);
    let numbers = integers(&arguments[2])?;
    Ok(text_rows(height, |i, out| {
        let (Some(text), Some(separator), Some(number)) = (texts.get(i), separators.get(i), numbers.get(i)) else {
            return Ok(false);
        };
        if number == 0 {
            return Err(Failure::Domain);
        }
        let index = usize::try_from(number.unsigned_abs() - 1).unwrap_or(usize::MAX);
        let part = if separator.is_empty() {
            (index == 0).then_some(text)
        } else if number > 0 {
            text.split(separator).nth(index)
        } else {
            // Not `rsplit`, which may divide overlapping separators otherwise.
            let parts = text.split(separator).count();
            parts.checked_sub(index.saturating_add(1)).and_then(|n| text.split(separator).nth(n))
        };
        out.push_str(part.unwrap_or(""));
        Ok(true)
    }))
}
