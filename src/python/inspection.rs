//! `Inspection`: what an inspector knows of the connections of a server, and what it does to them.

use std::sync::Arc;

use pyo3::{
    exceptions::PyValueError,
    prelude::*,
    types::{PyBytes, PyDict},
};

use super::{connection::to_python, errors::os_error};
use crate::{
    connection::{Insertion, ServerClose, Transport},
    inspect::{Inspector, Pace, Page, Query, Record, SortKey, SortValue, WatchedConnection},
    protocol::{close::CloseCode, closing::Side},
};

/// The connections of one server.
#[pyclass(frozen, module = "fastwsh._core")]
pub(super) struct Inspection(pub(super) Arc<Inspector>);

type Headers = Vec<(String, String)>;

impl Inspection {
    fn with<T>(&self, id: u64, act: impl FnOnce(&WatchedConnection) -> T) -> Option<T> {
        self.0.find(id).map(|watched| act(&watched))
    }

    fn on_transport(&self, id: u64, act: impl FnOnce(&WatchedConnection, &Arc<Transport>)) -> bool {
        let Some(watched) = self.0.find(id) else { return false };
        let Some(transport) = watched.transport() else { return false };
        act(&watched, &transport);
        true
    }
}

#[pymethods]
impl Inspection {
    fn ids(&self, py: Python<'_>) -> Vec<u64> {
        py.detach(|| self.0.ids())
    }

