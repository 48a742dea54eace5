//! Sending a file: tower-http does ranges, validators and compressed siblings.

use std::{collections::HashMap, path::Path};

use http::{header, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;
use tower_http::services::ServeFile;

use super::{answers, locate::PlainFile, Body};
use crate::protocol::head::RequestHead;

/// The type of a file whose extension says nothing.
const UNKNOWN: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// What tower-http reads of a request.
const READ: [(&str, header::HeaderName); 7] = [
    ("Accept-Encoding", header::ACCEPT_ENCODING),
    ("If-Match", header::IF_MATCH),
    ("If-Modified-Since", header::IF_MODIFIED_SINCE),
    ("If-None-Match", header::IF_NONE_MATCH),
    ("If-Unmodified-Since", header::IF_UNMODIFIED_SINCE),
    ("Range", header::RANGE),
    ("If-Range", header::IF_RANGE),
];

/// Content types by extension, with its dot and in lower case.
#[derive(Debug, Default)]
pub(super) struct ContentTypes(HashMap<String, HeaderValue>);

impl ContentTypes {
    /// Takes types as Python's `mimetypes` has them; what cannot stand in a header is left out.
    pub(super) fn new(types: &HashMap<String, String>) -> Self {
        let types = types.iter().filter_map(|(extension, content_type)| {
            let value = HeaderValue::from_str(content_type).ok()?;
            Some((extension.to_lowercase(), value))
        });
        Self(types.collect())
    }

    fn of(&self, name: &Path) -> HeaderValue {
        let extension = name
            .extension()
            .map(|extension| format!(".{}", extension.to_string_lossy().to_lowercase()));
        let known = extension.and_then(|extension| self.0.get(&extension));
        known.cloned().unwrap_or(UNKNOWN)
    }
}

/// Answers a GET or HEAD request for a file.
pub(super) async fn send(
    head: &RequestHead,
    file: PlainFile,
    types: &ContentTypes,
) -> Response<Body> {
    let mut request = request(head);
    if !range_applies(&request, &file).await {
        request.headers_mut().remove(header::RANGE);
    }
    let mut response = serve(request, &file).await.map(BodyExt::boxed_unsync);
    match response.status() {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => {
            response.headers_mut().insert(header::CONTENT_TYPE, types.of(&file.name));
        }
        StatusCode::NOT_FOUND => return answers::not_found(),
        StatusCode::INTERNAL_SERVER_ERROR => {
            return answers::page(StatusCode::INTERNAL_SERVER_ERROR, "Cannot read the file");
        }
        _ => {}
    }
    response
}

fn request(head: &RequestHead) -> Request<()> {
    let mut request = Request::new(());
    if head.method == "HEAD" {
        *request.method_mut() = Method::HEAD;
    }
    for (name, key) in READ {
        let values = head.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        for (_, value) in values {
            if let Ok(value) = HeaderValue::from_str(&with_zone(name, value)) {
                request.headers_mut().append(key.clone(), value);
            }
        }
    }
    request
}

/// A date without a zone is one in GMT, as for pywebsocket.
fn with_zone(name: &str, value: &str) -> String {
    let zoned = format!("{value} GMT");
    if name == "If-Modified-Since" && httpdate::parse_http_date(&zoned).is_ok() {
        return zoned;
    }
    value.to_owned()
}

/// Whether a range may be sent: only of the version that the client has a part of (RFC 9110
/// 13.1.5), and not in answer to HEAD (RFC 9110 14.2).
async fn range_applies(request: &Request<()>, file: &PlainFile) -> bool {
    let headers = request.headers();
    if request.method() == Method::HEAD || !headers.contains_key(header::RANGE) {
        return false;
    }
    let Some(condition) = headers.get(header::IF_RANGE) else { return true };
    let mut question = Request::new(());
    *question.method_mut() = Method::HEAD;
    if let Some(value) = headers.get(header::ACCEPT_ENCODING) {
        question.headers_mut().insert(header::ACCEPT_ENCODING, value.clone());
    }
    let answer = serve(question, file).await;
    [header::ETAG, header::LAST_MODIFIED]
        .iter()
        .any(|name| answer.headers().get(name) == Some(condition))
}

async fn serve(
    request: Request<()>,
    file: &PlainFile,
) -> Response<
    impl http_body_util::BodyExt<Data = hyper::body::Bytes, Error = std::io::Error> + Send + 'static,
> {
    // a client that wants several ranges takes the whole as well; a multipart answer is not worth it
    let mut service = ServeFile::new(&file.path).ignore_multi_range_requests(true);
    if file.gzip {
        service = service.precompressed_gzip();
    }
    if file.brotli {
        service = service.precompressed_br();
    }
    match service.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_go_by_the_last_extension_in_any_letters() {
        let known = [(".html", "text/html"), (".gz", "application/gzip"), (".bad", "a\nb")];
        let known = known.map(|(extension, name)| (extension.to_owned(), name.to_owned()));
        let types = ContentTypes::new(&known.into());
        let of = |name: &str| types.of(Path::new(name)).to_str().unwrap().to_owned();
        assert_eq!(of("a/UPPER.HTML"), "text/html");
        assert_eq!(of("arch.tar.gz"), "application/gzip");
        for name in ["noext", ".html", "a.bad", "a.unknown"] {
            assert_eq!(of(name), "application/octet-stream", "{name}");
        }
    }

    #[test]
    fn completes_dates_without_zone() {
        let date = "Sun, 09 Sep 2001 01:46:40";
        assert_eq!(with_zone("If-Modified-Since", date), format!("{date} GMT"));
        assert_eq!(with_zone("If-Modified-Since", "yesterday"), "yesterday");
    }
}
