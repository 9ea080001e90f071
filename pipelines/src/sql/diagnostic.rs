//! Mistakes with their place: from the parser's lines and columns to bytes of the text, and a plain rendering.

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
