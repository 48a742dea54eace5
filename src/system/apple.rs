//! macOS, and the other systems with Apple's kernel, XNU.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsRawFd, BorrowedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use rustix::{event::PollFlags, fs::getpath, io::Errno, net::sockopt};

use super::{look, HangUp, System};

/// XNU. `MSG_DONTWAIT` does not keep its sends from blocking: they look at the socket's own mode.
#[derive(Debug)]
pub(crate) struct Apple;

impl System for Apple {
    fn suppress_sigpipe(socket: BorrowedFd<'_>) -> io::Result<()> {
        // XNU refuses every option of a connection that has ended
        sockopt::set_socket_nosigpipe(socket, true).map_err(|error| match error {
            Errno::INVAL => io::ErrorKind::ConnectionAborted.into(),
            error => error.into(),
        })
    }

    /// A send may fail with `EPROTOTYPE` while the connection is coming to its end; the next one
    /// tells the true cause.
    fn is_transient(error: Errno) -> bool {
        matches!(error, Errno::INTR | Errno::PROTOTYPE)
    }

    /// XNU tells of the end of either direction by the same flag.
    fn hang_up(socket: BorrowedFd<'_>) -> Option<HangUp> {
        let told = look(socket, PollFlags::IN)?;
        if told.contains(PollFlags::ERR) {
            return Some(HangUp::Broken);
        }
        told.contains(PollFlags::HUP).then(|| match sockopt::socket_error(socket) {
            Ok(Ok(())) => HangUp::Ended,
            _ => HangUp::Broken,
        })
    }

    fn untaken(socket: BorrowedFd<'_>) -> Option<usize> {
        let mut count: libc::c_int = 0;
        let mut length = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: the option is one integer of this type
        #[allow(unsafe_code)]
        let done = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_NWRITE,
                (&raw mut count).cast(),
                &raw mut length,
            )
        };
        // the connection has ended if this fails
        let count = if done == 0 { count } else { 0 };
        usize::try_from(count).ok()
    }

    fn path_of(file: &File, _asked: &Path) -> io::Result<PathBuf> {
        let path = getpath(file)?;
        Ok(Path::new(std::ffi::OsStr::from_bytes(path.as_bytes())).to_owned())
    }

    type Thread = ();

    fn this_thread() {}
}
