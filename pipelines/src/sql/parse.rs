//! From text to statements. Each statement is parsed on its own, so that one mistake does not hide the others.

use std::ops::ControlFlow;

use sqlparser::{
    ast::{Expr, Query, SetExpr, Statement, Visit, Visitor},
    dialect::PostgreSqlDialect,
    parser::{Parser, ParserError},
    tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer},
};

use super::{
    bounds::{PATTERNS_MAX, check_text, check_tokens, has_pattern},
    diagnostic::{Mistake, Planned},
};

/// Operators nested deeper than this are refused: everything downstream recurses over expressions.
const MAX_DEPTH: usize = 128;

/// A parsed statement and its place.
pub(crate) struct Parsed {
    pub(crate) statement: Statement,
    pub(crate) span: Span,
}

/// All statements of a text, each with its mistake.
pub(crate) fn parse(text: &str) -> Vec<Planned<Parsed>> {
    if let Err(mistake) = check_text(text) {
        return vec![Err(mistake)];
    }
    let dialect = PostgreSqlDialect {};
    let tokens = match Tokenizer::new(&dialect, text).tokenize_with_location() {
        Ok(tokens) => tokens,
        Err(error) => {
            let at = Span::new(error.location, after(error.location));
            return vec![Err(Mistake::new(at, decapitalise(&error.message)).label("cannot be read"))];
        }
    };
    tokens
        .split(|t| t.token == Token::SemiColon)
        .filter(|statement| statement.iter().any(|t| says_something(&t.token)))
        .map(|statement| parse_statement(&dialect, statement))
        .collect()
}

fn says_something(token: &Token) -> bool {
    !matches!(token, Token::Whitespace(_) | Token::EOF)
}

fn parse_statement(dialect: &PostgreSqlDialect, all: &[TokenWithSpan]) -> Planned<Parsed> {
    let mut said = all.iter().filter(|t| says_something(&t.token)).map(|t| t.span);
    let first = said.next().unwrap_or(Span::empty());
    let span = first.union(&said.next_back().unwrap_or(first));
    check_tokens(all, span)?;
    let tokens = all.iter().filter(|t| says_something(&t.token)).cloned().collect();
    let mut parser = Parser::new(dialect).with_tokens_with_locations(without_table_keyword(tokens));
    let statement = parser.parse_statement().map_err(|error| parser_mistake(&error, span))?;
    let rest = parser.peek_token();
    if rest.token != Token::EOF {
        return Err(Mistake::new(rest.span, format!("expected the end of the statement, found `{rest}`"))
            .label("not expected here")
            .help("a comma before it, or `;` between statements, may be missing"));
    }
    match statement.visit(&mut Depth::default()) {
        ControlFlow::Continue(()) => {}
        ControlFlow::Break(TooMany::Levels) => {
            return Err(Mistake::new(span, format!("more than {MAX_DEPTH} operators are nested or in one chain"))
                .help("write long chains of OR as IN (…), or split them over several views"));
        }
        ControlFlow::Break(TooMany::Patterns) => {
            return Err(Mistake::new(span, format!("the statement has more than {PATTERNS_MAX} regular expressions"))
                .help("join alternatives as 'a|b', or split them over several views"));
        }
    }
    Ok(Parsed { statement, span })
}

/// Flink writes `TUMBLE(TABLE payments, …)`: the keyword says nothing, and the parser does not know it.
fn without_table_keyword(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let word = |t: &TokenWithSpan, wanted: &[&str]| matches!(&t.token, Token::Word(w) if w.quote_style.is_none() && wanted.iter().any(|n| w.value.eq_ignore_ascii_case(n)));
    let mut kept: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    for token in tokens {
        let in_window = matches!(kept.as_slice(), [.., name, open]
            if open.token == Token::LParen && word(name, &["tumble", "hop", "session", "cumulate"]));
        if !(in_window && word(&token, &["table"])) {
            kept.push(token);
        }
    }
    kept
}

fn parser_mistake(error: &ParserError, statement: Span) -> Box<Mistake> {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.as_str(),
        ParserError::RecursionLimitExceeded => {
            return Mistake::new(statement, "the statement is nested too deeply").help("split it into several views");
        }
    };
    let (text, location) = split_location(text);
    let end = Span::new(statement.end, after(statement.end));
    let at = location.map_or(end, |l| Span::new(l, after(l)));
    let Some((expected, found)) = text.strip_prefix("Expected: ").and_then(|t| t.split_once(", found: ")) else {
        return Mistake::new(at, decapitalise(text)).label("here");
    };
    if found == "EOF" {
        return Mistake::new(end, format!("expected {expected}, found the end of the statement")).label("it ends here");
    }
    let width = u64::try_from(found.chars().count()).unwrap_or(1);
    let at = location.map_or(end, |l| Span::new(l, Location::new(l.line, l.column + width)));
    Mistake::new(at, format!("expected {expected}, found `{found}`")).label("not expected here")
}

/// The parser appends the place to its messages.
fn split_location(text: &str) -> (&str, Option<Location>) {
    let Some((message, place)) = text.rsplit_once(" at Line: ") else { return (text, None) };
    let location = place
        .split_once(", Column: ")
        .and_then(|(line, column)| Some(Location::new(line.trim().parse().ok()?, column.trim().parse().ok()?)));
    (message, location)
}

fn after(location: Location) -> Location {
    Location::new(location.line, location.column + 1)
}

fn decapitalise(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

/// Why a statement is refused.
enum TooMany {
    Levels,
    Patterns,
}

/// Stops at the first expression or chain of `UNION` that is too deep, and at one regular expression too many.
#[derive(Default)]
struct Depth {
    now: usize,
    patterns: usize,
}

impl Visitor for Depth {
    type Break = TooMany;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<TooMany> {
        let mut body = &*query.body;
        let mut chain = 0;
        while let SetExpr::SetOperation { left, .. } = body {
            body = left;
            chain += 1;
        }
        if chain > MAX_DEPTH { ControlFlow::Break(TooMany::Levels) } else { ControlFlow::Continue(()) }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<TooMany> {
        self.now += 1;
        self.patterns += usize::from(has_pattern(expr));
        if self.now > MAX_DEPTH {
            return ControlFlow::Break(TooMany::Levels);
        }
        if self.patterns > PATTERNS_MAX { ControlFlow::Break(TooMany::Patterns) } else { ControlFlow::Continue(()) }
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<TooMany> {
        self.now -= 1;
        ControlFlow::Continue(())
    }
}
