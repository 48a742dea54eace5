//! Sends a file. tower-http handles ranges, validators and compressed siblings.

use std::{
    collections::HashMap,
    fs::Metadata,
    path::Path,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{header, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;
use tower_http::services::ServeFile;

use super::{
    answers,
    body::Body,
    file_body::FileBody,
    locate::{OpenFile, PlainFile},
};
use crate::{
    protocol::head::RequestHead,
    server::config::FindContentTypes,
    system::{Native, System},
};

/// The type of a file with an unknown extension.
const UNKNOWN: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// The most bytes to read at a time.
const CHUNK: usize = 64 * 1024;

/// Seconds from 1970 to 9999: httpdate panics beyond.
const UNTIL_YEAR_9999: Duration = Duration::from_secs(253_370_764_800);

/// The headers of a request that tower-http reads.
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
#[derive(Debug)]
pub(super) struct ContentTypes {
    find: FindContentTypes,
    known: OnceLock<HashMap<String, HeaderValue>>,
}

impl ContentTypes {
    pub(super) fn new(find: FindContentTypes) -> Self {
        Self { find, known: OnceLock::new() }
    }

    /// Finds them, unless that is done. Python may be busy for a while.
    pub(super) async fn prepare(self: &Arc<Self>) {
        if self.known.get().is_none() {
            let types = self.clone();
            let found = tokio::task::spawn_blocking(move || types.known().len());
            let _ = found.await;
        }
    }

    /// Returns those that are valid in a header.
    fn known(&self) -> &HashMap<String, HeaderValue> {
        self.known.get_or_init(|| {
            let types = (self.find.0)();
            let valid = types.iter().filter_map(|(extension, content_type)| {
                let value = HeaderValue::from_str(content_type).ok()?;
                Some((extension.to_lowercase(), value))
            });
            valid.collect()
        })
    }

    fn of(&self, name: &Path) -> HeaderValue {
        let extension = name
            .extension()
            .map(|extension| format!(".{}", extension.to_string_lossy().to_lowercase()));
        let known = extension.and_then(|extension| self.known().get(&extension));
        known.cloned().unwrap_or(UNKNOWN)
    }
}

/// Answers a GET or HEAD request for a file.
pub(super) async fn send(
    head: &RequestHead,
    file: PlainFile,
    types: &ContentTypes,
) -> Response<Body> {
    let request = request(head);
    let has_variants = file.gzip.is_some() || file.brotli.is_some();
    let content_type = types.of(&file.name);
    let (chosen, encoding) = choose(&request, file).await;
    let mut response = if has_http_date(&chosen.metadata) {
        send_dated(request, &chosen).await
    } else {
        send_undated(head, chosen)
    };
    match response.status() {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => {
            response.headers_mut().insert(header::CONTENT_TYPE, content_type);
            if let Some(encoding) = encoding {
                let encoding = HeaderValue::from_static(encoding);
                response.headers_mut().insert(header::CONTENT_ENCODING, encoding);
            }
        }
        StatusCode::NOT_MODIFIED => {}
        StatusCode::NOT_FOUND => return answers::not_found(),
        StatusCode::INTERNAL_SERVER_ERROR => {
            return answers::page(StatusCode::INTERNAL_SERVER_ERROR, "Cannot read the file");
        }
        _ => return response,
    }
    if has_variants {
        // a 304 has the same `Vary` as the 200 would have (RFC 9110 15.4.5)
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    response
}

/// Chooses the version of a file that the client accepts, and returns the name of its encoding.
/// tower-http compares what the client accepts with what there is, and finds that by name; which
/// file is sent does not depend on it.
async fn choose(request: &Request<()>, file: PlainFile) -> (OpenFile, Option<&'static str>) {
    let PlainFile { plain, gzip, brotli, .. } = file;
    let dated = |version: Option<OpenFile>| version.filter(|file| has_http_date(&file.metadata));
    // httpdate, which tower-http asks for the dates of all versions, panics at other dates
    let versions = (dated(gzip), dated(brotli));
    let may_vary = versions.0.is_some() || versions.1.is_some();
    if !may_vary || !has_http_date(&plain.metadata) {
        return (plain, None);
    }
    let mut service = ServeFile::new(&plain.path);
    service = if versions.0.is_some() { service.precompressed_gzip() } else { service };
    service = if versions.1.is_some() { service.precompressed_br() } else { service };
    let mut question = head_request();
    for accepted in request.headers().get_all(header::ACCEPT_ENCODING) {
        question.headers_mut().append(header::ACCEPT_ENCODING, accepted.clone());
    }
    let answer = service.oneshot(question).await.unwrap_or_else(|never| match never {});
    match (answer.headers().get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes), versions) {
        (Some(b"gzip"), (Some(gzip), _)) => (gzip, Some("gzip")),
        (Some(b"br"), (_, Some(brotli))) => (brotli, Some("br")),
        _ => (plain, None),
    }
}

/// Sends a file, or a part of it, or says that the client's copy is as new.
async fn send_dated(mut request: Request<()>, file: &OpenFile) -> Response<Body> {
    if let Some(range) = request.headers_mut().remove(header::RANGE) {
        let range = range.to_str().unwrap_or_default();
        if let Some(range) = canonical_range(range, file.metadata.len()) {
            request.headers_mut().insert(header::RANGE, range);
        }
    }
    if !range_applies(&request, file).await {
        request.headers_mut().remove(header::RANGE);
    }
    let mut response = serve(request, file).await.map(BodyExt::boxed_unsync);
    if file.metadata.modified().is_ok_and(|modified| modified > SystemTime::now()) {
        response.headers_mut().remove(header::LAST_MODIFIED);
    }
    response
}

/// Writes a range in the one form that tower-http understands. Returns `None` if the range is to be
/// ignored: an unknown unit (RFC 9110 14.2), an invalid range, or any range of an empty file.
fn canonical_range(value: &str, length: u64) -> Option<HeaderValue> {
    let (unit, ranges) = value.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") || length == 0 {
        return None;
    }
    let number = |digits: &str| {
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        // a number that is too large is beyond the end of every file
        is_number.then(|| digits.parse().unwrap_or(u64::MAX))
    };
    let one = |range: &str| {
        let (first, last) = range.trim().split_once('-')?;
        match (first.trim(), last.trim()) {
            ("", suffix) => {
                let suffix = number(suffix)?;
                // a suffix longer than the file means the whole file (RFC 9110 14.1.2)
                let all = length < u64::MAX && suffix >= length;
                Some(if all { "0-".to_owned() } else { format!("-{suffix}") })
            }
            (first, "") => Some(format!("{}-", number(first)?)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then(|| format!("{first}-{last}"))
            }
        }
    };
    let ranges: Option<Vec<_>> = ranges.split(',').map(one).collect();
    HeaderValue::from_str(&format!("bytes={}", ranges?.join(","))).ok()
}

/// Whether a file's time of modification can be written as a date of HTTP (RFC 9110 5.6.7).
fn has_http_date(metadata: &Metadata) -> bool {
    metadata.modified().is_ok_and(|modified| {
        modified.duration_since(UNIX_EPOCH).is_ok_and(|since| since < UNTIL_YEAR_9999)
    })
}

/// Sends a whole file with a date that HTTP cannot express. There are no validators, so conditional
/// requests and ranges do not apply.
fn send_undated(head: &RequestHead, file: OpenFile) -> Response<Body> {
    let length = file.metadata.len();
    let mut response = if head.method == "HEAD" {
        answers::empty()
    } else {
        Response::new(FileBody::new(file.file, length).boxed_unsync())
    };
    response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    response
}

fn request(head: &RequestHead) -> Request<()> {
    let mut request = Request::new(());
    if head.method == "HEAD" {
        *request.method_mut() = Method::HEAD;
    }
    for (name, key) in READ {
        for value in head.headers.values(name) {
            if let Ok(value) = HeaderValue::from_str(&with_zone(name, value)) {
                request.headers_mut().append(key.clone(), value);
            }
        }
    }
    request
}

/// Adds GMT to a date without a time zone, as pywebsocket does.
fn with_zone(name: &str, value: &str) -> String {
    let zoned = format!("{value} GMT");
    if name == "If-Modified-Since" && httpdate::parse_http_date(&zoned).is_ok() {
        return zoned;
    }
    value.to_owned()
}

/// Whether to answer with a range: only if the client's part is of the same version of the file
/// (RFC 9110 13.1.5), and never for HEAD (RFC 9110 14.2).
async fn range_applies(request: &Request<()>, file: &OpenFile) -> bool {
    let headers = request.headers();
    if request.method() == Method::HEAD || !headers.contains_key(header::RANGE) {
        return false;
    }
    let Some(condition) = headers.get(header::IF_RANGE) else { return true };
    let answer = serve(head_request(), file).await;
    [header::ETAG, header::LAST_MODIFIED]
        .iter()
        .any(|name| answer.headers().get(name) == Some(condition))
}

fn head_request() -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = Method::HEAD;
    request
}

