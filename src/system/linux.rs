//! Linux.

use std::{
    cell::{OnceCell, UnsafeCell},
    ffi::c_void,
    fs::{self, File},
    io, mem,
    net::SocketAddr,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    ptr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use rustix::{
    event::PollFlags,
    net::{acceptfrom_with, sockopt::set_tcp_quickack, SendFlags, SocketFlags},
    param::{clock_ticks_per_second, page_size},
    process::{getrlimit, Resource},
    time::{clock_gettime, ClockId},
};

use super::{
    look,
    process::{entries, Usage},
    HangUp, System, ThreadTimes,
};

/// Linux.
#[derive(Debug)]
pub(crate) struct Linux;

/// The way of other systems, where `/proc` is missing.
#[derive(Debug)]
struct Portable;

impl System for Linux {
    const SEND: SendFlags = SendFlags::NOSIGNAL;
    const MORE_FOLLOWS: SendFlags = SendFlags::MORE;
    const DONTWAIT_IS_ENOUGH: bool = true;
    const INHERITS_NODELAY: bool = true;

    fn acknowledge(socket: BorrowedFd<'_>) -> bool {
        set_tcp_quickack(socket, true).is_ok()
    }

    #[cfg(test)]
    fn acknowledges(socket: BorrowedFd<'_>) -> Option<bool> {
        rustix::net::sockopt::tcp_quickack(socket).ok()
    }

    fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
        let (socket, peer) =
            acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
        Ok((socket, peer.and_then(|peer| SocketAddr::try_from(peer).ok())))
    }

    fn hang_up(socket: BorrowedFd<'_>) -> Option<HangUp> {
        let told = look(socket, PollFlags::RDHUP)?;
        if told.intersects(PollFlags::ERR | PollFlags::HUP) {
            Some(HangUp::Broken)
        } else {
            told.contains(PollFlags::RDHUP).then_some(HangUp::Ended)
        }
    }

    fn untaken(socket: BorrowedFd<'_>) -> Option<usize> {
        let mut count: libc::c_int = 0;
        // SAFETY: the request writes one integer of this type
        #[allow(unsafe_code)]
        let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
        // the connection has ended if this fails
        let count = if done == 0 { count } else { 0 };
        usize::try_from(count).ok()
    }

    fn path_of(file: &File, asked: &Path) -> io::Result<PathBuf> {
        let link = Self::path_to_reopen(file, asked);
        match link.canonicalize() {
            // the file has been deleted since
            Err(_) if link.symlink_metadata().is_ok() => Ok(asked.to_owned()),
            Err(_) => Portable::path_of(file, asked),
            path => path,
        }
    }

    fn path_to_reopen(file: &File, _asked: &Path) -> PathBuf {
        format!("/proc/self/fd/{}", file.as_raw_fd()).into()
    }

    /// The time of the last timer interrupt. It is at most some milliseconds old, and costs a fifth
    /// of the exact time.
    fn cheap_clock() -> u64 {
        let time = clock_gettime(ClockId::MonotonicCoarse);
        time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
    }

    /// The thread's folder in `/proc`.
    type Thread = PathBuf;

    fn this_thread() -> PathBuf {
        let thread = rustix::thread::gettid().as_raw_nonzero();
        format!("/proc/self/task/{thread}").into()
    }

    fn thread_times(thread: &PathBuf) -> Option<ThreadTimes> {
        let times = fs::read_to_string(thread.join("schedstat")).ok()?;
        let mut times = times.split_ascii_whitespace().map(str::parse);
        let mut next = || times.next()?.ok().map(Duration::from_nanos);
        let (ran, waited) = (next()?, next()?);
        let status = fs::read(thread.join("stat")).ok()?;
        // the state follows the thread's name, which is in parentheses and may contain anything
        let end = status.iter().rposition(|&byte| byte == b')')?;
        Some(ThreadTimes { ran, waited, sleeps: *status.get(end + 2)? != b'R' })
    }

    fn interrupt_no_thread() {
        // what the operator has chosen for the process stays
        if scheduling_policy() == libc::SCHED_OTHER {
            set_scheduling_policy(libc::SCHED_BATCH);
            HAS_BATCHES.store(true, Ordering::Relaxed);
        }
    }

    fn interrupt_again() {
        if HAS_BATCHES.load(Ordering::Relaxed) {
            set_scheduling_policy(libc::SCHED_OTHER);
        }
    }

    fn stay_when_ended() {
        ENTRY.with(|entry| {
            entry.get_or_init(|| {
                let entry = Box::<Entry>::default();
                push_cleanup(&entry, stay);
                entry
            });
        });
    }

    fn usage() -> Usage {
        let status = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        Usage {
            open_descriptors: open_descriptors(),
            most_descriptors: getrlimit(Resource::Nofile).current,
            ..parse_stat(&status, clock_ticks_per_second(), page_size() as u64, boot_time())
        }
    }
}

impl System for Portable {
    type Thread = ();

    fn this_thread() {}
}

