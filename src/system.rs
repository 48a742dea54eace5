//! What differs between operating systems, in one file for each: `linux`, `apple` and `bsd`. No other
//! file asks for which system it is compiled; a test checks that.
//!
//! [`System`] has a portable way for everything, by the functions that POSIX and all of them have. A
//! system overrides what it does better or otherwise. So the portable way runs on every system: the
//! tests use it on Linux, with the odd answers of other kernels.

#[cfg(target_vendor = "apple")]
mod apple;
#[cfg(not(any(target_os = "android", target_os = "linux", target_vendor = "apple")))]
mod bsd;
#[cfg(any(target_os = "android", target_os = "linux"))]
mod linux;
mod process;
#[cfg(test)]
mod tests;

use std::{
    fmt::Debug,
    fs::{self, File},
    io::{self, IoSlice},
    net::SocketAddr,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    event::{poll, PollFd, PollFlags, Timespec},
    io::{fcntl_getfd, fcntl_setfd, ioctl_fionbio, Errno, FdFlags},
    net::{
        acceptfrom, getsockname, recv, sendmsg, sockopt, AddressFamily, RecvFlags,
        SendAncillaryBuffer, SendFlags,
    },
    time::{clock_gettime, ClockId},
};

#[cfg(target_vendor = "apple")]
pub(crate) use self::apple::Apple as Native;
#[cfg(not(any(target_os = "android", target_os = "linux", target_vendor = "apple")))]
pub(crate) use self::bsd::Bsd as Native;
#[cfg(any(target_os = "android", target_os = "linux"))]
pub(crate) use self::linux::Linux as Native;
pub(crate) use self::process::Usage;

/// How a peer has stopped sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HangUp {
    /// It has ended its direction.
    Ended,
    /// The connection has ended.
    Broken,
}

/// What the system has counted for a thread so far.
#[derive(Debug, Clone)]
pub(crate) struct ThreadTimes {
    /// How long it has run.
    pub(crate) ran: Duration,
    /// How long it has waited for a processor, without a wait that has not ended yet.
    pub(crate) waited: Duration,
    /// Neither runs nor waits for a processor.
    pub(crate) sleeps: bool,
}

