//! What no definition or query may exceed, and names that must not be: a text that somebody else wrote must neither exhaust memory
//! nor say something else than it seems to.

use sqlparser::{
    ast,
    tokenizer::{Span, Token, TokenWithSpan, Whitespace},
};
use unicode_normalization::UnicodeNormalization;

use super::diagnostic::{Mistake, Planned};

/// The longest text: a file of definitions, or a query.
pub const TEXT_BYTES_MAX: usize = 1 << 20;
/// Statements in all texts of a project at most.
pub(crate) const DEFINITIONS_MAX: usize = 4096;
/// A statement's tokens at most (the parser builds chains of operators without counting their depth).
pub(crate) const TOKENS_MAX: usize = 20_000;
/// Columns of a table or a SELECT list at most.
pub(crate) const COLUMNS_MAX: usize = 1024;
/// Regular expressions in one statement at most: each may take megabytes when compiled.
pub(crate) const PATTERNS_MAX: usize = 16;
/// Partitions of all tables of a project at most: each has open files.
pub(crate) const PARTITIONS_MAX: u64 = 16_384;
/// The longest name.
const NAME_BYTES_MAX: usize = 255;
/// The longest name of a table: a folder is called so.
const TABLE_NAME_BYTES_MAX: usize = 128;
/// The longest name of a view as a part of an object's path, in which all but letters and digits takes three bytes.
const VIEW_SEGMENT_BYTES_MAX: usize = 240;

/// Whether a character does not show, or changes how others show: control characters, marks of direction, and what has no width.
pub fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Marks that turn the direction of what follows, also outside of where they stand.
fn turns(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Refuses a text that is too long to be looked at.
pub(crate) fn check_text(text: &str) -> Planned<()> {
    if text.len() <= TEXT_BYTES_MAX {
        return Ok(());
    }
    Err(Mistake::new(Span::empty(), format!("the text has {} bytes; {TEXT_BYTES_MAX} are possible", text.len()))
        .help("split it: a project has any number of definitions/*.sql"))
}

/// Refuses a statement's tokens if there are too many, or if a name or comment among them deceives.
pub(crate) fn check_tokens(tokens: &[TokenWithSpan], span: Span) -> Planned<()> {
    let words = tokens.iter().filter(|t| !matches!(t.token, Token::Whitespace(_))).count();
    if words > TOKENS_MAX {
        return Err(Mistake::new(span, format!("the statement has more than {TOKENS_MAX} words and signs"))
            .help("split it into several views"));
    }
    for token in tokens {
        match &token.token {
            Token::Word(word) => check_name(&word.value, token.span)?,
            Token::Whitespace(
                Whitespace::SingleLineComment { comment, .. } | Whitespace::MultiLineComment(comment),
            ) if comment.contains(turns) => {
                return Err(Mistake::new(token.span, "a comment has a mark that turns the direction of the text")
                    .label("it may show something else than what is read"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn check_name(name: &str, span: Span) -> Planned<()> {
    if let Some(c) = name.chars().find(|c| is_deceptive(*c)) {
        let code = c as u32;
        return Err(Mistake::new(span, format!("a name has the character U+{code:04X}, which does not show"))
            .label("not a name")
            .help("leave it out: names that look alike must be alike"));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(Mistake::new(span, format!("a name has {} bytes; {NAME_BYTES_MAX} are possible", name.len()))
            .label("too long"));
    }
    Ok(())
}

/// Refuses names of tables that cannot be a folder's name everywhere.
pub(crate) fn check_table_name(name: &str, span: Span) -> Planned<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let reserved = name == "lock" || name.ends_with(".tmp");
    if begins && !reserved && name.len() <= TABLE_NAME_BYTES_MAX && name.chars().all(plain) {
        return Ok(());
    }
    Err(Mistake::new(span, format!("a table cannot be called \"{}\"", name.escape_debug())).label("its log is a folder of this name").help(
        format!(
            "use at most {TABLE_NAME_BYTES_MAX} ASCII letters, digits, `_`, `-` or `.`, beginning with a letter, a digit or `_`; \
             not \"lock\" and not ending in \".tmp\""
        ),
    ))
}

/// Refuses names of views that do not fit into an object's path.
pub(crate) fn check_view_name(name: &str, span: Span) -> Planned<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'=');
    let bytes: usize = name.bytes().map(|byte| if plain(byte) { 1 } else { 3 }).sum();
    if (1..=VIEW_SEGMENT_BYTES_MAX).contains(&bytes) {
        return Ok(());
    }
    let what = if name.is_empty() { "a view has a name" } else { "the view's name is too long" };
    Err(Mistake::new(span, what).label("its files are in a folder of this name"))
}

/// What two names have in common that some file system, or a reader, cannot tell apart.
pub(crate) fn folded(name: &str) -> String {
    // Upper case first: it writes out what has no single letter there (ß).
    name.nfkc().collect::<String>().to_uppercase().to_lowercase().nfkc().collect()
}

/// Whether an expression is one that compiles a regular expression.
pub(crate) fn has_pattern(expr: &ast::Expr) -> bool {
    match expr {
        ast::Expr::Function(call) => call.name.0.last().is_some_and(|part| {
            let name = part.to_string();
            ["regexp_like", "regexp_replace", "regexp_extract"].iter().any(|known| name.eq_ignore_ascii_case(known))
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_deceives() {
        for c in ['\0', '\u{1b}', '\u{7f}', '\u{9b}', '\u{202e}', '\u{200b}', '\u{feff}', '\u{e0041}'] {
            assert!(is_deceptive(c), "{c:?}");
        }
        for c in ['a', ' ', 'é', '\u{301}', '日', 'ß', '👍', '\u{fffd}'] {
            assert!(!is_deceptive(c), "{c:?}");
        }
    }

    #[test]
    fn names_that_cannot_be_told_apart() {
        for (one, other) in
            [("Payments", "payments"), ("é", "e\u{301}"), ("ﬁle", "file"), ("STRASSE", "straße"), ("Å", "å")]
        {
            assert_eq!(folded(one), folded(other));
        }
        assert_ne!(folded("a"), folded("b"));
    }
}