    #[pyo3(signature = (*, key="id", descending=false, filter="", open=true, ended=true, offset=0, count=50))]
    #[expect(clippy::too_many_arguments, reason = "keyword-only in Python")]
    fn page<'py>(
        &self,
        py: Python<'py>,
        key: &str,
        descending: bool,
        filter: &str,
        open: bool,
        ended: bool,
        offset: usize,
        count: usize,
    ) -> PyResult<Bound<'py, PyDict>> {
        let query = Query { offset, count, ..wanted(key, descending, filter, open, ended)? };
        let page = py.detach(|| self.0.page(&query));
        let rows = page.rows.iter().map(|(watched, _)| row(py, watched));
        let result = counts(py, &page)?;
        result.set_item("rows", rows.collect::<PyResult<Vec<_>>>()?)?;
        Ok(result)
    }

    /// The rows of a page without what they show: what they are sorted by, and their numbers.
    #[pyo3(signature = (*, key="id", descending=false, filter="", open=true, ended=true, most=50))]
    #[expect(clippy::too_many_arguments, reason = "keyword-only in Python")]
    fn keys<'py>(
        &self,
        py: Python<'py>,
        key: &str,
        descending: bool,
        filter: &str,
        open: bool,
        ended: bool,
        most: usize,
    ) -> PyResult<Bound<'py, PyDict>> {
        let query = Query { count: most, ..wanted(key, descending, filter, open, ended)? };
        let (page, keys) = py.detach(|| {
            let page = self.0.page(&query);
            let keyed = page.rows.iter();
            let keys: Vec<_> =
                keyed.map(|(it, account)| (query.key.value(it, account), it.id)).collect();
            (page, keys)
        });
        let keys = keys.into_iter().map(|(value, id)| {
            Ok(match value {
                SortValue::Time(time) => (time, id).into_pyobject(py)?,
                SortValue::Count(count) => (count, id).into_pyobject(py)?,
                SortValue::Text(text) => (text, id).into_pyobject(py)?,
            })
        });
        let result = counts(py, &page)?;
        result.set_item("keys", keys.collect::<PyResult<Vec<_>>>()?)?;
        Ok(result)
    }

    /// What is shown of some connections; those that are not known are left out.
    #[expect(clippy::needless_pass_by_value, reason = "PyO3 extracts it")]
    fn rows<'py>(&self, py: Python<'py>, ids: Vec<u64>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let known = ids.iter().filter_map(|id| self.0.find(*id));
        known.map(|watched| row(py, &watched)).collect()
    }

    fn connection<'py>(&self, py: Python<'py>, id: u64) -> PyResult<Option<Bound<'py, PyDict>>> {
        let Some(watched) = self.0.find(id) else { return Ok(None) };
        let result = row(py, &watched)?;
        let heads = &watched.heads;
        result.set_item("method", &heads.method)?;
        result.set_item("request_headers", heads.request.clone())?;
        let answer: Option<(u16, Headers)> =
            heads.answer().map(|(status, headers)| (status, headers.to_vec()));
        let (status, headers) = answer.unwrap_or_default();
        result.set_item("status", status)?;
        result.set_item("response_headers", headers)?;
        Ok(Some(result))
    }

    #[pyo3(signature = (id, *, after=0, most=1000, data_bytes=65536))]
    fn records<'py>(
        &self,
        py: Python<'py>,
        id: u64,
        after: u64,
        most: usize,
        data_bytes: usize,
    ) -> PyResult<Option<Bound<'py, PyDict>>> {
        let slice = py.detach(|| self.with(id, |it| it.records(after, most, data_bytes)));
        let Some(slice) = slice else { return Ok(None) };
        let result = PyDict::new(py);
        let records = slice.records.iter().map(|(number, time, record)| {
            let line = PyDict::new(py);
            line.set_item("number", number)?;
            line.set_item("time", time)?;
            match record {
                Record::Note(text) => line.set_item("note", &**text)?,
                Record::Frame(frame) => {
                    line.set_item("received", frame.received)?;
                    line.set_item("first", frame.first)?;
                    line.set_item("masked", frame.masked)?;
                    line.set_item("minimal", frame.minimal)?;
                    line.set_item("wire", frame.wire)?;
                    line.set_item("size", frame.size)?;
                    line.set_item("opaque", frame.opaque)?;
                    line.set_item("by_hand", frame.by_hand)?;
                    line.set_item("data", PyBytes::new(py, &frame.data))?;
                }
            }
            Ok(line)
        });
        result.set_item("records", records.collect::<PyResult<Vec<_>>>()?)?;
        result.set_item("last", slice.last)?;
        result.set_item("dropped", slice.dropped)?;
        Ok(Some(result))
    }

    fn note(&self, py: Python<'_>, id: u64, text: &str) -> bool {
        py.detach(|| self.with(id, |watched| watched.note(text))).is_some()
    }

    fn insert(&self, py: Python<'_>, id: u64, data: &[u8], is_message: bool) -> &'static str {
        py.detach(|| {
            let mut insertion = Insertion::Ended;
            self.on_transport(id, |watched, transport| {
                insertion = transport.insert(data, is_message, || watched.mark_by_hand());
            });
            match insertion {
                Insertion::Done => "done",
                Insertion::Busy => "busy",
                Insertion::InsideMessage => "inside a message",
                Insertion::Ended => "ended",
            }
        })
    }

    #[pyo3(signature = (id, code, reason=""))]
    fn close(&self, py: Python<'_>, id: u64, code: u16, reason: &str) -> PyResult<bool> {
        let close =
            ServerClose::new(CloseCode(code), reason).map_err(super::errors::value_error)?;
        Ok(py.detach(|| self.on_transport(id, |_, transport| transport.go_away(&close))))
    }

    fn reset(&self, py: Python<'_>, id: u64) -> bool {
        py.detach(|| self.on_transport(id, |_, transport| transport.reset()))
    }

    fn half_close(&self, py: Python<'_>, id: u64) -> bool {
        py.detach(|| {
            let mut has_ended = false;
            self.on_transport(id, |_, transport| has_ended = transport.try_end_sending());
            has_ended
        })
    }

    #[pyo3(signature = (id, bytes_per_second))]
    fn set_pace(&self, py: Python<'_>, id: u64, bytes_per_second: Option<u32>) -> PyResult<bool> {
        let pace = match bytes_per_second {
            None => Pace::Full,
            Some(0) => Pace::Stalled,
            Some(rate) => Pace::Throttled(rate),
        };
        let set = py.detach(|| self.with(id, |watched| watched.set_pace(pace)));
        set.unwrap_or(Ok(false)).map_err(|error| os_error(&error))
    }

    fn drop_at(&self, py: Python<'_>, id: u64, count: u64) -> bool {
        py.detach(|| self.on_transport(id, |watched, _| watched.drop_at(count)))
    }

    fn memory(&self) -> (usize, usize, u64) {
        self.0.memory()
    }

    fn latency(&self) -> Vec<u64> {
        self.0.latency().to_vec()
    }
}

