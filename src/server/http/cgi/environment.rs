//! The input of a program besides the body: meta-variables (RFC 3875 4.1) and the argument (4.4).

use std::{
    ffi::OsString,
    net::SocketAddr,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::Path,
};

use base64::{prelude::BASE64_STANDARD, Engine};

use crate::{
    protocol::head::RequestHead,
    server::http::{locate::Script, path::Resource, refusal::SERVER},
};

/// The variables of the server's own environment that a program inherits: the search path, language
/// and time zone. Nothing else, so that programs get no secrets.
const INHERITED: [&str; 5] = ["PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ"];

/// Headers that do not become an `HTTP_` variable: they have a variable of their own, or are meant
/// for the server, or are dangerous: `HTTP_PROXY` would set a proxy for the program's own requests.
const NOT_PASSED: [&str; 9] = [
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "expect",
    "keep-alive",
    "proxy",
    "proxy-authorization",
    "transfer-encoding",
];

/// Variables that are set to an empty value if there is none, as in http.server.
const EMPTY: [&str; 6] = [
    "REMOTE_HOST",
    "CONTENT_LENGTH",
    "HTTP_ACCEPT",
    "HTTP_USER_AGENT",
    "HTTP_COOKIE",
    "HTTP_REFERER",
];

/// What a CGI program may know about its client.
#[derive(Debug, Clone, Copy)]
pub(in crate::server::http) struct Client {
    pub(in crate::server::http) peer: Option<SocketAddr>,
    pub(in crate::server::http) local: Option<SocketAddr>,
    pub(in crate::server::http) tls: bool,
}

/// A request for a program.
#[derive(Debug, Clone, Copy)]
pub(in crate::server::http) struct Request<'a> {
    pub(in crate::server::http) head: &'a RequestHead,
    pub(in crate::server::http) script: &'a Script,
    pub(in crate::server::http) resource: &'a Resource,
    pub(in crate::server::http) client: Client,
}

impl Request<'_> {
    /// All variables.
    pub(super) fn environment(
        &self,
        document_root: &Path,
        server_name: &str,
    ) -> Vec<(String, OsString)> {
        let mut variables: Vec<(String, OsString)> = Vec::new();
        for name in INHERITED {
            if let Some(value) = std::env::var_os(name) {
                variables.push((name.to_owned(), value));
            }
        }
        let mut set = |name: &str, value: &[u8]| {
            // a variable would end at a NUL
            let value = value.iter().copied().filter(|byte| *byte != 0).collect();
            variables.push((name.to_owned(), OsString::from_vec(value)));
        };
        let head = self.head;
        for name in EMPTY {
            set(name, b"");
        }
        set("GATEWAY_INTERFACE", b"CGI/1.1");
        set("SERVER_SOFTWARE", SERVER.as_bytes());
        // RFC 3875 4.1.16 wants a minor version as well
        let minor = if head.is_on_stream() { ".0" } else { "" };
        set("SERVER_PROTOCOL", format!("{}{minor}", head.version).as_bytes());
        let (name, port) = self.server(server_name);
        set("SERVER_NAME", name.as_bytes());
        set("SERVER_PORT", port.to_string().as_bytes());
        if self.client.tls {
            set("HTTPS", b"on");
        }
        let peer = self.client.peer.map(|peer| peer.ip().to_canonical().to_string());
        set("REMOTE_ADDR", peer.unwrap_or_default().as_bytes());
        set("REQUEST_METHOD", &bytes(&head.method));
        set("SCRIPT_NAME", &self.script.name);
        set("PATH_INFO", &self.script.path_info);
        set("PATH_TRANSLATED", &translate(document_root, &self.script.path_info));
        set("QUERY_STRING", &bytes(self.resource.query.as_deref().unwrap_or_default()));
        set("CONTENT_TYPE", &bytes(head.header("Content-Type").unwrap_or("text/plain")));
        if let Some(length) = head.header("Content-Length") {
            // a list of equal lengths counts as one (RFC 9110 8.6)
            let length = length.split(',').next().unwrap_or_default().trim();
            set("CONTENT_LENGTH", length.as_bytes());
        }
        if let Some((scheme, user)) = head.header("Authorization").and_then(parse_authorization) {
            set("AUTH_TYPE", &bytes(scheme));
            if let Some(user) = user {
                set("REMOTE_USER", user.as_bytes());
            }
        }
        for (name, value) in header_variables(head) {
            set(&name, &bytes(&value));
        }
        variables
    }

    /// The server's name and port. A Unix socket has neither, but programs expect them.
    fn server(&self, name: &str) -> (String, u16) {
        let local = self.client.local;
        let name = match local {
            _ if !name.is_empty() => name.to_owned(),
            Some(local) => local.ip().to_canonical().to_string(),
            None => "localhost".to_owned(),
        };
        (name, local.map_or(80, |local| local.port()))
    }

    /// The program's only argument: the query, with spaces in place of plus signs, unless the query
    /// has the format of a form.
    pub(super) fn argument(&self) -> Option<OsString> {
        let query = self.resource.query.as_deref().unwrap_or_default();
        let argument = bytes(query).into_iter().map(|byte| match byte {
            b'+' => b' ',
            byte => byte,
        });
        let plain = !query.contains(['=', '\0']);
        plain.then(|| OsString::from_vec(argument.collect()))
    }
}

