//! The body of an answer from any source.

use std::io;

use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Bytes;

pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;
