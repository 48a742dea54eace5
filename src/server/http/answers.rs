//! Answers of the fallback other than files: error pages and redirects.

use http::{header, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper::{body::Bytes, ext::ReasonPhrase};

use super::{body::Body, refusal::error_page};

/// A page with this message, which is also the reason phrase.
pub(super) fn page(status: StatusCode, message: &str) -> Response<Body> {
    let mut response = html(error_page(status.as_u16(), message));
    *response.status_mut() = status;
    if let Ok(reason) = ReasonPhrase::try_from(message.to_owned()) {
        response.extensions_mut().insert(reason);
    }
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html;charset=utf-8"));
    response
}

/// The page for an invalid request. The connection ends, as the bytes after such a request cannot
/// be trusted either.
pub(super) fn bad_request() -> Response<Body> {
    let mut response = page(StatusCode::BAD_REQUEST, "Bad Request");
    close_behind(&mut response);
    response
}

/// 404, in the words of Python's `http.server`.
pub(super) fn not_found() -> Response<Body> {
    page(StatusCode::NOT_FOUND, "File not found")
}

/// 403, for a program that must not be run.
pub(super) fn forbidden() -> Response<Body> {
    page(StatusCode::FORBIDDEN, "Forbidden")
}

/// 501. The connection ends, because the request's body, if any, is unread.
pub(super) fn not_implemented(message: &str) -> Response<Body> {
    let mut response = page(StatusCode::NOT_IMPLEMENTED, message);
    close_behind(&mut response);
    response
}

/// An HTML page.
pub(super) fn html(text: String) -> Response<Body> {
    let mut response =
        Response::new(Full::from(text).map_err(|never| match never {}).boxed_unsync());
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}

/// 301.
pub(super) fn moved(location: &str) -> Response<Body> {
    let Ok(location) = HeaderValue::from_str(location) else { return not_found() };
    let mut response = empty();
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    response.headers_mut().insert(header::LOCATION, location);
    response
}

/// An answer without a body.
pub(super) fn empty() -> Response<Body> {
    Response::new(Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync())
}

/// Makes this the last answer of its connection.
pub(super) fn close_behind(response: &mut Response<Body>) {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
}
