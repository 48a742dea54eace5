//! What the kernel says about a server's processor time and memory.

use std::fs;

use serde::Serialize;

/// `pid` and all its descendants.
pub fn tree(pid: i32) -> Vec<i32> {
    let parents: Vec<(i32, i32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|child| Some((child, parent(child)?)))
        .collect();
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(&current) = found.get(next) {
        found.extend(parents.iter().filter(|(_, of)| *of == current).map(|(child, _)| *child));
        next += 1;
    }
    found
}

fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may have anything in it, brackets too.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// Processor time of each of these processes so far, from their clocks: exact, and with that of
/// threads that have ended. Of a process that has ended it is nothing.
pub fn cpu_ns(pids: &[i32]) -> Vec<u64> {
    pids.iter().map(|&pid| process_clock_ns(pid).unwrap_or(0)).collect()
}

/// This process's own processor time.
pub fn own_cpu_ns() -> u64 {
    read_clock(libc::CLOCK_PROCESS_CPUTIME_ID).unwrap_or(0)
}

/// Monotonic time.
pub fn now_ns() -> u64 {
    read_clock(libc::CLOCK_MONOTONIC).expect("every Linux has CLOCK_MONOTONIC")
}

fn process_clock_ns(pid: i32) -> Option<u64> {
    let mut clock = 0;
    // SAFETY: `clock` outlives the call.
    if unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) } != 0 {
        return None;
    }
    read_clock(clock)
}

fn read_clock(clock: libc::clockid_t) -> Option<u64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` outlives the call.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return None;
    }
    Some(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// Memory in KiB: of processes (from `smaps_rollup`) and of the kernel.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Memory {
    pub rss: i64,
    pub pss: i64,
    pub anonymous: i64,
    pub threads: i64,
    /// Of the whole machine, as are the next three: kernel stacks, page tables, slab that cannot be
    /// reclaimed, TCP buffers. The client's sockets are in the last two as well.
    pub kernel_stack: i64,
    pub page_tables: i64,
    pub slab: i64,
    pub tcp: i64,
}

impl Memory {
    pub fn of(pids: &[i32]) -> Self {
        let mut sum = Self::default();
        for pid in pids {
            let smaps = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
            sum.rss += field(&smaps, "Rss:");
            sum.pss += field(&smaps, "Pss:");
            sum.anonymous += field(&smaps, "Anonymous:");
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            sum.threads += field(&status, "Threads:");
        }
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        sum.kernel_stack = field(&meminfo, "KernelStack:");
        sum.page_tables = field(&meminfo, "PageTables:");
        sum.slab = field(&meminfo, "SUnreclaim:");
        let sockstat = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
        let tcp_pages = sockstat
            .lines()
            .find(|line| line.starts_with("TCP:"))
            .and_then(|line| line.rsplit(' ').next()?.parse::<i64>().ok());
        sum.tcp = tcp_pages.unwrap_or(0) * 4;
        sum
    }

    pub fn since(self, before: Self) -> Self {
        Self {
            rss: self.rss - before.rss,
            pss: self.pss - before.pss,
            anonymous: self.anonymous - before.anonymous,
            threads: self.threads - before.threads,
            kernel_stack: self.kernel_stack - before.kernel_stack,
            page_tables: self.page_tables - before.page_tables,
            slab: self.slab - before.slab,
            tcp: self.tcp - before.tcp,
        }
    }
}

/// The number after `name` at the start of a line, or zero.
fn field(text: &str, name: &str) -> i64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_this_process() {
        let me = i32::try_from(std::process::id()).unwrap();
        assert_eq!(tree(me)[0], me);
        assert!(cpu_ns(&[me]).iter().sum::<u64>() > 0 && own_cpu_ns() > 0);
        let memory = Memory::of(&[me]);
        assert!(memory.rss > 500 && memory.pss > 0 && memory.threads >= 1);
        assert!(memory.kernel_stack > 0 && memory.slab > 0);
    }

    #[test]
    fn sees_its_children() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let found = tree(i32::try_from(std::process::id()).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.contains(&i32::try_from(child.id()).unwrap()), "{found:?}");
    }
}