async fn serve(
    request: Request<()>,
    file: &OpenFile,
) -> Response<
    impl http_body_util::BodyExt<Data = hyper::body::Bytes, Error = std::io::Error> + Send + 'static,
> {
    // several ranges are answered with the whole file, which is allowed (RFC 9110 14.2) and simpler
    // than a multipart answer
    let path = Native::path_to_reopen(&file.file, &file.path);
    let length = usize::try_from(file.metadata.len()).unwrap_or(CHUNK);
    // two buffers of this size are kept until the file is sent
    let service = ServeFile::new(path).with_buf_chunk_size(length.clamp(1, CHUNK));
    let service = service.ignore_multi_range_requests(true);
    service.oneshot(request).await.unwrap_or_else(|never| match never {})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_go_by_the_last_extension_in_any_letters() {
        let known = [(".html", "text/html"), (".gz", "application/gzip"), (".bad", "a\nb")];
        let known = known.map(|(extension, name)| (extension.to_owned(), name.to_owned()));
        let types = ContentTypes::new(FindContentTypes(Arc::new(move || known.clone().into())));
        let of = |name: &str| types.of(Path::new(name)).to_str().unwrap().to_owned();
        assert_eq!(of("a/UPPER.HTML"), "text/html");
        assert_eq!(of("arch.tar.gz"), "application/gzip");
        for name in ["noext", ".html", "a.bad", "a.unknown"] {
            assert_eq!(of(name), "application/octet-stream", "{name}");
        }
    }

    #[test]
    fn ranges_are_read_as_they_are_meant() {
        let range = |value, length| {
            canonical_range(value, length).map(|range| range.to_str().unwrap().to_owned())
        };
        assert_eq!(range("bytes=-5", 3).as_deref(), Some("bytes=0-"));
        assert_eq!(range("bytes=-2", 3).as_deref(), Some("bytes=-2"));
        assert_eq!(range("BYTES=0-", 3).as_deref(), Some("bytes=0-"));
        assert_eq!(range("bytes= 0-1 , 2-2", 3).as_deref(), Some("bytes=0-1,2-2"));
        let huge = format!("bytes=1-{}", u64::MAX);
        assert_eq!(range("bytes=1-99999999999999999999", 3), Some(huge));
        for value in
            ["items=0-1", "bytes", "bytes=", "bytes=x-y", "bytes=2-1", "bytes=0-1,", "bytes=-"]
        {
            assert_eq!(range(value, 3), None, "{value}");
        }
        assert_eq!(range("bytes=0-", 0), None);
    }

    #[test]
    fn completes_dates_without_zone() {
        let date = "Sun, 09 Sep 2001 01:46:40";
        assert_eq!(with_zone("If-Modified-Since", date), format!("{date} GMT"));
        assert_eq!(with_zone("If-Modified-Since", "yesterday"), "yesterday");
    }
}
