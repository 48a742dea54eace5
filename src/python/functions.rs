//! Protocol rules for Python: each function calls `protocol` and converts the result.

use pyo3::{prelude::*, types::PyBytes};

use super::{
    argument::{Number, Truth},
    errors::{send_error, value_error},
};
use crate::protocol::{
    close::{self, CloseCode},
    deflate::WindowBits,
    extension,
    frame::{FrameHeader, Opcode},
    grammar::{self, Scanner},
    handshake,
    uri::{self, Target},
    SendError,
};

type Parameters = Vec<(String, Option<String>)>;

#[pyfunction]
#[pyo3(signature = (data, start=0))]
pub(super) fn scan_token(data: &str, start: usize) -> usize {
    let chars: Vec<char> = data.chars().collect();
    let mut scanner = Scanner::new(&chars, start);
    scanner.token();
    // a position behind the end stays there
    scanner.head().max(start)
}

#[pyfunction]
#[pyo3(signature = (data, start=0))]
pub(super) fn scan_lws(data: &str, start: usize) -> usize {
    let chars: Vec<char> = data.chars().collect();
    let mut scanner = Scanner::new(&chars, start);
    scanner.lws();
    // a position behind the end stays there
    scanner.head().max(start)
}

#[pyfunction]
#[pyo3(signature = (data, start=0))]
pub(super) fn scan_quoted_string(data: &str, start: usize) -> Option<(String, usize)> {
    let chars: Vec<char> = data.chars().collect();
    let mut scanner = Scanner::new(&chars, start);
    scanner.quoted_string().map(|text| (text, scanner.head()))
}

#[pyfunction]
pub(super) fn quote_if_necessary(value: &str) -> String {
    grammar::quote_if_necessary(value)
}

#[pyfunction]
pub(super) fn parse_token_list(data: &str) -> PyResult<Vec<String>> {
    grammar::parse_token_list(data).map_err(value_error)
}

#[pyfunction]
pub(super) fn parse_extensions(data: &str) -> PyResult<Vec<(String, Parameters)>> {
    let extensions = extension::parse(data).map_err(value_error)?;
    Ok(extensions.into_iter().map(|extension| (extension.name, extension.parameters)).collect())
}

#[pyfunction]
pub(super) fn parse_uri(uri: &str) -> PyResult<(Option<String>, Option<u16>, Option<String>)> {
    match uri::parse(uri) {
        Target::Relative => Ok((None, None, Some(uri.to_owned()))),
        Target::Absolute { host, port, resource } => Ok((Some(host), Some(port), Some(resource))),
        Target::Invalid => Ok((None, None, None)),
        Target::BadIpv6 => Err(value_error("Invalid IPv6 URL")),
    }
}

#[pyfunction]
pub(super) fn check_header_field(name: &str, value: &str, target: &str) -> PyResult<()> {
    handshake::check_header(name, value, target).map_err(|fault| {
        value_error(format!(
            "header {name:?} {fault}; --strict-compat sends it as it is, as pywebsocket does"
        ))
    })
}

#[pyfunction]
pub(super) fn compute_accept<'py>(py: Python<'py>, key: &[u8]) -> Bound<'py, PyBytes> {
    PyBytes::new(py, handshake::compute_accept(key).as_bytes())
}

#[pyfunction]
pub(super) fn unescape_path<'py>(py: Python<'py>, path: &str) -> Option<Bound<'py, PyBytes>> {
    uri::unescape_path(path).map(|bytes| PyBytes::new(py, &bytes))
}

#[pyfunction]
pub(super) fn decode_key<'py>(py: Python<'py>, key: &str) -> Option<Bound<'py, PyBytes>> {
    handshake::decode_key(key).map(|bytes| PyBytes::new(py, &bytes))
}

#[pyfunction]
#[pyo3(signature = (value))]
pub(super) fn parse_window_bits(value: Option<&str>) -> PyResult<u8> {
    WindowBits::parse(value).map(WindowBits::bits).map_err(value_error)
}

