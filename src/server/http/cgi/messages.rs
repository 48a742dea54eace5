//! Logs what a program writes to its standard error.

use tokio::{io::AsyncReadExt, process::ChildStderr};

use crate::server::log::{
    escape::printable,
    event::{EventSink, Level, HANDLER_LOG},
};

/// A message longer than this is split into several lines, and after some lines the rest is left
/// out.
const MAX_MESSAGE_BYTES: usize = 1000;
const MAX_MESSAGES: usize = 100;

/// Logs each line until the end of the stream.
pub(super) async fn log_messages(stderr: Option<ChildStderr>, name: &str, events: &EventSink) {
    let Some(mut stderr) = stderr else { return };
    let mut line = Vec::new();
    let mut left = MAX_MESSAGES;
    let mut tell = |line: &[u8]| {
        if let Some(rest) = left.checked_sub(1) {
            left = rest;
            let text = String::from_utf8_lossy(line.trim_ascii_end());
            let more = if rest == 0 { " (further lines are left out)" } else { "" };
            events.line(Level::Warning, HANDLER_LOG, || {
                format!("CGI script {name:?}: {}{more}", printable(&text))
            });
        }
    };
    loop {
        let ended = stderr.read_buf(&mut line).await.unwrap_or(0) == 0;
        while let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            tell(&line[..end]);
            line.drain(..=end);
        }
        if ended {
            if !line.is_empty() {
                tell(&line);
            }
            return;
        }
        if line.len() > MAX_MESSAGE_BYTES {
            tell(&line);
            line.clear();
        }
    }
}