/// All connections that are wanted, in their order.
fn wanted(key: &str, descending: bool, filter: &str, open: bool, ended: bool) -> PyResult<Query> {
    let (key, filter) = (sort_key(key)?, filter.to_lowercase());
    Ok(Query { key, descending, filter, open, ended, offset: 0, count: usize::MAX })
}

/// How many connections there are, and how many of them are wanted.
fn counts<'py>(py: Python<'py>, page: &Page) -> PyResult<Bound<'py, PyDict>> {
    let result = PyDict::new(py);
    result.set_item("open", page.open)?;
    result.set_item("ended", page.ended)?;
    result.set_item("matching", page.matching)?;
    Ok(result)
}

fn sort_key(key: &str) -> PyResult<SortKey> {
    Ok(match key {
        "id" => SortKey::Id,
        "path" => SortKey::Path,
        "peer" => SortKey::Peer,
        "messages" => SortKey::Messages,
        "bytes" => SortKey::Bytes,
        "waiting" => SortKey::Waiting,
        _ => return Err(PyValueError::new_err(format!("no key to sort by: {key:?}"))),
    })
}

/// What is shown of every connection.
fn row<'py>(py: Python<'py>, watched: &WatchedConnection) -> PyResult<Bound<'py, PyDict>> {
    let heads = &watched.heads;
    let ended = watched.ended();
    let transport = watched.transport();
    let live = transport.as_ref().map(|transport| {
        py.detach(|| (transport.account(), transport.waiting_bytes(), transport.closing()))
    });
    let account = live.as_ref().map(|live| live.0).or_else(|| ended.map(|ended| ended.account));
    let account = account.unwrap_or_default();
    let row = PyDict::new(py);
    row.set_item("id", watched.id)?;
    row.set_item("peer", to_python(py, heads.peer)?)?;
    row.set_item("resource", &heads.resource)?;
    row.set_item("version", &heads.version)?;
    row.set_item("tls", heads.tls)?;
    row.set_item("concurrency", heads.concurrency)?;
    row.set_item("subprotocol", heads.answer_header("Sec-WebSocket-Protocol"))?;
    row.set_item("extensions", heads.answer_header("Sec-WebSocket-Extensions"))?;
    row.set_item("started", heads.started)?;
    row.set_item("ended", ended.map(|ended| ended.time))?;
    row.set_item("received", (account.received.messages(), account.received.wire))?;
    row.set_item("sent", (account.sent.messages(), account.sent.wire))?;
    row.set_item("status", account.answer)?;
    row.set_item("failed", account.failure.is_some())?;
    let closed = account
        .closed
        .map(|(code, side)| (code, if side == Side::Client { "client" } else { "server" }));
    row.set_item("closed", closed)?;
    let slowed = watched.slowed_bytes();
    row.set_item("waiting", slowed + live.as_ref().map_or(0, |live| live.1))?;
    let state = match &live {
        None if ended.is_some() => "ended",
        None => "opening",
        Some((_, _, closing)) if !closing.is_established() => "opening",
        Some((_, _, closing)) if closing.is_released() => "ended",
        Some((_, _, closing)) => match (
            closing.code_sent().is_some() || closing.is_sending_ended(),
            closing.is_close_received(),
        ) {
            (false, false) => "open",
            (true, false) => "close sent",
            (false, true) => "close received",
            (true, true) => "closing",
        },
    };
    row.set_item("state", state)?;
    let pace = match watched.pace() {
        Pace::Full => None,
        Pace::Stalled => Some(0),
        Pace::Throttled(rate) => Some(rate),
    };
    row.set_item("pace", pace)?;
    Ok(row)
}
