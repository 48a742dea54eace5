//! Framing (RFC 6455 5), as far as a client needs it: an encoder for whole masked frames, and a
//! decoder that takes bytes as they come and never buffers the payload of a message.

/// Frame opcodes.
pub mod op {
    pub const CONT: u8 = 0x0;
    pub const TEXT: u8 = 0x1;
    pub const BINARY: u8 = 0x2;
    pub const CLOSE: u8 = 0x8;
    pub const PING: u8 = 0x9;
    pub const PONG: u8 = 0xA;
}

/// One masking key for the whole run, so that frames can be masked in advance. What a server does to
/// unmask does not depend on the key, as long as it is not zero.
pub const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// Bytes before the payload in a masked frame.
pub fn client_header_len(payload_len: usize) -> usize {
    match payload_len {
        0..=125 => 2 + 4,
        126..=0xFFFF => 4 + 4,
        _ => 10 + 4,
    }
}

/// Encodes one final, masked frame.
pub fn client_frame(opcode: u8, rsv1: bool, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(client_header_len(payload.len()) + payload.len());
    out.push(0x80 | if rsv1 { 0x40 } else { 0 } | opcode);
    match payload.len() {
        n @ 0..=125 => out.push(0x80 | n as u8),
        n @ 126..=0xFFFF => {
            out.push(0xFE);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        n => {
            out.push(0xFF);
            out.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out.extend(payload.iter().enumerate().map(|(i, b)| b ^ MASK[i % 4]));
    out
}

/// What a [`Decoder`] reports. Every method may refuse with a reason.
pub trait Sink {
    /// The first frame of a data message starts.
    fn begin(&mut self, opcode: u8, rsv1: bool) -> Result<(), &'static str>;
    /// Some more payload bytes of the current message.
    fn data(&mut self, chunk: &[u8]) -> Result<(), &'static str>;
    /// The current message is complete.
    fn end(&mut self) -> Result<(), &'static str>;
    /// A complete control frame.
    fn control(&mut self, opcode: u8, payload: &[u8]) -> Result<(), &'static str>;
}

#[derive(Clone, Copy)]
struct Header {
    fin: bool,
    rsv1: bool,
    opcode: u8,
    len: u64,
}

/// Longest header of an unmasked frame.
const MAX_HEADER: usize = 10;

/// Streaming decoder for server-to-client (unmasked) frames.
pub struct Decoder {
    partial: [u8; MAX_HEADER],
    have: usize,
    current: Option<Header>,
    remaining: u64,
    in_message: bool,
    control: Vec<u8>,
}

impl Decoder {
    pub fn new() -> Self {
        Decoder {
            partial: [0; MAX_HEADER],
            have: 0,
            current: None,
            remaining: 0,
            in_message: false,
            control: Vec::new(),
        }
    }

    /// Decodes all of `bytes`, reporting to `sink`.
    pub fn feed(&mut self, mut bytes: &[u8], sink: &mut impl Sink) -> Result<(), &'static str> {
        while !bytes.is_empty() {
            let header = match self.current {
                Some(header) => header,
                None => match self.take_header(&mut bytes)? {
                    Some(header) => {
                        self.start_frame(header, sink)?;
                        header
                    }
                    None => return Ok(()),
                },
            };
            let n = self.remaining.min(bytes.len() as u64) as usize;
            if n > 0 {
                let (chunk, rest) = bytes.split_at(n);
                bytes = rest;
                self.remaining -= n as u64;
                if header.opcode >= op::CLOSE {
                    self.control.extend_from_slice(chunk);
                } else {
                    sink.data(chunk)?;
                }
            }
            if self.remaining == 0 {
                self.end_frame(header, sink)?;
            }
        }
        Ok(())
    }

    /// Reads a header off the front of `bytes`, or keeps what there is of one.
    fn take_header(&mut self, bytes: &mut &[u8]) -> Result<Option<Header>, &'static str> {
        if self.have == 0 {
            if let Some((header, used)) = parse_header(bytes)? {
                *bytes = &bytes[used..];
                return Ok(Some(header));
            }
        }
        while let Some((&first, rest)) = bytes.split_first() {
            self.partial[self.have] = first;
            self.have += 1;
            *bytes = rest;
            if let Some((header, _)) = parse_header(&self.partial[..self.have])? {
                self.have = 0;
                return Ok(Some(header));
            }
        }
        Ok(None)
    }

    fn start_frame(&mut self, header: Header, sink: &mut impl Sink) -> Result<(), &'static str> {
        match header.opcode {
            op::CONT if !self.in_message => return Err("continuation without a message"),
            op::CONT if header.rsv1 => return Err("RSV1 on a continuation"),
            op::CONT => {}
            op::TEXT | op::BINARY if self.in_message => return Err("message inside a message"),
            op::TEXT | op::BINARY => {
                self.in_message = true;
                sink.begin(header.opcode, header.rsv1)?;
            }
            op::CLOSE | op::PING | op::PONG => {
                if !header.fin || header.rsv1 || header.len > 125 {
                    return Err("bad control frame");
                }
                self.control.clear();
            }
            _ => return Err("unknown opcode"),
        }
        self.remaining = header.len;
        self.current = Some(header);
        Ok(())
    }

    fn end_frame(&mut self, header: Header, sink: &mut impl Sink) -> Result<(), &'static str> {
        self.current = None;
        if header.opcode >= op::CLOSE {
            return sink.control(header.opcode, &self.control);
        }
        if header.fin {
            self.in_message = false;
            sink.end()?;
        }
        Ok(())
    }
}

