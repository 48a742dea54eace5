//! Reads DER (X.690 10), as far as it takes to tell files and keys apart.

/// The tag of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag(u8);

impl Tag {
    pub(super) const INTEGER: Self = Self(0x02);
    pub(super) const OCTET_STRING: Self = Self(0x04);
    pub(super) const OBJECT_IDENTIFIER: Self = Self(0x06);
    pub(super) const UTC_TIME: Self = Self(0x17);
    pub(super) const GENERALIZED_TIME: Self = Self(0x18);
    pub(super) const SEQUENCE: Self = Self(0x30);
    /// Context-specific, constructed, number 0.
    pub(super) const CONTEXT_0: Self = Self(0xa0);
}

/// The first element: its tag, its content, and the bytes behind it.
pub(super) fn element(bytes: &[u8]) -> Option<(Tag, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        // four bytes are far more than any file of keys has
        if length.is_empty() || length.len() > 4 {
            return None;
        }
        let number = length.iter().fold(0_u64, |number, &byte| number << 8 | u64::from(byte));
        (usize::try_from(number).ok()?, rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((Tag(tag), content, rest))
}

/// The elements of a sequence.
pub(super) fn elements(mut content: &[u8]) -> impl Iterator<Item = (Tag, &[u8])> {
    std::iter::from_fn(move || {
        let (tag, value, rest) = element(content)?;
        content = rest;
        Some((tag, value))
    })
}

/// The content of a sequence that is all there is.
pub(super) fn sequence(bytes: &[u8]) -> Option<&[u8]> {
    match element(bytes)? {
        (Tag::SEQUENCE, content, _) => Some(content),
        _ => None,
    }
}
