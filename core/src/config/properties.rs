//! Java's properties format, in which Kafka's `server.properties` and `meta.properties` are.
//!
//! A line is a key, then `=`, `:` or blank space, then a value. `#` and `!` start a comment; a `\`
//! at a line's end joins it with the next, whose leading blanks go; `\t \n \r \f \uXXXX` are
//! escapes, and any other escaped character stands for itself. The last of several equal keys
//! wins, as in Java. The text is UTF-8, or else Latin-1.

use alloc::{borrow::Cow, string::String};
use core::{iter::Peekable, str::Chars};

use super::Entries;

/// A file that does not parse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PropertiesError {
    /// `\u` without four hexadecimal digits that name a character.
    #[error("line {line}: malformed \\uXXXX escape")]
    WrongEscape {
        /// The line, counted from 1.
        line: usize,
    },
}

/// Reads a properties file.
pub fn parse(bytes: &[u8]) -> Result<Entries, PropertiesError> {
    let text = match core::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        // Java reads such files as Latin-1, where every byte is the character of its number.
        Err(_) => Cow::Owned(bytes.iter().map(|byte| char::from(*byte)).collect()),
    };
    let text: &str = &text;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut entries = Entries::new();
    let mut reader = Reader {
        chars: text.chars().peekable(),
        line: 1,
    };
    while reader.next_entry()? {
        let key = reader.token(true)?;
        reader.separator();
        let value = reader.token(false)?;
        entries.insert(key, value);
    }
    Ok(entries)
}

/// Writes entries so that [`parse`] and Java read them back.
#[must_use]
pub fn format(entries: &Entries) -> String {
    let mut text = String::new();
    for (key, value) in entries {
        escape(key, true, &mut text);
        text.push('=');
        escape(value, false, &mut text);
        text.push('\n');
    }
    text
}

fn escape(text: &str, is_key: bool, out: &mut String) {
    for (at, char) in text.chars().enumerate() {
        match char {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{c}' => out.push_str("\\f"),
            // At the start of a file it would be a byte order mark.
            '\u{feff}' => out.push_str("\\ufeff"),
            '\\' => out.push_str("\\\\"),
            ' ' if is_key || at == 0 => out.push_str("\\ "),
            '=' | ':' | '#' | '!' if is_key => out.extend(['\\', char]),
            _ => out.push(char),
        }
    }
}

struct Reader<'a> {
    chars: Peekable<Chars<'a>>,
    line: usize,
}

fn is_blank(char: char) -> bool {
    matches!(char, ' ' | '\t' | '\u{c}')
}

