//! Takes over sockets that Python has bound. The code is unsafe: Python can pass nothing but the
//! number of a descriptor.
#![allow(unsafe_code)]

use std::os::fd::{FromRawFd, OwnedFd};

/// Takes over a descriptor that the caller has duplicated for this purpose and forgets.
pub(super) fn take_over(descriptor: i32) -> OwnedFd {
    // SAFETY: `fastwsh.server` passes the result of `os.dup`, which nothing else owns; the stub says
    // so to other callers. A wrong number makes `listen` fail with EBADF or ENOTSOCK.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}
