use super::*;

fn decode(input: &[u8]) -> Result<Decoded, (ProtocolError, usize)> {
    FrameHeader::decode(input, true)
}

#[test]
fn decodes_what_it_encodes() {
    for length in [0, 1, 125, 126, 127, 65535, 65536, (1 << 63) - 1] {
        for masking_key in [None, Some([1, 2, 3, 4])] {
            let header = FrameHeader {
                fin: length % 2 == 0,
                reserved: 0b101,
                opcode: Opcode::BINARY,
                masking_key,
                length,
                length_octets: if length < 126 {
                    1
                } else if length < 1 << 16 {
                    2
                } else {
                    8
                },
            };
            let mut bytes = Vec::new();
            header.encode(&mut bytes);
            assert_eq!(
                FrameHeader::decode(&bytes, masking_key.is_some()),
                Ok(Decoded::Header(header, bytes.len()))
            );
            assert!(header.is_minimal());
        }
    }
}

#[test]
fn asks_for_the_bytes_that_pywebsocket_asks_for() {
    assert_eq!(decode(b""), Ok(Decoded::Short(1)));
    assert_eq!(decode(b"\x81"), Ok(Decoded::Short(1)));
    // 81: fin, text; fe: masked, 16-bit length follows
    assert_eq!(decode(b"\x81\xfe"), Ok(Decoded::Short(2)));
    assert_eq!(decode(b"\x81\xff"), Ok(Decoded::Short(8)));
    assert_eq!(decode(b"\x81\xfe\x00\x80"), Ok(Decoded::Short(4)));
    assert_eq!(decode(b"\x81\xfe\x00\x80\x01"), Ok(Decoded::Short(3)));
    // a length in pieces
    assert_eq!(decode(b"\x81\xfe\x00"), Ok(Decoded::Short(1)));
    assert_eq!(decode(b"\x81\xff\0\0\0"), Ok(Decoded::Short(5)));
}

#[test]
fn tells_how_many_bytes_are_missing_at_least() {
    assert_eq!(header_wanted(b"", true), 1);
    assert_eq!(header_wanted(b"\x81\xfe\x00", true), 1);
    assert_eq!(header_wanted(b"\x81\x83abcd", true), 0);
    assert_eq!(header_wanted(b"\x81\x03", true), 0);
    let mut reader = FrameReader::default();
    assert_eq!(reader.wanted(b"\x81\xff\0\0", true), 6);
    let mut input = &b"\x81\x85abcdxy"[..];
    assert_eq!(reader.poll(&mut input, true, FrameLimits::NONE), Ok(None));
    assert!(reader.is_mid_frame());
    assert_eq!(reader.wanted(input, true), 3);
}

#[test]
fn refuses_a_wrong_mask_bit_after_two_bytes() {
    assert_eq!(decode(b"\x81\x05"), Err((ProtocolError::WrongMaskBit, 2)));
}

#[test]
fn refuses_a_length_of_two_to_the_63_before_the_masking_key() {
    assert_eq!(decode(b"\x82\xff\x80\0\0\0\0\0\0\0"), Err((ProtocolError::LengthOutOfRange, 10)));
    // what follows is not dropped with it
    assert_eq!(
        decode(b"\x82\xff\x80\0\0\0\0\0\0\0xyz"),
        Err((ProtocolError::LengthOutOfRange, 10))
    );
}

#[test]
fn tells_a_length_in_too_many_octets() {
    for bytes in [&b"\x81\xfe\x00\x05abcd"[..], b"\x81\xff\0\0\0\0\0\0\0\x05abcd"] {
        let Ok(Decoded::Header(header, _)) = decode(bytes) else { panic!("not decoded") };
        assert_eq!((header.length, header.is_minimal()), (5, false));
    }
}

#[test]
fn reader_leaves_what_follows_a_refused_frame() {
    let mut reader = FrameReader::default();
    // an unmasked text of one byte; only its header is dropped
    let mut input = &b"\x81\x01x"[..];
    assert_eq!(reader.poll(&mut input, true, FrameLimits::NONE), Err(ProtocolError::WrongMaskBit));
    assert_eq!(input, b"x");
}

#[test]
fn reader_unmasks_a_frame_that_comes_byte_by_byte() {
    let bytes = b"\x83\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    let mut reader = FrameReader::default();
    let mut kept = Vec::new();
    for (index, byte) in bytes.iter().enumerate() {
        kept.push(*byte);
        let mut input = &kept[..];
        let limits = FrameLimits { frame_bytes: 5, ..FrameLimits::NONE };
        let frame = reader.poll(&mut input, true, limits);
        kept = input.to_vec();
        if index + 1 < bytes.len() {
            assert_eq!(frame, Ok(None));
        } else {
            assert_eq!(
                frame.map(|frame| frame.map(|frame| frame.payload)),
                Ok(Some(b"Hello".to_vec()))
            );
        }
    }
}
