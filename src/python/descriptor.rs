//! Takes over sockets that Python has bound. The code is unsafe: Python can pass nothing but the
//! number of a descriptor.
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{BorrowedFd, FromRawFd, OwnedFd},
};

use rustix::{io::Errno, net::sockopt};

/// Takes over a descriptor that the caller has duplicated for this purpose and forgets.
///
/// # Errors
/// It is no socket; then it stays the caller's, as a wrong number may be that of anything.
pub(super) fn take_over(descriptor: i32) -> io::Result<OwnedFd> {
    if descriptor < 0 {
        return Err(Errno::BADF.into());
    }
    // SAFETY: the borrow ends with this function, and the system refuses what is not open.
    sockopt::socket_type(unsafe { BorrowedFd::borrow_raw(descriptor) })?;
    // SAFETY: `fastwsh.server` passes the result of `os.dup`, which nothing else owns; the stub says
    // so to other callers.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Duplicates a descriptor of any kind, which stays the caller's.
///
/// # Errors
/// It is not open.
pub(super) fn duplicate(descriptor: i32) -> io::Result<OwnedFd> {
    if descriptor < 0 {
        return Err(Errno::BADF.into());
    }
    // SAFETY: the borrow ends with this function, and the system refuses what is not open.
    unsafe { BorrowedFd::borrow_raw(descriptor) }.try_clone_to_owned()
}
