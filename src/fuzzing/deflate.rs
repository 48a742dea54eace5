//! permessage-deflate: compressed messages, and offers of it.

use crate::protocol::{
    deflate::{DeflateLevel, MessageDeflater, MessageInflater, Offer, PieceEnd, WindowBits},
    ProtocolError,
};

/// Inflates arbitrary messages, and what a compressor made of them.
///
/// # Panics
/// If an invariant is broken.
pub fn inflate(data: &[u8]) {
    let [flags, limit, data @ ..] = data else { return };
    let mut inflater = MessageInflater::default();
    let (left, right) = data.split_at(data.len() / 2);
    for payload in [left, right, left] {
        match inflater.inflate(payload, u64::from(*limit)) {
            Ok(message) => assert!(message.len() <= usize::from(*limit)),
            Err(ProtocolError::BadDeflate | ProtocolError::InflatedTooBig { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
    }

    let window = WindowBits::new(i64::from(8 + (flags & 7))).ok();
    let ending = if flags & 16 != 0 { PieceEnd::FinalBlock } else { PieceEnd::Message };
    let no_context_takeover = flags & 8 != 0;
    let level = DeflateLevel::new(if flags & 64 != 0 { i64::from(*limit) % 10 } else { 6 });
    let level = level.unwrap_or_default();
    let mut deflater = MessageDeflater::with_level(window, no_context_takeover, level);
    let mut inflater = MessageInflater::new(no_context_takeover);
    for message in [data, left, data] {
        let (first, last) = message.split_at(message.len() / 3);
        let mut payload = Vec::new();
        if flags & 32 != 0 {
            payload = deflater.deflate(first, PieceEnd::Piece);
            payload.extend(deflater.deflate(last, ending));
        } else {
            payload.extend(deflater.deflate(message, ending));
        }
        assert_eq!(inflater.inflate(&payload, message.len() as u64).as_deref(), Ok(message));
    }
    if let Some(limit) = (data.len() as u64).checked_sub(1) {
        let payload = MessageDeflater::new(window, false).deflate(data, ending);
        let refused = MessageInflater::default().inflate(&payload, limit);
        assert_eq!(refused, Err(ProtocolError::InflatedTooBig { limit }));
    }
}

/// Judges the parameters of an offer, one to a line, and what it promises of them.
///
/// # Panics
/// If an invariant is broken.
pub fn deflate_offer(data: &[u8]) {
    let text: String = data.iter().copied().map(char::from).collect();
    let parameters: Vec<(&str, Option<&str>)> = text
        .lines()
        .map(|line| line.split_once('=').map_or((line, None), |(name, value)| (name, Some(value))))
        .collect();
    let offer = Offer::parse(parameters.iter().copied());
    // a repetition changes nothing, wherever it stands
    let repeated = parameters.iter().chain(&parameters).copied();
    assert_eq!(Offer::parse(repeated), offer);
    let Ok(offer) = offer else { return };
    let first = |name| parameters.iter().find(|(other, _)| *other == name).map(|(_, value)| *value);
    for (name, bits, default) in [
        ("server_max_window_bits", offer.server_max_window_bits, None),
        ("client_max_window_bits", offer.client_max_window_bits, Some(WindowBits::MAX)),
    ] {
        match first(name) {
            None => assert_eq!(bits, None, "{name}"),
            Some(None) => assert_eq!(bits, default, "{name}"),
            Some(Some(value)) => {
                assert_eq!(bits.map(|bits| bits.bits().to_string()).as_deref(), Some(value));
                assert!(bits.is_some_and(|bits| (8..=15).contains(&bits.bits())));
            }
        }
    }
    for (name, flag) in [
        ("server_no_context_takeover", offer.server_no_context_takeover),
        ("client_no_context_takeover", offer.client_no_context_takeover),
    ] {
        assert_eq!(first(name), flag.then_some(None), "{name}");
    }
}
