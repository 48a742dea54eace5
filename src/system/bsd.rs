//! FreeBSD, NetBSD, OpenBSD, DragonFly BSD, and other systems with sockets of their kind.

use rustix::net::SendFlags;

use super::System;

/// A system with `MSG_NOSIGNAL`, and without what is Linux's own.
#[derive(Debug)]
pub(crate) struct Bsd;

impl System for Bsd {
    const SEND: SendFlags = SendFlags::NOSIGNAL;

    type Thread = ();

    fn this_thread() {}
}
