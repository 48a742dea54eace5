//! The portable way, with the odd answers of other kernels.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
    thread,
    time::{Duration, Instant},
};

use rustix::fs::{fcntl_getfl, OFlags};

use super::*;

/// Has the portable way for everything.
#[derive(Debug)]
struct Portable;

impl System for Portable {
    type Thread = ();

    fn this_thread() {}
}

/// A kernel that refuses options of a connection that has ended, as XNU does.
#[derive(Debug)]
struct PeerHasGone;

impl System for PeerHasGone {
    fn suppress_sigpipe(_: BorrowedFd<'_>) -> io::Result<()> {
        Err(io::ErrorKind::ConnectionAborted.into())
    }

    type Thread = ();

    fn this_thread() {}
}

fn listener() -> (TcpListener, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener, client)
}

fn connected() -> (TcpStream, TcpStream) {
    let (listener, client) = listener();
    (client, listener.accept().unwrap().0)
}

/// Asks again and again until there is an answer: a peer's end takes a moment to arrive.
fn eventually<T>(ask: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "no answer");
        thread::yield_now();
    }
}

#[test]
fn accepted_sockets_do_not_block_and_are_not_inherited() {
    fn check<S: System>() {
        let (listener, client) = listener();
        let (socket, peer) = S::accept(listener.as_fd()).unwrap();
        assert_eq!(peer, client.local_addr().ok());
        assert!(fcntl_getfl(&socket).unwrap().contains(OFlags::NONBLOCK));
        assert!(fcntl_getfd(&socket).unwrap().contains(FdFlags::CLOEXEC));
        listener.set_nonblocking(true).unwrap();
        let none = S::accept(listener.as_fd()).unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
    }
    check::<Portable>();
    check::<Native>();
}

#[test]
fn peers_on_unix_sockets_have_no_address() {
    fn check<S: System>() {
        let folder = std::env::temp_dir();
        let name = format!("fastwsh-{}-{}", std::process::id(), std::any::type_name::<S>());
        let path = folder.join(name.replace(':', "-"));
        let listener = UnixListener::bind(&path).unwrap();
        let client = UnixStream::connect(&path);
        fs::remove_file(&path).unwrap();
        let (_, peer) = S::accept(listener.as_fd()).unwrap();
        assert_eq!(peer, None);
        drop(client);
    }
    check::<Portable>();
    check::<Native>();
}

#[test]
fn a_peer_that_has_gone_is_not_an_error_of_the_listener() {
    let (listener, mut client) = listener();
    let error = PeerHasGone::accept(listener.as_fd()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
    // and the connection is closed
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn sees_how_a_peer_has_stopped() {
    fn check<S: System>() {
        let (ours, mut peer) = connected();
        assert_eq!(S::hang_up(ours.as_fd()), None);
        peer.write_all(b"a").unwrap();
        assert_eq!(S::hang_up(ours.as_fd()), None);
        (&ours).read_exact(&mut [0; 1]).unwrap();
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(eventually(|| S::hang_up(ours.as_fd())), HangUp::Ended);
        sockopt::set_socket_linger(&peer, Some(Duration::ZERO)).unwrap();
        drop(peer);
        eventually(|| (S::hang_up(ours.as_fd())? == HangUp::Broken).then_some(()));
    }
    check::<Portable>();
    check::<Native>();
}

#[test]
fn an_opened_file_is_told_from_one_that_took_its_path() {
    let folder = std::env::temp_dir().join(format!("fastwsh-files-{}", std::process::id()));
    fs::create_dir(&folder).unwrap();
    let folder = folder.canonicalize().unwrap();
    let (path, other) = (folder.join("a"), folder.join("b"));
    fs::write(&path, "a").unwrap();
    fs::write(&other, "b").unwrap();
    let file = File::open(&path).unwrap();
    assert_eq!(Portable::path_of(&file, &path).unwrap(), path);
    assert_eq!(Native::path_of(&file, &path).unwrap(), path);
    assert_eq!(fs::read_to_string(Portable::path_to_reopen(&file, &path)).unwrap(), "a");
    fs::rename(&other, &path).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &other).unwrap();
    let error = Portable::path_of(&file, &path).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(Portable::path_of(&file, &other).is_err());
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn clocks_go_on() {
    fn check<S: System>() {
        let begin = S::cheap_clock();
        eventually(|| (S::cheap_clock() > begin).then_some(()));
    }
    check::<Portable>();
    check::<Native>();
}

#[test]
fn the_times_of_a_thread_are_known_as_far_as_the_system_says() {
    assert!(Portable::thread_times(&Portable::this_thread()).is_none());
    let thread = Native::this_thread();
    let times = Native::thread_times(&thread);
    assert!(times.is_none_or(|times| !times.sleeps && times.waited < Duration::from_secs(3600)));
}

#[test]
fn usage_is_said_as_far_as_it_is_known() {
    let usage = Portable::usage();
    assert!(usage.cpu_seconds.is_some_and(|seconds| seconds > 0.0), "{usage:?}");
    assert!(usage.open_descriptors.is_some_and(|count| count >= 3), "{usage:?}");
    assert_eq!((usage.threads, usage.started), (None, None));
}

#[test]
#[cfg(any(target_os = "android", target_os = "linux"))]
fn a_thread_that_is_ended_stays_where_it_is() {
    let (send, receive) = std::sync::mpsc::channel();
    let thread = thread::spawn(move || {
        Native::stay_when_ended();
        send.send(Native::this_thread()).unwrap();
        // SAFETY: the call does not come back, and the thread leaves no call
        #[allow(unsafe_code)]
        unsafe {
            libc::pthread_exit(std::ptr::null_mut());
        }
    });
    let ended = receive.recv().unwrap();
    eventually(|| Native::thread_times(&ended)?.sleeps.then_some(()));
    assert!(!thread.is_finished());
}