/// The headers as variables. Repeated ones are joined as their grammar demands: by a comma if they
/// are lists (RFC 9110 5.3), cookies by a semicolon (RFC 6265 5.4, RFC 9113 8.2.3); if a header may
/// occur only once, the first one counts.
fn header_variables(head: &RequestHead) -> Vec<(String, String)> {
    let mut variables: Vec<(String, String)> = Vec::new();
    for (name, value) in head.headers.iter() {
        let lower = name.to_ascii_lowercase();
        // in a variable's name, `_` also stands for `-`, so such a header would look like another
        // one
        let odd = !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if odd || NOT_PASSED.contains(&lower.as_str()) {
            continue;
        }
        let variable = format!("HTTP_{}", name.to_ascii_uppercase().replace('-', "_"));
        let value = value.replace(['\r', '\n'], "");
        match variables.iter_mut().find(|(other, _)| *other == variable) {
            Some((_, values)) => {
                let joint = match lower.as_str() {
                    _ if SINGLE.contains(&lower.as_str()) => continue,
                    "cookie" => "; ",
                    "accept" => ",",
                    _ => ", ",
                };
                values.push_str(joint);
                values.push_str(&value);
            }
            None => variables.push((variable, value)),
        }
    }
    variables
}

/// Headers that are not lists, so that joining values by a comma would make them invalid.
const SINGLE: [&str; 12] = [
    "date",
    "from",
    "host",
    "if-modified-since",
    "if-range",
    "if-unmodified-since",
    "max-forwards",
    "origin",
    "range",
    "referer",
    "sec-websocket-key",
    "user-agent",
];

/// The scheme, and the user if it is Basic.
fn parse_authorization(value: &str) -> Option<(&str, Option<String>)> {
    let (scheme, credential) = value.trim().split_once(char::is_whitespace)?;
    let credential = credential.trim();
    if credential.contains(char::is_whitespace) {
        return None;
    }
    let basic = scheme.eq_ignore_ascii_case("basic");
    let decoded = basic.then(|| BASE64_STANDARD.decode(credential).ok()).flatten();
    let user = decoded
        .and_then(|decoded| String::from_utf8(decoded).ok())
        .and_then(|decoded| decoded.split_once(':').map(|(user, _)| user.to_owned()));
    Some((scheme, user))
}

/// The path information as a path under the document root.
fn translate(document_root: &Path, path_info: &[u8]) -> Vec<u8> {
    let mut path = document_root.as_os_str().as_bytes().to_vec();
    path.extend_from_slice(path_info);
    path
}

