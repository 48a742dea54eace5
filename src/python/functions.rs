//! Protocol rules for Python: each function calls `protocol` and converts the result.

use pyo3::{intern, prelude::*, types::PyBytes};

use super::{
    argument::{bytes_of, Number, Truthy},
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

/// The longest payload of a frame (RFC 6455 5.2).
const MAX_LENGTH: u64 = (1 << 63) - 1;

/// The first length that does not stand in the second byte of a header (RFC 6455 5.2).
const LONG_LENGTH: u64 = 126;

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
#[expect(clippy::needless_pass_by_value, reason = "as Python passes them")]
pub(super) fn create_header(
    py: Python<'_>,
    opcode: Number,
    payload_length: Number,
    fin: Number,
    rsv1: Number,
    rsv2: Number,
    rsv3: Number,
    mask: Truthy,
) -> PyResult<Bound<'_, PyBytes>> {
    if opcode.is_below(py, 0)? || opcode.is_above(py, 0xf)? {
        return Err(value_error(SendError::Opcode));
    }
    if payload_length.is_below(py, 0)? || payload_length.is_above(py, MAX_LENGTH)? {
        return Err(value_error(SendError::PayloadLength));
    }
    let mut bits = 0;
    for bit in [fin, rsv1, rsv2, rsv3] {
        bits = (bits << 1) | bit_of(&bit.bits(py)?)?;
    }
    let opcode = Opcode::new(opcode.bits(py)?.extract()?).map_err(value_error)?;
    let header = FrameHeader {
        fin: bits >> 3 == 1,
        reserved: bits & 0b111,
        opcode,
        masking_key: mask.0.then_some([0; 4]),
        length: length_of(py, &payload_length)?,
        length_octets: 1,
    };
    Ok(encode_without_key(py, &header, 0))
}

#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "as Python passes it")]
pub(super) fn create_length_header(
    py: Python<'_>,
    length: Number,
    mask: Truthy,
) -> PyResult<Bound<'_, PyBytes>> {
    let header = FrameHeader {
        fin: true,
        reserved: 0,
        opcode: Opcode::CONTINUATION,
        masking_key: mask.0.then_some([0; 4]),
        length: length_of(py, &length)?,
        length_octets: 1,
    };
    Ok(encode_without_key(py, &header, 1))
}

/// A length that fits into a header.
fn length_of(py: Python<'_>, length: &Number) -> PyResult<u64> {
    if length.is_below(py, 0)? {
        return Err(value_error("length must be non negative integer"));
    }
    if length.is_below(py, LONG_LENGTH)? {
        return length.bits(py)?.extract();
    }
    if length.is_below(py, MAX_LENGTH + 1)? {
        return length.packed(py);
    }
    Err(value_error("Payload is too big for one frame"))
}

#[pyfunction]
#[pyo3(signature = (code, reason))]
#[expect(clippy::needless_pass_by_value, reason = "as Python passes it")]
pub(super) fn create_closing_handshake_body<'py>(
    py: Python<'py>,
    code: Option<Number>,
    reason: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyBytes>> {
    Ok(PyBytes::new(py, &closing_body(py, code.as_ref(), reason)?))
}

/// The body of a close frame. A reason that is not text has no `encode`, which raises the same
/// error as in pywebsocket.
pub(super) fn closing_body(
    py: Python<'_>,
    code: Option<&Number>,
    reason: &Bound<'_, PyAny>,
) -> PyResult<Vec<u8>> {
    let Some(code) = code else { return Ok(Vec::new()) };
    let (first, last) = CloseCode::SENDABLE.into_inner();
    if code.is_above(py, last.into())? || code.is_below(py, first.into())? {
        return Err(send_error(py, &SendError::CloseCodeOutOfRange));
    }
    for pseudo in CloseCode::PSEUDO {
        if code.equals(py, pseudo.0)? {
            return Err(send_error(py, &SendError::PseudoCloseCode));
        }
    }
    let reason = reason.call_method1(intern!(py, "encode"), (intern!(py, "utf-8"),))?;
    let reason = bytes_of(&reason)?;
    let code = u16::try_from(code.packed(py)?).map_err(value_error)?;
    let reason = std::str::from_utf8(reason.as_bytes()).map_err(value_error)?;
    close::format_body(CloseCode(code), reason).map_err(|error| send_error(py, &error))
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

fn bit_of(value: &Bound<'_, PyAny>) -> PyResult<u8> {
    if value.bitand(!1)?.is_truthy()? {
        return Err(value_error("FIN bit and Reserved bit parameter must be 0 or 1"));
    }
    value.extract()
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
