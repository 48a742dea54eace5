//! HTTP header grammar: tokens, quoted strings, lists (RFC 9110 5.6), and linear white space as
//! RFC 2616 2.2 had it, since folded headers still arrive.
//!
//! This works on characters, because pywebsocket's Python API counts positions in characters.

const SEPARATORS: &str = "()<>@,;:\\\"/[]?={} \t";

/// Whether a token may contain a character.
pub fn is_token_char(c: char) -> bool {
    matches!(c, '!'..='~') && !SEPARATORS.contains(c)
}

/// Whether a text is one token.
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_token_char)
}

/// Reads a header value from left to right.
#[derive(Debug, Clone)]
pub struct Scanner<'a> {
    data: &'a [char],
    head: usize,
}

impl<'a> Scanner<'a> {
    /// A scanner at character `head`.
    pub fn new(data: &'a [char], head: usize) -> Self {
        Self { data, head: head.min(data.len()) }
    }

    /// The current position.
    pub fn head(&self) -> usize {
        self.head
    }

    /// The next character.
    pub fn peek(&self) -> Option<char> {
        self.data.get(self.head).copied()
    }

    /// Takes the next character if it is `expected`.
    pub fn eat(&mut self, expected: char) -> bool {
        let found = self.peek() == Some(expected);
        self.head += usize::from(found);
        found
    }

    /// Takes `[CRLF] 1*(SP | HT)`.
    pub fn lws(&mut self) -> bool {
        let start = self.head;
        if self.data[self.head..].starts_with(&['\r', '\n']) {
            self.head += 2;
        }
        let blanks = self.head;
        while matches!(self.peek(), Some(' ' | '\t')) {
            self.head += 1;
        }
        if self.head == blanks {
            self.head = start;
        }
        self.head > start
    }

    /// Takes any number of [`Self::lws`].
    pub fn skip_lws(&mut self) {
        while self.lws() {}
    }

    /// Takes a token.
    pub fn token(&mut self) -> Option<String> {
        let start = self.head;
        while self.peek().is_some_and(is_token_char) {
            self.head += 1;
        }
        (self.head > start).then(|| self.data[start..self.head].iter().collect())
    }

    /// Takes a quoted-string and unquotes it.
    pub fn quoted_string(&mut self) -> Option<String> {
        let start = self.head;
        let text = self.quoted_text();
        if text.is_none() {
            self.head = start;
        }
        text
    }

    fn quoted_text(&mut self) -> Option<String> {
        if !self.eat('"') {
            return None;
        }
        let mut text = String::new();
        loop {
            if self.lws() {
                text.push(' ');
                continue;
            }
            let c = self.take()?;
            match c {
                '"' => return Some(text),
                '\\' => {
                    let quoted = self.take()?;
                    if !quoted.is_ascii() {
                        return None;
                    }
                    text.push(quoted);
                }
                c if is_control(c) => return None,
                c => text.push(c),
            }
        }
    }

    fn take(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.head += 1;
        Some(c)
    }

    /// The rest, for an error message.
    fn found(&self) -> String {
        self.peek().map(|c| format!("'{c}'")).unwrap_or_default()
    }
}

/// The most tokens in a list. Clients name a few subprotocols, and each needs a Python object.
const MAX_TOKENS: usize = 256;

/// Parses `1#token`.
///
/// # Errors
/// The sentence that pywebsocket logs.
pub fn parse_token_list(data: &str) -> Result<Vec<String>, String> {
    let chars: Vec<char> = data.chars().collect();
    let mut scanner = Scanner::new(&chars, 0);
    let mut tokens = Vec::new();
    loop {
        if let Some(token) = scanner.token() {
            if tokens.len() == MAX_TOKENS {
                return Err(format!("More than {MAX_TOKENS} tokens"));
            }
            tokens.push(token);
        }
        scanner.skip_lws();
        if scanner.peek().is_none() {
            break;
        }
        if !scanner.eat(',') {
            return Err(format!("Expected a comma but found {}", scanner.found()));
        }
        scanner.skip_lws();
    }
    if tokens.is_empty() {
        return Err("No valid token found".to_owned());
    }
    Ok(tokens)
}

/// Returns a value as a token if it is one, otherwise as a quoted-string.
pub fn quote_if_necessary(value: &str) -> String {
    if is_token(value) {
        return value.to_owned();
    }
    let mut quoted = String::from('"');
    for c in value.chars() {
        if c == '"' || is_control(c) {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

fn is_control(c: char) -> bool {
    c <= '\x1f' || c == '\x7f'
}

#[cfg(test)]
#[allow(clippy::redundant_closure_for_method_calls, reason = "a path has one lifetime only")]
mod tests {
    use super::*;

    fn scan<T>(data: &str, step: impl Fn(&mut Scanner<'_>) -> T) -> (T, usize) {
        let chars: Vec<char> = data.chars().collect();
        let mut scanner = Scanner::new(&chars, 0);
        let result = step(&mut scanner);
        (result, scanner.head())
    }

    #[test]
    fn a_failed_step_takes_nothing() {
        assert_eq!(scan("\r\nx", |s| s.lws()), (false, 0));
        assert_eq!(scan("(x", |s| s.token()), (None, 0));
        assert_eq!(scan("\"open", |s| s.quoted_string()), (None, 0));
        assert_eq!(scan("\"a\\\u{e9}\"", |s| s.quoted_string()), (None, 0));
    }

    #[test]
    fn quoted_strings_are_unquoted() {
        assert_eq!(scan("\"a \\\" b\"x", |s| s.quoted_string()), (Some("a \" b".into()), 8));
        assert_eq!(scan("\"a\r\n\tb\"", |s| s.quoted_string()), (Some("a b".into()), 7));
        for text in ["\"a", "\"a\\", "\"a\x00b\"", "\"a\x7fb\"", "\"a\\é\"", "a"] {
            assert_eq!(scan(text, |s| s.quoted_string()), (None, 0), "{text:?}");
        }
    }

    #[test]
    fn lists_may_have_empty_elements_but_not_only_those() {
        assert_eq!(parse_token_list(", a,\r\n b ,,"), Ok(vec!["a".into(), "b".into()]));
        assert_eq!(parse_token_list(",,"), Err("No valid token found".into()));
        assert_eq!(parse_token_list("a b"), Err("Expected a comma but found 'b'".into()));
    }

    #[test]
    fn a_list_has_no_more_tokens_than_anybody_needs() {
        assert!(parse_token_list(&"a,".repeat(MAX_TOKENS)).is_ok());
        assert!(parse_token_list(&"a,".repeat(MAX_TOKENS + 1)).is_err());
    }

    #[test]
    fn quotes_only_what_is_no_token() {
        assert_eq!(quote_if_necessary("abc"), "abc");
        assert_eq!(quote_if_necessary(""), "\"\"");
        assert_eq!(quote_if_necessary("a b"), "\"a b\"");
        assert_eq!(quote_if_necessary("a\"b"), "\"a\\\"b\"");
        assert_eq!(quote_if_necessary("a\nb"), "\"a\\\nb\"");
    }
}