/// Whether a thread of this process has another policy than the process.
static HAS_BATCHES: AtomicBool = AtomicBool::new(false);

/// The policy of the calling thread, see sched(7).
fn scheduling_policy() -> libc::c_int {
    // SAFETY: the call gets no memory
    #[allow(unsafe_code)]
    let policy = unsafe { libc::syscall(libc::SYS_sched_getscheduler, 0) };
    policy.try_into().unwrap_or(-1)
}

/// Sets it, unless the system refuses. musl has no function for this, as POSIX means processes.
fn set_scheduling_policy(policy: libc::c_int) {
    let priority: libc::c_int = 0;
    // SAFETY: the call reads one integer of this type
    #[allow(unsafe_code)]
    unsafe {
        libc::syscall(libc::SYS_sched_setscheduler, 0, policy, &raw const priority);
    }
}

/// An entry in a thread's list of what `pthread_exit(3)` calls first; in glibc and musl at most four
/// words.
type Entry = UnsafeCell<[usize; 4]>;
type Cleanup = extern "C" fn(*mut c_void);

thread_local! {
    /// Outside of the stack. glibc takes such an entry for one of a call that the thread has left
    /// already, so it is called before the thread leaves any.
    static ENTRY: OnceCell<Box<Entry>> = const { OnceCell::new() };
}

/// Waits until the process has ended.
extern "C" fn stay(_: *mut c_void) {
    loop {
        thread::park();
    }
}

/// Adds an entry by the function behind the macro `pthread_cleanup_push`, which both libraries have.
fn push_cleanup(entry: &Entry, cleanup: Cleanup) {
    type Push = unsafe extern "C" fn(*mut [usize; 4], Cleanup, *mut c_void);
    // SAFETY: the name ends with a zero
    #[allow(unsafe_code)]
    let push = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"_pthread_cleanup_push".as_ptr()) };
    if push.is_null() {
        return;
    }
    // SAFETY: this is the function's type in both libraries, and the entry stays until the thread has
    // ended.
    #[allow(unsafe_code)]
    unsafe {
        let push = mem::transmute::<*mut c_void, Push>(push);
        push(entry.get(), cleanup, ptr::null_mut());
    }
}

/// Reads `/proc/self/stat`, see proc(5). The system was started at `boot`, in seconds since the epoch.
fn parse_stat(text: &str, ticks: u64, page: u64, boot: Option<f64>) -> Usage {
    // the second field is the program's name in parentheses, which may contain anything
    let Some((_, fields)) = text.rsplit_once(") ") else { return Usage::default() };
    // the third field of the manual is the first of these
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let seconds = |count: u64| Duration::from_millis(count * 1000 / ticks).as_secs_f64();
    Usage {
        cpu_seconds: field(14).zip(field(15)).map(|(user, system)| seconds(user + system)),
        resident_bytes: field(24).map(|pages| pages * page),
        virtual_bytes: field(23),
        threads: field(20),
        started: boot.zip(field(22)).map(|(boot, ticks)| boot + seconds(ticks)),
        ..Usage::default()
    }
}

/// How many descriptors are open. From Linux 6.2 on the size of the folder is that number; on older
/// versions we count its entries.
fn open_descriptors() -> Option<u64> {
    let folder = "/proc/self/fd";
    let size = fs::metadata(folder).ok()?.len();
    if size > 0 {
        return Some(size);
    }
    entries(folder)
}

/// When the system was started, in seconds since the epoch.
fn boot_time() -> Option<f64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_programs_name_may_contain_parentheses_and_blanks() {
        let line = "7 (a) b (c) S 1 7 7 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 5 0 1234 \
                    1048576 32 18446744073709551615 1 1 0\n";
        let expected = Usage {
            cpu_seconds: Some(2.0),
            threads: Some(5),
            started: Some(1012.34),
            virtual_bytes: Some(1_048_576),
            resident_bytes: Some(32 * 4096),
            ..Usage::default()
        };
        assert_eq!(parse_stat(line, 100, 4096, Some(1000.0)), expected);
        assert_eq!(parse_stat("7 (a", 100, 4096, Some(1000.0)), Usage::default());
    }

    #[test]
    fn a_thread_that_interrupts_none_can_interrupt_again() {
        let policies = std::thread::spawn(|| {
            let before = scheduling_policy();
            Linux::interrupt_no_thread();
            let within = scheduling_policy();
            Linux::interrupt_again();
            (before, within, scheduling_policy())
        });
        let (before, within, after) = policies.join().unwrap();
        assert_eq!((before, within, after), (libc::SCHED_OTHER, libc::SCHED_BATCH, before));
    }

    #[test]
    fn says_all_of_its_usage() {
        let usage = Linux::usage();
        assert!(usage.threads.is_some_and(|count| count > 0), "{usage:?}");
        assert!(usage.started.is_some() && usage.resident_bytes.is_some(), "{usage:?}");
        assert!(usage.open_descriptors <= usage.most_descriptors, "{usage:?}");
    }
}
