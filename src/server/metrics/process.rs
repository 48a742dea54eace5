//! The metrics that Prometheus' own clients give of every process, as far as the system says them.

use super::text::Text;
use crate::system::Usage;

/// Writes the metrics that are known.
pub(super) fn write(text: &mut Text, usage: &Usage) {
    if let Some(seconds) = usage.cpu_seconds {
        text.counter("process_cpu_seconds_total", "User and system CPU time spent, in seconds.")
            .value(seconds);
    }
    if let Some(bytes) = usage.resident_bytes {
        text.gauge("process_resident_memory_bytes", "Resident memory size in bytes.").value(bytes);
    }
    if let Some(bytes) = usage.virtual_bytes {
        text.gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.").value(bytes);
    }
    if let Some(threads) = usage.threads {
        text.gauge("process_threads", "Threads of the process.").value(threads);
    }
    if let Some(started) = usage.started {
        text.gauge(
            "process_start_time_seconds",
            "Start time of the process since the Unix epoch, in seconds.",
        )
        .value(started);
    }
    if let Some(count) = usage.open_descriptors {
        text.gauge("process_open_fds", "Open file descriptors.").value(count);
    }
    if let Some(most) = usage.most_descriptors {
        text.gauge("process_max_fds", "File descriptors that may be open.").value(most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_out_what_the_system_does_not_say() {
        let mut text = Text::default();
        let usage = Usage { cpu_seconds: Some(1.5), open_descriptors: Some(7), ..Usage::default() };
        write(&mut text, &usage);
        let lines = text.into_string();
        let values: Vec<_> = lines.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(values, ["process_cpu_seconds_total 1.5", "process_open_fds 7"]);
    }
}