impl Reader<'_> {
    fn bump(&mut self) -> Option<char> {
        let char = self.chars.next()?;
        if char == '\r' {
            self.chars.next_if_eq(&'\n');
            self.line += 1;
            return Some('\n');
        }
        self.line += usize::from(char == '\n');
        Some(char)
    }

    fn at_line_end(&mut self) -> bool {
        matches!(self.chars.peek(), None | Some('\n' | '\r'))
    }

    fn skip_blanks(&mut self) {
        while self.chars.next_if(|char| is_blank(*char)).is_some() {}
    }

    /// Moves to the next entry's first character; false at the end of the text.
    fn next_entry(&mut self) -> Result<bool, PropertiesError> {
        loop {
            self.skip_blanks();
            match self.chars.peek() {
                None => return Ok(false),
                Some('\n' | '\r') => {
                    self.bump();
                }
                Some('#' | '!') => {
                    while !self.at_line_end() {
                        self.bump();
                    }
                }
                Some(_) => return Ok(true),
            }
        }
    }

    /// A key (up to its separator) or a value (up to the line's end), escapes resolved.
    fn token(&mut self, is_key: bool) -> Result<String, PropertiesError> {
        let mut token = String::new();
        while !self.at_line_end() {
            if is_key
                && self
                    .chars
                    .peek()
                    .is_some_and(|char| is_blank(*char) || matches!(char, '=' | ':'))
            {
                break;
            }
            match self.bump() {
                Some('\\') => self.escaped(&mut token)?,
                Some(char) => token.push(char),
                None => break,
            }
        }
        Ok(token)
    }

    fn escaped(&mut self, token: &mut String) -> Result<(), PropertiesError> {
        match self.bump() {
            None => {}
            Some('\n') => self.skip_blanks(),
            Some('t') => token.push('\t'),
            Some('n') => token.push('\n'),
            Some('r') => token.push('\r'),
            Some('f') => token.push('\u{c}'),
            Some('u') => token.push(self.unicode()?),
            Some(char) => token.push(char),
        }
        Ok(())
    }

    /// The character of a `\uXXXX`, two of them for one beyond the basic plane (UTF-16).
    fn unicode(&mut self) -> Result<char, PropertiesError> {
        let line = self.line;
        let wrong = PropertiesError::WrongEscape { line };
        let first = self.four_digits().ok_or(wrong.clone())?;
        if let Some(char) = char::from_u32(first) {
            return Ok(char);
        }
        let escape = self.bump() == Some('\\') && self.bump() == Some('u');
        let second = self.four_digits().filter(|_| escape).ok_or(wrong.clone())?;
        let units = [u16::try_from(first), u16::try_from(second)];
        let units = units.into_iter().filter_map(Result::ok);
        char::decode_utf16(units)
            .next()
            .and_then(Result::ok)
            .ok_or(wrong)
    }

    fn four_digits(&mut self) -> Option<u32> {
        let mut number = 0;
        for _ in 0..4 {
            number = number * 16 + self.chars.next_if(char::is_ascii_hexdigit)?.to_digit(16)?;
        }
        Some(number)
    }

    fn separator(&mut self) {
        self.skip_blanks();
        if self
            .chars
            .next_if(|char| matches!(char, '=' | ':'))
            .is_some()
        {
            self.skip_blanks();
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use proptest::prelude::*;

    use super::*;

    fn one(text: &str, key: &str) -> String {
        one_of(text.as_bytes(), key)
    }

    fn one_of(bytes: &[u8], key: &str) -> String {
        parse(bytes).unwrap().remove(key).unwrap()
    }

    #[test]
    fn separators_comments_and_blanks_are_as_in_java() {
        let text = "# a comment\n! another\n\n  a = 1 \nb:2\nc 3\nd\ne==4\r\nf=5\rg=6";
        let entries = parse(text.as_bytes()).unwrap();
        let pairs: alloc::vec::Vec<_> = entries
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            pairs,
            [
                ("a", "1 "),
                ("b", "2"),
                ("c", "3"),
                ("d", ""),
                ("e", "=4"),
                ("f", "5"),
                ("g", "6")
            ]
        );
    }

    #[test]
    fn a_backslash_at_the_end_joins_the_next_line_without_its_blanks() {
        assert_eq!(one("a=1,\\\n    2,\\\r\n\t3", "a"), "1,2,3");
    }

    #[test]
    fn escapes_stand_for_their_characters() {
        assert_eq!(
            one("k\\ e\\=y=\\t\\u00e9\\ud83d\\ude00\\q", "k e=y"),
            "\té😀q"
        );
    }

    #[test]
    fn a_wrong_escape_is_refused_with_its_line() {
        let error = parse(b"a=1\nb=\\u12").unwrap_err();
        assert_eq!(error.to_string(), "line 2: malformed \\uXXXX escape");
        assert!(parse(b"b=\\ud83d").is_err());
    }

    #[test]
    fn a_file_that_is_not_utf_8_is_latin_1() {
        let text = b"# Gr\xfc\xdfe\r\na=\xe9\\u00e9\r\n";
        assert_eq!(one_of(text, "a"), "\u{e9}\u{e9}");
        assert_eq!(one("a=\u{e9}", "a"), "\u{e9}");
    }

    #[test]
    fn a_value_goes_on_over_lines_that_end_in_windows_fashion() {
        let text = "a = 1,\\\r\n    2,\\\r\n    3\r\nb : x\r\n  c\\:d   y z\r\ne=\\\r\n\r\nf=6";
        assert_eq!(one(text, "a"), "1,2,3");
        assert_eq!(one(text, "b"), "x");
        assert_eq!(one(text, "c:d"), "y z");
        assert_eq!(one(text, "e"), "");
        assert_eq!(one(text, "f"), "6");
    }

    #[test]
    fn the_last_of_equal_keys_wins() {
        assert_eq!(one("a=1\na=2", "a"), "2");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            entries in prop::collection::btree_map("[^\r]{1,12}", "[^\r]{0,12}", 0..6),
        ) {
            let entries: Entries = entries;
            prop_assert_eq!(parse(format(&entries).as_bytes()), Ok(entries));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(&bytes);
        }
    }
}
