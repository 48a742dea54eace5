//! Answers the request of a stream.
//!
//! Over HTTP/1.1 the answer to an opening handshake is ordinary bytes. Over HTTP/2 it is a header
//! block, and not one of the stream's bytes. The stream's task sends those answers that have a body.

use std::sync::{Arc, Mutex, OnceLock};

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::oneshot;

use super::{byte_stream::Http2ByteStream, headers::CONNECTION_HEADERS};
use crate::{
    inspect::WatchedConnection,
    locks::lock,
    protocol::handshake::{Answer, OPENED},
    server::http::refusal::Refusal,
};

/// What the stream's task does about the answer.
#[derive(Debug)]
pub(super) enum StreamAnswer {
    /// Nothing: the handler has opened the WebSocket.
    Opened,
    /// It sends this one.
    Refuse(Refusal),
}

/// Accepts the answer to the opening handshake of a stream, once.
#[derive(Debug)]
pub struct AnswerSlot {
    stream: Arc<Http2ByteStream>,
    sender: Mutex<Option<oneshot::Sender<StreamAnswer>>>,
    /// What an inspector keeps of the connection.
    watched: OnceLock<Arc<WatchedConnection>>,
}

impl AnswerSlot {
    /// Also returns where the answer arrives; an error says that there will be none.
    pub(super) fn new(
        stream: Arc<Http2ByteStream>,
    ) -> (Arc<Self>, oneshot::Receiver<StreamAnswer>) {
        let (sender, answer) = oneshot::channel();
        let (sender, watched) = (Mutex::new(Some(sender)), OnceLock::new());
        (Arc::new(Self { stream, sender, watched }), answer)
    }

    /// Has an inspector know of the answer.
    pub(in crate::server) fn set_watched(&self, watched: Arc<WatchedConnection>) {
        let _ = self.watched.set(watched);
    }

    /// Whether an answer has not been given yet and is still possible.
    pub fn is_empty(&self) -> bool {
        lock(&self.sender).is_some()
    }

    /// Opens the connection. Returns `false` if the stream has ended.
    ///
    /// # Errors
    /// If a header of the handler cannot be sent over HTTP/2: a sentence that names it. The stream
    /// is then reset.
    pub fn open(&self, answer: &Answer<'_>) -> Result<bool, String> {
        let Some(sender) = lock(&self.sender).take() else { return Ok(false) };
        let headers = to_headers(answer)?;
        if let Some(watched) = self.watched.get() {
            watched.note_answer(OPENED, to_pairs(&headers));
        }
        let is_open = self.stream.open(headers);
        if is_open {
            // if the task has ended, the peer has gone since, which the handler finds out
            let _ = sender.send(StreamAnswer::Opened);
        }
        Ok(is_open)
    }

    /// Refuses the connection. Returns `false` if the stream has ended.
    pub fn refuse(&self, refusal: Refusal) -> bool {
        let sender = lock(&self.sender).take();
        if let Some(watched) = self.watched.get() {
            watched.note_answer(refusal.status, Vec::new());
        }
        sender.is_some_and(|sender| sender.send(StreamAnswer::Refuse(refusal)).is_ok())
    }

    /// Resets the stream if it has not been answered.
    pub fn give_up(&self) {
        drop(lock(&self.sender).take());
    }

    /// Makes the stream's task check the connection, because the handler has reset it.
    pub fn wake_task(&self) {
        self.stream.notify_task();
    }

    /// Reports that the handler has ended.
    pub fn end(&self) {
        self.give_up();
        self.wake_task();
    }
}

fn to_pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

fn to_headers(answer: &Answer<'_>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    let mut add = |name: &str, value: &str| -> Result<(), String> {
        if CONNECTION_HEADERS.iter().any(|known| name.eq_ignore_ascii_case(known)) {
            return Ok(());
        }
        let fault = || format!("header {name:?} with the value {value:?} cannot be sent");
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| fault())?;
        let value = HeaderValue::from_bytes(value.trim().as_bytes()).map_err(|_| fault())?;
        headers.append(name, value);
        Ok(())
    };
    if let Some(protocol) = answer.protocol {
        add("sec-websocket-protocol", protocol)?;
    }
    if let Some(extensions) = answer.extensions {
        add("sec-websocket-extensions", extensions)?;
    }
    for (name, value) in answer.extra {
        // a value may be followed by further header lines, which existing handlers use
        let lines = format!("{name}: {value}");
        for line in lines.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)) {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            add(name, value)?;
        }
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(extra: &[(&str, &str)]) -> Result<Vec<(String, String)>, String> {
        let extra: Vec<_> =
            extra.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let answer = Answer { accept: "", protocol: Some("chat"), extensions: None, extra: &extra };
        Ok(to_pairs(&to_headers(&answer)?))
    }

    #[test]
    fn header_lines_become_headers() {
        let of = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let protocol = of("sec-websocket-protocol", "chat");
        assert_eq!(
            headers(&[("Set-Cookie", "a=\u{e9}\r\nX-B: c"), ("Connection", "close")]),
            Ok(vec![protocol.clone(), of("set-cookie", "a=\u{e9}"), of("x-b", "c")])
        );
        assert!(headers(&[("a b", "c")]).is_err());
        assert!(headers(&[("a", "b\0")]).is_err());
        assert_eq!(headers(&[]), Ok(vec![protocol]));
    }
}
