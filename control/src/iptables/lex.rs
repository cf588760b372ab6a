//! Words of a line, as `iptables-restore` reads them and `iptables-save` writes them (`xtables_save_string`).

use std::borrow::Cow;

/// Octets of one rule at most.
pub const LINE_MAX: usize = 8192;
/// Words of one rule at most.
pub const WORDS_MAX: usize = 512;

/// Splits a line at blanks. Double quotes keep blanks together; inside of them `\` takes the next character as it is.
///
/// # Errors
///
/// When a quote stays open, a control character is in the line, or it is too long.
pub fn split(line: &str) -> Result<Vec<String>, String> {
    if line.len() > LINE_MAX {
        return Err(format!("the line is longer than {LINE_MAX} octets"));
    }
    let mut words = Vec::new();
    let (mut word, mut began, mut quoted, mut escaped) = (String::new(), false, false, false);
    for c in line.chars() {
        match c {
            _ if escaped => {
                word.push(c);
                escaped = false;
            }
            '\\' if quoted => escaped = true,
            '"' => {
                quoted = !quoted;
                began = true;
            }
            ' ' | '\t' if !quoted => {
                if began {
                    words.push(std::mem::take(&mut word));
                }
                began = false;
            }
            _ => {
                word.push(c);
                began = true;
            }
        }
    }
    if quoted {
        return Err("a double quote is not closed".to_owned());
    }
    if began {
        words.push(word);
    }
    check(&words)?;
    Ok(words)
}

/// Whether words may be part of a rule.
///
/// # Errors
///
/// When there are too many, or one has a control character: it could not be written in one line.
pub fn check(words: &[String]) -> Result<(), String> {
    if words.len() > WORDS_MAX || words.iter().map(String::len).sum::<usize>() > LINE_MAX {
        return Err(format!("more than {WORDS_MAX} words or {LINE_MAX} octets"));
    }
    match words.iter().find(|word| word.chars().any(char::is_control)) {
        Some(word) => Err(format!("control character in {word:?}")),
        None => Ok(()),
    }
}

/// A word as [`split`] reads it back: in quotes unless it consists of letters, digits, `_` and `-`.
pub fn quote(word: &str) -> Cow<'_, str> {
    if !word.is_empty() && word.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'-') {
        return Cow::Borrowed(word);
    }
    let mut quoted = String::with_capacity(word.len() + 2);
    quoted.push('"');
    for c in word.chars() {
        if matches!(c, '"' | '\\' | '\'') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    Cow::Owned(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_quotes_and_escapes() {
        assert_eq!(
            split(r#"-A  IN -m comment --comment "a \"b\" \\ c" """#).unwrap(),
            ["-A", "IN", "-m", "comment", "--comment", r#"a "b" \ c"#, ""]
        );
        assert_eq!(split(r"a\b it's").unwrap(), [r"a\b", "it's"]);
        assert!(split("\"a").unwrap_err().contains("not closed"));
        assert!(split("a\u{7}").unwrap_err().contains("control"));
        assert!(split(&"a".repeat(9000)).is_err() && split(&"a ".repeat(600)).is_err());
    }

    #[test]
    fn quoting_is_undone_by_splitting() {
        for text in ["", "plain", "it's", "a b", r#"\ and ""#, "-", "ü"] {
            assert_eq!(split(&quote(text)).unwrap(), [text]);
        }
    }
}
