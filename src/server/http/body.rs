//! The body of an answer, whatever it comes from.

use std::io;

use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Bytes;

pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;