/// The system that the process runs on.
pub(crate) trait System: Debug + Send + Sync + 'static {
    /// Flags of each send. Where there is one, they keep it from raising SIGPIPE.
    const SEND: SendFlags = SendFlags::empty();

    /// Says with a send that more follows, so that the system may wait for it. Linux waits at most 0.2
    /// seconds (`tcp(7)`, `TCP_CORK`).
    const MORE_FOLLOWS: SendFlags = SendFlags::empty();

    /// Whether `MSG_DONTWAIT` keeps a send on a blocking socket from blocking. If not, sockets stay
    /// in non-blocking mode, and a call that may block tries and polls.
    const DONTWAIT_IS_ENOUGH: bool = false;

    /// Whether connections inherit `TCP_NODELAY` from the listening socket.
    const INHERITS_NODELAY: bool = false;

    /// Keeps sends on this socket from raising SIGPIPE, where flags cannot do that.
    ///
    /// # Errors
    /// The connection has ended already, or those of `setsockopt(2)`.
    fn suppress_sigpipe(_socket: BorrowedFd<'_>) -> io::Result<()> {
        Ok(())
    }

    /// Sends one piece or several; sends less than all of them if there is no room.
    ///
    /// # Errors
    /// Those of `sendmsg(2)`.
    fn send(
        socket: BorrowedFd<'_>,
        pieces: &[IoSlice<'_>],
        flags: SendFlags,
    ) -> rustix::io::Result<usize> {
        match pieces {
            [piece] => rustix::net::send(socket, piece, flags | Self::SEND),
            _ => sendmsg(socket, pieces, &mut SendAncillaryBuffer::default(), flags | Self::SEND),
        }
    }

    /// Whether a call on a socket failed only for this once, and is to be repeated.
    fn is_transient(error: Errno) -> bool {
        error == Errno::INTR
    }

    /// Acknowledges what was received at once, and not with the next bytes that are sent. Returns
    /// whether this system can.
    fn acknowledge(_socket: BorrowedFd<'_>) -> bool {
        false
    }

    /// Whether what is received is acknowledged at once; none if the system does not tell.
    #[cfg(test)]
    fn acknowledges(_socket: BorrowedFd<'_>) -> Option<bool> {
        None
    }

    /// Accepts a connection: a socket in non-blocking mode that programs do not inherit, and its
    /// peer, which has no address on a Unix socket.
    ///
    /// # Errors
    /// [`io::ErrorKind::ConnectionAborted`] if the peer has gone already, and those of `accept(2)`.
    fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
        let (socket, peer) = acceptfrom(listener)?;
        fcntl_setfd(&socket, fcntl_getfd(&socket)? | FdFlags::CLOEXEC)?;
        ioctl_fionbio(&socket, true)?;
        Self::suppress_sigpipe(socket.as_fd())?;
        let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
        // a peer without an address would be trusted like a peer of a Unix socket
        if peer.is_none() && !is_unix(listener)? {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok((socket, peer))
    }

    /// Whether the peer has stopped sending, even if some of its bytes are unread.
    fn hang_up(socket: BorrowedFd<'_>) -> Option<HangUp> {
        let told = look(socket, PollFlags::IN)?;
        if told.intersects(PollFlags::ERR | PollFlags::HUP) {
            return Some(HangUp::Broken);
        }
        // the end cannot be seen from here before the bytes in front of it are read
        match recv(socket, &mut [0_u8][..], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((_, 0)) => Some(HangUp::Ended),
            Err(error) if error != Errno::WOULDBLOCK => Some(HangUp::Broken),
            _ => None,
        }
    }

    /// How many bytes that were sent the peer's system has not taken yet; `None` if nobody knows.
    fn untaken(_socket: BorrowedFd<'_>) -> Option<usize> {
        None
    }

    /// The path of a file that was opened by the path `asked`, with all links resolved.
    ///
    /// # Errors
    /// Another file has taken that path since then, or it cannot be read.
    fn path_of(file: &File, asked: &Path) -> io::Result<PathBuf> {
        let path = asked.canonicalize()?;
        let (now, opened) = (fs::metadata(&path)?, file.metadata()?);
        if (now.dev(), now.ino()) == (opened.dev(), opened.ino()) {
            Ok(path)
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    /// A path by which a file can be opened again that was opened by the path `asked`. On Linux it
    /// stays valid if the file is renamed.
    fn path_to_reopen(_file: &File, asked: &Path) -> PathBuf {
        asked.to_owned()
    }

    /// A clock for measuring milliseconds, in nanoseconds. It is read for each message.
    fn cheap_clock() -> u64 {
        let time = clock_gettime(ClockId::Monotonic);
        time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
    }

    /// A thread, as [`Self::thread_times`] wants it.
    type Thread: Debug + Send + 'static;

    /// The calling thread.
    fn this_thread() -> Self::Thread;

    /// What the system has counted for a thread; `None` if it does not say.
    fn thread_times(_thread: &Self::Thread) -> Option<ThreadTimes> {
        None
    }

    /// Keeps the calling thread from interrupting another one of the processor's when it wakes up,
    /// where a system knows this: it begins when that one waits, or at the end of its turn. What it
    /// wakes up for is then handled in batches, with fewer switches between threads. Threads and
    /// programs that it starts inherit this, see [`Self::interrupt_again`].
    fn interrupt_no_thread() {}

    /// Makes the calling thread as it was without [`Self::interrupt_no_thread`]. Safe between fork(2)
    /// and exec(2).
    fn interrupt_again() {}

    /// Keeps the calling thread where it is if `pthread_exit(3)` ends it, as Python before 3.14 does to
    /// threads while the interpreter ends. Some systems let the thread leave its calls then, one by
    /// one. In a greenlet that crashes: its first call would return to a stack that other greenlets
    /// have used since. Further calls in a thread change nothing.
    fn stay_when_ended() {}

    /// What the process uses of the system, as far as the system says.
    fn usage() -> Usage {
        Usage::portable()
    }
}

/// Whether a socket is a Unix socket.
///
/// # Errors
/// If it is no socket.
pub(crate) fn is_unix(socket: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(getsockname(socket)?.address_family() == AddressFamily::UNIX)
}

/// Turns Nagle's algorithm off. With it, small replies would leave in batches 40 to 200 ms apart.
pub(crate) fn set_nodelay(socket: BorrowedFd<'_>) {
    // if this fails, the connection is slow but works
    let _ = sockopt::set_tcp_nodelay(socket, true);
}

/// What poll(2) tells of a socket now.
fn look(socket: BorrowedFd<'_>, events: PollFlags) -> Option<PollFlags> {
    let mut looked = [PollFd::from_borrowed_fd(socket, events)];
    poll(&mut looked, Some(&Timespec::default())).ok()?;
    Some(looked[0].revents())
}