/// The bytes that Latin-1 text came from.
fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::protocol::head::HeadReader;

    fn head(headers: &str) -> RequestHead {
        let bytes = format!("POST /x HTTP/1.1\r\n{headers}\r\n\r\n").into_bytes();
        HeadReader::default().poll(&bytes).unwrap().unwrap().0
    }

    fn with<T>(target: &str, headers: &str, test: impl FnOnce(Request<'_>) -> T) -> T {
        let script = Script {
            path: PathBuf::from("/root/cgi/x"),
            name: b"/cgi/x".to_vec(),
            path_info: b"/p q".to_vec(),
        };
        let client = Client {
            peer: Some("[::ffff:10.0.0.1]:5".parse().unwrap()),
            local: Some("10.0.0.2:80".parse().unwrap()),
            tls: false,
        };
        let resource = Resource::parse(target).unwrap();
        test(Request { head: &head(headers), script: &script, resource: &resource, client })
    }

    fn variable(headers: &str, name: &str) -> Option<String> {
        with("/cgi/x/p%20q?a=b", headers, |request| {
            let variables = request.environment(Path::new("/root"), "");
            let found = variables.iter().rev().find(|(other, _)| other == name);
            found.map(|(_, value)| value.to_string_lossy().into_owned())
        })
    }

    fn is(headers: &str, name: &str, value: &str) {
        assert_eq!(variable(headers, name).as_deref(), Some(value), "{name}");
    }

    #[test]
    fn sets_what_rfc_3875_asks_for() {
        let headers = "Host: h\r\nContent-Type: a/b\r\nContent-Length: 3";
        for (name, value) in [
            ("GATEWAY_INTERFACE", "CGI/1.1"),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            ("SERVER_NAME", "10.0.0.2"),
            ("SERVER_PORT", "80"),
            ("REMOTE_ADDR", "10.0.0.1"),
            ("REQUEST_METHOD", "POST"),
            ("SCRIPT_NAME", "/cgi/x"),
            ("PATH_INFO", "/p q"),
            ("PATH_TRANSLATED", "/root/p q"),
            ("QUERY_STRING", "a=b"),
            ("CONTENT_TYPE", "a/b"),
            ("CONTENT_LENGTH", "3"),
            ("HTTP_HOST", "h"),
            ("HTTP_COOKIE", ""),
        ] {
            is(headers, name, value);
        }
        assert_eq!(variable(headers, "HTTPS"), None);
        is("", "CONTENT_TYPE", "text/plain");
    }

    #[test]
    fn joins_repeated_headers_and_unfolds() {
        is("Cookie: a=b\r\nCookie: c=d", "HTTP_COOKIE", "a=b; c=d");
        is("User-Agent: a\r\nUser-Agent: b", "HTTP_USER_AGENT", "a");
        is("Accept: x/y\r\nAccept: z/*", "HTTP_ACCEPT", "x/y,z/*");
        is("X-A: 1,\r\n 2", "HTTP_X_A", "1, 2");
        is("X-A: 1\x002", "HTTP_X_A", "12");
    }

    #[test]
    fn some_headers_become_no_variable() {
        for (header, name) in [
            ("Proxy: evil", "HTTP_PROXY"),
            ("X_A: 1", "HTTP_X_A"),
            ("Authorization: Basic dTpw", "HTTP_AUTHORIZATION"),
            ("Content-Length: 1", "HTTP_CONTENT_LENGTH"),
        ] {
            assert_eq!(variable(header, name), None, "{header}");
        }
    }

    #[test]
    fn inherits_no_more_than_listed() {
        with("/cgi/x", "", |request| {
            for (name, _) in request.environment(Path::new("/"), "") {
                let own = std::env::var_os(&name).is_some();
                assert!(!own || INHERITED.contains(&name.as_str()), "{name}");
            }
        });
    }

    #[test]
    fn names_the_user() {
        is("Authorization: Basic dTpw", "REMOTE_USER", "u");
        is("Authorization: Basic dTpw", "AUTH_TYPE", "Basic");
        is("Authorization: Bearer x", "AUTH_TYPE", "Bearer");
        for bad in ["Basic", "Basic a b", "Basic %%%"] {
            assert_eq!(variable(&format!("Authorization: {bad}"), "REMOTE_USER"), None, "{bad}");
        }
    }

    #[test]
    fn a_query_without_equal_sign_is_the_argument() {
        let argument = |target: &str| {
            with(target, "", |request| request.argument())
                .map(|argument| argument.to_string_lossy().into_owned())
        };
        assert_eq!(argument("/x").as_deref(), Some(""));
        assert_eq!(argument("/x?one+two").as_deref(), Some("one two"));
        assert_eq!(argument("/x?%41").as_deref(), Some("%41"));
        assert_eq!(argument("/x?a=b"), None);
        assert_eq!(argument("/x?a\0"), None);
    }
}
