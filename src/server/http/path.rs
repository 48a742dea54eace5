//! The path of a plain HTTP request: percent-decoding, dot segments, query.
//!
//! This module handles text only; `locate` finds what a path names on disk. Targets are read as by
//! Python's `http.server`: everything is a path, even an `http:` URI, and a fragment is removed.

use std::fmt::Write;

/// The resource of a request target, relative to the document root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resource {
    /// The names in the path, decoded. None is empty, `.` or `..`, and none contains a slash or
    /// NUL.
    pub(super) segments: Vec<Vec<u8>>,
    /// Whether the path ends in a slash, so that it can only name a directory.
    pub(super) slash: bool,
    /// Whether there were `..` segments.
    pub(super) climbs: bool,
    /// The text after the question mark, undecoded.
    pub(super) query: Option<String>,
    /// The path, undecoded.
    path: String,
}

impl Resource {
    /// Reads a target; `None` if it leads out of the document root or has a NUL.
    pub(super) fn parse(target: &str) -> Option<Self> {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        let path = path.split_once('#').map_or(path, |(path, _)| path);
        let decoded = decode(path);
        let mut segments: Vec<Vec<u8>> = Vec::new();
        let (mut slash, mut climbs) = (true, false);
        for segment in decoded.split(|byte| *byte == b'/') {
            slash = matches!(segment, b"" | b"." | b"..");
            match segment {
                b"" | b"." => {}
                b".." => {
                    climbs = true;
                    segments.pop()?;
                }
                segment if segment.contains(&0) => return None,
                segment => segments.push(segment.to_vec()),
            }
        }
        Some(Self { segments, slash, climbs, query, path: path.to_owned() })
    }

    /// The location of a directory that was requested without its slash.
    pub(super) fn with_slash(&self) -> String {
        let mut location = String::new();
        if !self.path.starts_with('/') {
            location.push('/');
        }
        push_printable(&mut location, &self.path);
        location.push('/');
        if let Some(query) = &self.query {
            location.push('?');
            push_printable(&mut location, query);
        }
        location
    }
}

/// Decodes percent-encoding. A `%` that begins no code stands for itself; other characters, which
/// are bytes taken as Latin-1, become UTF-8, as `urllib.parse.unquote` would have it.
pub(super) fn decode(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(byte) = rest.strip_prefix('%').and_then(|code| hex_byte(code.as_bytes())) {
            decoded.push(byte);
            rest = &rest[3..];
        } else {
            decoded.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            rest = &rest[c.len_utf8()..];
        }
    }
    decoded
}

fn hex_byte(code: &[u8]) -> Option<u8> {
    let digit = |at: usize| code.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

/// Encodes a name for a link: everything but unreserved characters (RFC 3986 2.3).
pub(super) fn encode(name: &[u8]) -> String {
    let mut encoded = String::with_capacity(name.len());
    for byte in name {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(*byte));
            }
            byte => push_code(&mut encoded, *byte),
        }
    }
    encoded
}

/// Appends text to a header value, and encodes characters that a header must not contain.
fn push_printable(value: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '!'..='~' => value.push(c),
            c => c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| push_code(value, byte)),
        }
    }
}

fn push_code(text: &mut String, byte: u8) {
    // writing to a string does not fail
    let _ = write!(text, "%{byte:02X}");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The names with bars between them, and a slash if it can only be a directory.
    fn names(target: &str) -> Option<String> {
        let resource = Resource::parse(target)?;
        let names = resource.segments.join(&b'|');
        let slash = if resource.slash { "/" } else { "" };
        Some(format!("{}{slash}", String::from_utf8_lossy(&names)))
    }

    #[test]
    fn resolves_dot_segments_inside_the_root() {
        assert_eq!(names("/").as_deref(), Some("/"));
        assert_eq!(names("/a/b").as_deref(), Some("a|b"));
        assert_eq!(names("/sub/../a").as_deref(), Some("a"));
        assert_eq!(names("/./a//b/").as_deref(), Some("a|b/"));
        assert_eq!(names("/a/.").as_deref(), Some("a/"));
        assert_eq!(names("/a/b/..").as_deref(), Some("a/"));
        assert_eq!(names("echo").as_deref(), Some("echo"));
        assert_eq!(names("*").as_deref(), Some("*"));
        assert_eq!(names("http://h:1/a").as_deref(), Some("http:|h:1|a"));
    }

    #[test]
    fn refuses_to_leave_the_root_and_nul() {
        for target in ["/..", "/../a", "/a/../../b", "/%2e%2e/a", "/a%2f..%2f../b", "/a%00", "/\0"]
        {
            assert_eq!(names(target), None, "{target}");
        }
        assert_eq!(names("/a?/../../\0").as_deref(), Some("a"));
    }

    #[test]
    fn decodes_after_query_and_fragment_are_cut_off() {
        assert_eq!(names("/a%2Fb").as_deref(), Some("a|b"));
        assert_eq!(names("/per%25cent").as_deref(), Some("per%cent"));
        assert_eq!(names("/%zz%4").as_deref(), Some("%zz%4"));
        assert_eq!(names("/a#b?c").as_deref(), Some("a"));
        assert_eq!(names("/a%3Fb%23c").as_deref(), Some("a?b#c"));
        assert_eq!(decode("\u{e9}%C3%A9%FF"), b"\xc3\xa9\xc3\xa9\xff");
        let resource = Resource::parse("/a?b?c").unwrap();
        assert_eq!(resource.query.as_deref(), Some("b?c"));
    }

    #[test]
    fn adds_the_slash_before_the_query() {
        let location = |target: &str| Resource::parse(target).unwrap().with_slash();
        assert_eq!(location("/sub"), "/sub/");
        assert_eq!(location("/sub?x=y"), "/sub/?x=y");
        assert_eq!(location("sub"), "/sub/");
        assert_eq!(location("/a\u{e9}\rb"), "/a%C3%A9%0Db/");
    }

    proptest! {
        #[test]
        fn no_target_leaves_the_root(target in "[/.%2e0a?#]{0,20}|.*") {
            if let Some(resource) = Resource::parse(&target) {
                for segment in &resource.segments {
                    prop_assert!(!matches!(segment.as_slice(), b"" | b"." | b".."));
                    prop_assert!(!segment.contains(&b'/') && !segment.contains(&0));
                }
                prop_assert!(resource.with_slash().bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }

        #[test]
        fn what_is_encoded_is_decoded(name in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(decode(&encode(&name)), name);
        }
    }
}
