//! Masking (RFC 6455 5.3): XOR with a four-byte key, repeated.

/// A masking key as it stands in the frame header.
pub type MaskingKey = [u8; 4];

/// XORs `data` with `key`, whose first byte used is number `offset % 4`.
///
/// The caller keeps the offset when a payload comes in pieces. Masking and unmasking are the same.
pub fn apply(data: &mut [u8], key: MaskingKey, offset: usize) {
    // as a number: to rotate an array takes longer than to mask a short message
    let word = u32::from_le_bytes(key).rotate_right([0, 8, 16, 24][offset % 4]);
    let wide = (u64::from(word) << 32) | u64::from(word);

    // the compiler makes this as wide as the machine is; were the chunks any larger, what they
    // leave would take longer than a short message
    let mut chunks = data.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let mut block = [0_u8; 8];
        block.copy_from_slice(chunk);
        chunk.copy_from_slice(&(u64::from_le_bytes(block) ^ wide).to_le_bytes());
    }
    for (byte, mask) in chunks.into_remainder().iter_mut().zip(wide.to_le_bytes()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unmasks_the_example_of_rfc_6455_5_7() {
        let mut data = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        apply(&mut data, [0x37, 0xfa, 0x21, 0x3d], 0);
        assert_eq!(&data, b"Hello");
    }

    #[test]
    fn pieces_give_what_the_whole_gives() {
        let key = [1, 2, 3, 250];
        let mut whole: Vec<u8> = (0..200_u8).collect();
        let plain = whole.clone();
        apply(&mut whole, key, 0);
        for cut in 0..plain.len() {
            let mut pieces = plain.clone();
            let (left, right) = pieces.split_at_mut(cut);
            apply(left, key, 0);
            apply(right, key, cut);
            assert_eq!(pieces, whole, "cut at {cut}");
        }
    }
}
