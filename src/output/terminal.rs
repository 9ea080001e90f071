//! Texts of others on a terminal: data, names, and errors that quote them must not be able to steer it.

use std::borrow::Cow;

use watershed_pipelines::sql::is_deceptive;

/// A text on one line, for a table: control characters and what does not show are written as escapes.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    escaped(text, |c| !is_deceptive(c))
}

/// A text of several lines: as [`shown`], but line breaks and tabs stay.
pub(crate) fn shown_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| matches!(c, '\n' | '\t') || !is_deceptive(c))
}

fn escaped(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    if text.chars().all(&stays) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if stays(c) {
            out.push(c);
        } else if c.is_control() {
            out.extend(c.escape_debug());
        } else {
            out.extend(c.escape_unicode());
        }
    }
    Cow::Owned(out)
}

/// A text of the same length in bytes in which nothing steers a terminal, so that places in it stay where they are.
pub(crate) fn masked(text: &str) -> Cow<'_, str> {
    let stays = |c: char| matches!(c, '\n' | '\t') || !is_deceptive(c);
    if text.chars().all(stays) {
        return Cow::Borrowed(text);
    }
    let mask = |c: char| match (stays(c), c.len_utf8()) {
        (true, _) => c,
        // A carriage return before a line's end does not show.
        (false, 1) if c == '\r' => ' ',
        (false, 1) => '?',
        (false, 2) => '¿',
        (false, 3) => '\u{fffd}',
        (false, _) => '\u{1f6ab}',
    };
    Cow::Owned(text.chars().map(mask).collect())
}

/// JSON in which what steers a terminal is written as `\uXXXX`: the same JSON, for such characters can only stand within strings.
pub(crate) fn escaped_json(json: &str) -> Cow<'_, str> {
    if json.is_ascii() && !json.bytes().any(|byte| byte.is_ascii_control()) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if is_deceptive(c) && !c.is_ascii_whitespace() {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "a\u{1b}[2J\u{9b}31m\u{7f}\u{202e}evil\u{200b}\u{e0041}é\r";

    #[test]
    fn nothing_steers_a_terminal() {
        for text in [shown(HOSTILE), shown_lines(HOSTILE), masked(HOSTILE), escaped_json(&format!("\"{HOSTILE}\""))] {
            assert!(!text.contains(|c| is_deceptive(c) && c != '\r'), "{text:?}");
            assert!(text.contains('é'));
        }
        assert_eq!(masked(HOSTILE).len(), HOSTILE.len());
        assert_eq!(shown("a\tb\nc"), "a\\tb\\nc");
        assert_eq!(shown_lines("a\tb\nc"), "a\tb\nc");
    }

    #[test]
    fn json_stays_the_same_json() {
        let json = serde_json::to_string(HOSTILE).unwrap();
        assert_eq!(serde_json::from_str::<String>(&escaped_json(&json)).unwrap(), HOSTILE);
        assert_eq!(escaped_json("{\"a\": [1]}"), "{\"a\": [1]}");
    }
}
