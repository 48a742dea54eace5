//! What the fuzz targets of the HTTP fallback check; see [`crate::fuzzing`].

use std::{
    cell::Cell,
    convert::Infallible,
    future::Future,
    pin::pin,
    task::{Context, Waker},
};

use hyper::{
    body::{Body, Incoming},
    server::conn::http1,
    service::service_fn,
    Request, Response,
};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;

use super::{
    framing::{head_for_hyper, Framing},
    listing,
    path::{decode, encode, Resource},
};
use crate::protocol::head::{latin1, HeadReader};

/// Reads a request target as a path of the document root.
///
/// # Panics
/// If an invariant is broken.
pub fn http_resource(data: &[u8]) {
    let target = latin1(data);
    assert_eq!(decode(&encode(data)), data);
    let page = listing::page(&target, &[]);
    assert_eq!(page.matches('<').count(), listing::page("/", &[]).matches('<').count());
    let Some(resource) = Resource::parse(&target) else {
        assert!(decode(&target).contains(&0) || decode(&target).windows(2).any(|at| at == b".."));
        return;
    };
    for segment in &resource.segments {
        assert!(!matches!(&segment[..], b"" | b"." | b".."));
        assert!(!segment.contains(&b'/') && !segment.contains(&0));
    }
    let location = resource.with_slash();
    assert!(location.starts_with('/') && location.bytes().all(|byte| byte.is_ascii_graphic()));
    let there = Resource::parse(&location);
    let there = there.unwrap_or_else(|| panic!("{target:?} leads to {location:?}"));
    assert_eq!(there.segments, resource.segments, "{target:?} leads to {location:?}");
    assert!(there.slash);
    assert_eq!(there.query.is_some(), resource.query.is_some());
}

/// Reads how long a body is, and has hyper read it from the head that is written for it, and from
/// the one that came.
///
/// # Panics
/// If an invariant is broken.
pub fn body_framing(data: &[u8]) {
    let Ok(Some((head, used))) = HeadReader::default().poll(data) else { return };
    let framing = Framing::of(&head);
    let written = head_for_hyper(&head, framing);
    assert!(written.is_ascii() && written.len() < 256);
    let text = latin1(&written);
    let told = hyper_reads(&written);
    assert!(told.is_some(), "hyper refuses {text:?}");
    let expected = match framing {
        Framing::Bad | Framing::Length(0) => Framing::None,
        framing => framing,
    };
    assert_eq!(told, Some(expected), "hyper understands {text:?} otherwise");
    // what hyper takes for a request and we do as well begins and ends at the same bytes for both
    if framing != Framing::Bad {
        if let Some(told) = hyper_reads(&data[..used]) {
            assert_eq!(told, expected, "hyper understands {:?} otherwise", latin1(&data[..used]));
        }
    }
}

/// The body in hyper's eyes, or `None` if it refuses the head. An empty one is none.
fn hyper_reads(head: &[u8]) -> Option<Framing> {
    let (mut peer, own) = tokio::io::duplex(head.len() + 4096);
    let mut context = Context::from_waker(Waker::noop());
    let sent = pin!(peer.write_all(head)).poll(&mut context);
    assert!(sent.is_ready(), "there is room for the head");
    let told = Cell::new(None);
    let service = service_fn(|request: Request<Incoming>| {
        told.set(Some(match request.body().size_hint().exact() {
            Some(0) => Framing::None,
            Some(length) => Framing::Length(length),
            None => Framing::Chunked,
        }));
        async { Ok::<_, Infallible>(Response::new(String::new())) }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(own), service);
    // nothing else would ever wake it
    let _ = pin!(connection).poll(&mut context);
    told.get()
}
