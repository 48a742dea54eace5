//! What the process uses of the system: memory, processor time, threads and descriptors.

// unsafe, because getrusage(2) writes to memory that the caller points to
#![allow(unsafe_code)]

use std::{fs, mem::MaybeUninit, time::Duration};

use rustix::process::{getrlimit, Resource};

/// What the process uses; `None` where the system does not say.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// Time of processors, in the process and in the kernel for it.
    pub(crate) cpu_seconds: Option<f64>,
    pub(crate) resident_bytes: Option<u64>,
    pub(crate) virtual_bytes: Option<u64>,
    pub(crate) threads: Option<u64>,
    /// When the process was started, in seconds since the epoch.
    pub(crate) started: Option<f64>,
    pub(crate) open_descriptors: Option<u64>,
    pub(crate) most_descriptors: Option<u64>,
}

impl Usage {
    /// What POSIX has functions for, and the folder that macOS and the BSDs have.
    pub(super) fn portable() -> Self {
        Self {
            cpu_seconds: Some(cpu_time().as_secs_f64()),
            open_descriptors: entries("/dev/fd"),
            most_descriptors: getrlimit(Resource::Nofile).current,
            ..Self::default()
        }
    }
}

fn cpu_time() -> Duration {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is valid for the call, and all bytes zero is a value of this struct, should
    // the call fail.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    let time = |time: libc::timeval| {
        // the type of either field depends on the system, and neither is negative
        #[allow(clippy::unnecessary_cast, clippy::cast_sign_loss)]
        let (seconds, microseconds) = (time.tv_sec as u64, time.tv_usec as u64);
        Duration::from_secs(seconds) + Duration::from_micros(microseconds)
    };
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// The number of descriptors in a folder of them.
pub(super) fn entries(folder: &str) -> Option<u64> {
    // one of them belongs to reading the folder
    Some(fs::read_dir(folder).ok()?.count().saturating_sub(1) as u64)
}
