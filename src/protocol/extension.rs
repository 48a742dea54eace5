//! The Sec-WebSocket-Extensions header (RFC 6455 9.1).

use super::grammar::{quote_if_necessary, Scanner};

/// The most offers in one header, and the most parameters of one offer. Browsers send one offer
/// with one parameter, and test suites some dozens. Each needs a Python object.
const MAX_ENTRIES: usize = 64;

/// One extension with its parameters, as offered or as agreed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// Its registered name.
    pub name: String,
    /// In the order of the header; `None`: no value.
    pub parameters: Vec<(String, Option<String>)>,
}

/// Parses a header value.
///
/// # Errors
/// The text of pywebsocket's exception.
pub fn parse(data: &str) -> Result<Vec<Extension>, String> {
    let chars: Vec<char> = data.chars().collect();
    let mut scanner = Scanner::new(&chars, 0);
    let mut extensions = Vec::new();
    loop {
        if let Some(name) = scanner.token() {
            if extensions.len() == MAX_ENTRIES {
                return Err(format!("More than {MAX_ENTRIES} extensions are offered"));
            }
            extensions.push(parse_parameters(&mut scanner, name)?);
        }
        scanner.skip_lws();
        match scanner.peek() {
            None => break,
            Some(found) if !scanner.eat(',') => {
                return Err(format!(
                    "Failed to parse Sec-WebSocket-Extensions header: Expected a comma but found \
                     '{found}'"
                ));
            }
            Some(_) => scanner.skip_lws(),
        }
    }
    if extensions.is_empty() {
        return Err("No valid extension entry found".to_owned());
    }
    Ok(extensions)
}

/// Formats a header value.
pub fn format(extensions: &[Extension]) -> String {
    let mut output = String::new();
    for extension in extensions {
        if !output.is_empty() {
            output.push_str(", ");
        }
        output.push_str(&extension.name);
        for (name, value) in &extension.parameters {
            output.push_str("; ");
            output.push_str(name);
            if let Some(value) = value {
                output.push('=');
                output.push_str(&quote_if_necessary(value));
            }
        }
    }
    output
}

fn parse_parameters(scanner: &mut Scanner<'_>, name: String) -> Result<Extension, String> {
    let mut parameters = Vec::new();
    loop {
        scanner.skip_lws();
        if !scanner.eat(';') {
            return Ok(Extension { name, parameters });
        }
        scanner.skip_lws();
        let failed = |reason: String| format!("Failed to parse parameter for '{name}' ({reason})");
        if parameters.len() == MAX_ENTRIES {
            return Err(failed(format!("more than {MAX_ENTRIES} parameters")));
        }
        let Some(parameter) = scanner.token() else {
            return Err(failed("No valid parameter name found".to_owned()));
        };
        scanner.skip_lws();
        if !scanner.eat('=') {
            parameters.push((parameter, None));
            continue;
        }
        scanner.skip_lws();
        let value = match scanner.peek() {
            Some('"') => scanner.quoted_string(),
            _ => scanner.token(),
        };
        let Some(value) = value else {
            return Err(failed(format!(
                "No valid parameter value found on the right-hand side of parameter '{parameter}'"
            )));
        };
        parameters.push((parameter, Some(value)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_formats_lists_with_parameters() {
        let data = " permessage-deflate  ;  server_max_window_bits = 10 ; x, foo; a=\"b c\"";
        let extensions = parse(data.trim_start()).expect("valid");
        assert_eq!(extensions.len(), 2);
        assert_eq!(
            format(&extensions),
            "permessage-deflate; server_max_window_bits=10; x, foo; a=\"b c\""
        );
    }

    #[test]
    fn takes_no_more_than_anybody_needs() {
        assert!(parse(&"a,".repeat(MAX_ENTRIES)).is_ok());
        assert!(parse(&"a,".repeat(MAX_ENTRIES + 1)).is_err());
        assert!(parse(&format!("a{}", ";b=c".repeat(MAX_ENTRIES))).is_ok());
        assert!(parse(&format!("a{}", ";b=c".repeat(MAX_ENTRIES + 1))).is_err());
    }

    #[test]
    fn refuses_what_pywebsocket_refuses() {
        for data in [",,", "", "a;", "a; b=", "a; b=\"c", "a b", "a\u{e9}"] {
            assert!(parse(data).is_err(), "{data}");
        }
        assert!(parse(", a").is_ok());
        assert!(parse("a;\r\n b").is_ok());
    }
}
