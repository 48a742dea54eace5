//! The bodies of requests and answers, from any source.

use std::{error::Error, io};

use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Bytes;

/// The body of an answer.
pub(in crate::server) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// The body of a request.
pub(in crate::server) type RequestBody = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;
