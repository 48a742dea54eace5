//! The metrics that Prometheus' own clients give of every process, where the system has `/proc`.

use std::{fs, time::Duration};

use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{getrlimit, Resource},
};

use super::text::Text;

/// Writes the metrics that can be read, and nothing on systems without `/proc`.
pub(super) fn write(text: &mut Text) {
    if let Some(status) = Status::read() {
        text.counter("process_cpu_seconds_total", "User and system CPU time spent, in seconds.")
            .value(status.cpu_seconds);
        text.gauge("process_resident_memory_bytes", "Resident memory size in bytes.")
            .value(status.resident_bytes);
        text.gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.")
            .value(status.virtual_bytes);
        text.gauge("process_threads", "Threads of the process.").value(status.threads);
        if let Some(boot) = boot_time() {
            text.gauge(
                "process_start_time_seconds",
                "Start time of the process since the Unix epoch, in seconds.",
            )
            .value(boot + status.started);
        }
    }
    if let Some(count) = open_descriptors() {
        text.gauge("process_open_fds", "Open file descriptors.").value(count);
        if let Some(most) = getrlimit(Resource::Nofile).current {
            text.gauge("process_max_fds", "File descriptors that may be open.").value(most);
        }
    }
}

/// A part of `/proc/self/stat`, see proc(5).
#[derive(Debug, PartialEq)]
struct Status {
    cpu_seconds: f64,
    threads: u64,
    /// Seconds after the system's start.
    started: f64,
    virtual_bytes: u64,
    resident_bytes: u64,
}

impl Status {
    fn read() -> Option<Self> {
        let text = fs::read_to_string("/proc/self/stat").ok()?;
        Self::parse(&text, clock_ticks_per_second(), page_size() as u64)
    }

    fn parse(text: &str, ticks: u64, page: u64) -> Option<Self> {
        // the second field is the program's name in parentheses, which may contain anything
        let (_, fields) = text.rsplit_once(") ")?;
        // the third field of the manual is the first of these
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let seconds = |count: u64| Duration::from_millis(count * 1000 / ticks).as_secs_f64();
        Some(Self {
            cpu_seconds: seconds(field(14)? + field(15)?),
            threads: field(20)?,
            started: seconds(field(22)?),
            virtual_bytes: field(23)?,
            resident_bytes: field(24)? * page,
        })
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
    // one of them belongs to reading the folder
    Some(fs::read_dir(folder).ok()?.count().saturating_sub(1) as u64)
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
        let expected = Status {
            cpu_seconds: 2.0,
            threads: 5,
            started: 12.34,
            virtual_bytes: 1_048_576,
            resident_bytes: 32 * 4096,
        };
        assert_eq!(Status::parse(line, 100, 4096), Some(expected));
        assert_eq!(Status::parse("7 (a", 100, 4096), None);
    }
}
