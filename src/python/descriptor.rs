//! Takes over sockets that Python has bound, and gives it those of connections. The code is unsafe:
//! Python can pass nothing but the number of a descriptor.
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{BorrowedFd, FromRawFd, IntoRawFd, OwnedFd},
};

use pyo3::prelude::*;
use rustix::{io::Errno, net::sockopt};

use super::{connection::Connection, errors::os_error};

#[pyfunction]
pub(super) fn duplicate_socket(connection: &Bound<'_, Connection>) -> PyResult<i32> {
    let descriptor = connection.get().transport.duplicate_descriptor();
    descriptor.map(OwnedFd::into_raw_fd).map_err(|error| os_error(&error))
}

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
/// If it is not open.
pub(super) fn duplicate(descriptor: i32) -> io::Result<OwnedFd> {
    if descriptor < 0 {
        return Err(Errno::BADF.into());
    }
    // SAFETY: the borrow ends with this function, and the system refuses what is not open.
    unsafe { BorrowedFd::borrow_raw(descriptor) }.try_clone_to_owned()
}