#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "pywebsocket's signature")]
pub(super) fn create_header(
    py: Python<'_>,
    opcode: Number,
    payload_length: Number,
    fin: Number,
    rsv1: Number,
    rsv2: Number,
    rsv3: Number,
    mask: Truth,
) -> PyResult<Bound<'_, PyBytes>> {
    let header_opcode = u8::try_from(opcode.value())
        .map_err(|_| SendError::Opcode)
        .and_then(Opcode::new)
        .map_err(value_error)?;
    let length = u64::try_from(payload_length.value())
        .ok()
        .filter(|length| length >> 63 == 0)
        .ok_or_else(|| value_error(SendError::PayloadLength))?;
    let mut reserved = 0;
    for bit in [fin, rsv1, rsv2, rsv3] {
        bit.check_integer()?;
        reserved = (reserved << 1) | bit_of(bit.clamped())?;
    }
    opcode.check_integer()?;
    payload_length.check_packable(py)?;
    let header = FrameHeader {
        fin: fin.value() == 1,
        reserved: reserved & 0b111,
        opcode: header_opcode,
        masking_key: mask.0.then_some([0; 4]),
        length,
        length_octets: 1,
    };
    Ok(encode_without_key(py, &header, 0))
}

#[pyfunction]
pub(super) fn create_length_header(
    py: Python<'_>,
    length: Number,
    mask: Truth,
) -> PyResult<Bound<'_, PyBytes>> {
    if length.value() < 0 {
        return Err(value_error("length must be non negative integer"));
    }
    let payload_length = u64::try_from(length.value())
        .ok()
        .filter(|length| length >> 63 == 0)
        .ok_or_else(|| value_error("Payload is too big for one frame"))?;
    length.check_packable(py)?;
    let header = FrameHeader {
        fin: true,
        reserved: 0,
        opcode: Opcode::CONTINUATION,
        masking_key: mask.0.then_some([0; 4]),
        length: payload_length,
        length_octets: 1,
    };
    Ok(encode_without_key(py, &header, 1))
}

#[pyfunction]
#[pyo3(signature = (code, reason))]
pub(super) fn create_closing_handshake_body<'py>(
    py: Python<'py>,
    code: Option<Number>,
    reason: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyBytes>> {
    let body = match code {
        None => Vec::new(),
        Some(code) => closing_body(code, reason)?,
    };
    Ok(PyBytes::new(py, &body))
}

/// The body of a close frame. A reason that is not text has no `encode`, which raises the same
/// error as in pywebsocket.
pub(super) fn closing_body(code: Number, reason: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    let py = reason.py();
    let value = u16::try_from(code.value()).map_err(|_| SendError::CloseCodeOutOfRange);
    let value = value.map_err(|error| send_error(py, &error))?;
    CloseCode(value).check_sendable().map_err(|error| send_error(py, &error))?;
    code.check_packable(py)?;
    let code = value;
    let reason: Vec<u8> = reason.call_method1("encode", ("utf-8",))?.extract()?;
    let reason = String::from_utf8(reason).map_err(value_error)?;
    close::format_body(CloseCode(code), &reason).map_err(|error| send_error(py, &error))
}

#[pyfunction]
#[pyo3(signature = (data, key, offset=0))]
pub(super) fn apply_mask<'py>(
    py: Python<'py>,
    data: &[u8],
    key: &[u8],
    offset: usize,
) -> PyResult<Bound<'py, PyBytes>> {
    if key.is_empty() {
        return Err(value_error("masking key of no bytes"));
    }
    PyBytes::new_with(py, data.len(), |output| {
        output.copy_from_slice(data);
        match key.try_into() {
            Ok(key) => crate::protocol::mask::apply(output, key, offset),
            Err(_) => {
                for (byte, mask) in
                    output.iter_mut().zip(key.iter().cycle().skip(offset % key.len()))
                {
                    *byte ^= mask;
                }
            }
        }
        Ok(())
    })
}

fn bit_of(value: i64) -> PyResult<u8> {
    match value {
        0 => Ok(0),
        1 => Ok(1),
        _ => Err(value_error("FIN bit and Reserved bit parameter must be 0 or 1")),
    }
}

fn encode_without_key<'py>(
    py: Python<'py>,
    header: &FrameHeader,
    skip: usize,
) -> Bound<'py, PyBytes> {
    let mut bytes = Vec::new();
    header.encode(&mut bytes);
    let end = bytes.len() - if header.masking_key.is_some() { 4 } else { 0 };
    PyBytes::new(py, &bytes[skip..end])
}