/// Parses a header; `None` when `b` is too short for one.
#[inline]
fn parse_header(b: &[u8]) -> Result<Option<(Header, usize)>, &'static str> {
    if b.len() < 2 {
        return Ok(None);
    }
    if b[0] & 0x30 != 0 {
        return Err("RSV2 or RSV3 set");
    }
    if b[1] & 0x80 != 0 {
        return Err("masked frame from the server");
    }
    let (len, used) = match b[1] & 0x7F {
        126 if b.len() < 4 => return Ok(None),
        126 => (u64::from(u16::from_be_bytes([b[2], b[3]])), 4),
        127 if b.len() < 10 => return Ok(None),
        127 => (b[2..10].iter().fold(0, |len, &byte| len << 8 | u64::from(byte)), 10),
        n => (u64::from(n), 2),
    };
    let header = Header { fin: b[0] & 0x80 != 0, rsv1: b[0] & 0x40 != 0, opcode: b[0] & 0x0F, len };
    Ok(Some((header, used)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default, Debug, PartialEq, Clone)]
    struct Log(Vec<String>, Vec<u8>);

    impl Sink for Log {
        fn begin(&mut self, opcode: u8, rsv1: bool) -> Result<(), &'static str> {
            self.0.push(format!("begin {opcode} {rsv1}"));
            self.1.clear();
            Ok(())
        }
        fn data(&mut self, chunk: &[u8]) -> Result<(), &'static str> {
            self.1.extend_from_slice(chunk);
            Ok(())
        }
        fn end(&mut self) -> Result<(), &'static str> {
            self.0.push(format!("end {:?}", self.1));
            Ok(())
        }
        fn control(&mut self, opcode: u8, payload: &[u8]) -> Result<(), &'static str> {
            self.0.push(format!("control {opcode} {payload:?}"));
            Ok(())
        }
    }

    fn server_frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![first];
        match payload.len() {
            n @ 0..=125 => out.push(n as u8),
            n @ 126..=0xFFFF => {
                out.push(126);
                out.extend_from_slice(&(n as u16).to_be_bytes());
            }
            n => {
                out.push(127);
                out.extend_from_slice(&(n as u64).to_be_bytes());
            }
        }
        out.extend_from_slice(payload);
        out
    }

    fn decode(wire: &[u8], step: usize) -> Log {
        let mut log = Log::default();
        let mut decoder = Decoder::new();
        for piece in wire.chunks(step) {
            decoder.feed(piece, &mut log).unwrap();
        }
        log
    }

    #[test]
    fn any_split_decodes_alike() {
        let mut wire = server_frame(0x81, b"hello");
        wire.extend(server_frame(0x82, &[]));
        wire.extend(server_frame(0x01, b"frag"));
        wire.extend(server_frame(0x89, b"ping"));
        wire.extend(server_frame(0x80, b"ment"));
        wire.extend(server_frame(0xC2, &[7; 300]));
        wire.extend(server_frame(0x82, &vec![9; 70_000]));
        wire.extend(server_frame(0x88, &1000u16.to_be_bytes()));
        let whole = decode(&wire, wire.len());
        assert_eq!(
            whole.0[..4],
            ["begin 1 false", "end [104, 101, 108, 108, 111]", "begin 2 false", "end []"]
        );
        assert_eq!(whole.0[5], "control 9 [112, 105, 110, 103]");
        assert_eq!(whole.0.last().unwrap(), "control 8 [3, 232]");
        for step in [1, 2, 3, 5, 7, 11, 4096] {
            assert_eq!(decode(&wire, step), whole, "step {step}");
        }
    }

    #[test]
    fn refuses_bad_frames() {
        for wire in [
            &[0x81u8, 0x80][..],
            &[0x91, 0],
            &[0x80, 0],
            &[0x83, 0],
            &[0x09, 0],
            &[0x89, 126, 0, 126],
        ] {
            assert!(Decoder::new().feed(wire, &mut Log::default()).is_err(), "{wire:x?}");
        }
    }

    #[test]
    fn masks_client_frames() {
        let frame = client_frame(op::TEXT, false, b"Hi");
        assert_eq!(frame, [0x81, 0x82, 0x37, 0xFA, 0x21, 0x3D, b'H' ^ 0x37, b'i' ^ 0xFA]);
        for n in [0, 125, 126, 65_535, 65_536] {
            assert_eq!(
                client_frame(op::BINARY, false, &vec![0; n]).len(),
                client_header_len(n) + n
            );
        }
    }
}
