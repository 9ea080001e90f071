//! Names: folding to lower case, and what was perhaps meant.

use sqlparser::ast::{Ident, ObjectName, ObjectNamePart, Spanned};

use super::diagnostic::{Mistake, Planned};

/// Unquoted identifiers fold to lower case; quoted ones stay as they are.
pub(crate) fn fold(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// A name without qualification.
pub(crate) fn simple(name: &ObjectName) -> Planned<String> {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(ident)] => Ok(fold(ident)),
        _ => Err(Mistake::new(name.span(), format!("\"{name}\" is a qualified name"))
            .label("no schemas here")
            .help("write the name alone: a project has one namespace for its tables and views")),
    }
}

/// "did you mean …?", if one of the candidates is near.
pub(crate) fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(name, candidates).map(|c| format!("did you mean `{c}`?"))
}

/// The candidate within a third of the name's length in edits, the nearest one first.
fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let limit = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|c| (edit_distance(&name, &c.to_lowercase()), c))
        .filter(|(distance, c)| *distance <= limit && *distance < c.chars().count())
        .min()
        .map(|(_, c)| c)
}

/// The number of insertions, deletions, substitutions and swaps of neighbours between two words.
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let substitution = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = substitution.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_what_is_near() {
        assert_eq!(nearest("amuont", ["amount", "card"]), Some("amount"));
        assert_eq!(nearest("lenght", ["left", "length"]), Some("length"));
        assert_eq!(nearest("xyz", ["amount", "card"]), None);
        assert_eq!(nearest("n", ["m"]), None);
    }
}
