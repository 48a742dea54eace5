//! Masking (RFC 6455 5.3): XOR with a four-byte key, repeated.

/// A masking key, in the order of the frame header.
pub type MaskingKey = [u8; 4];

/// XORs `data` with `key`, beginning with byte `offset % 4` of the key.
///
/// The caller keeps the offset when a payload comes in pieces. Masking and unmasking are the same.
pub fn apply(data: &mut [u8], key: MaskingKey, offset: usize) {
    // rotate a number: rotating an array takes longer than masking a short message
    let word = u32::from_le_bytes(key).rotate_right([0, 8, 16, 24][offset % 4]);
    let wide = (u64::from(word) << 32) | u64::from(word);

    // the compiler uses instructions as wide as the machine has. With larger chunks, the remainder
    // of a short message would take longer.
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

/// XORs `data` with `key`, and writes the result into `target`, which has the same length, with the
/// caller's function. A message that has to be copied is unmasked in the same pass over its memory.
///
/// # Panics
/// If the lengths differ.
pub fn copy<T>(data: &[u8], key: MaskingKey, target: &mut [T], write: impl Fn(&mut T, u8)) {
    assert_eq!(data.len(), target.len(), "the whole target is written");
    // as wide as the compiler's widest instructions
    let mut wide = [0_u8; 32];
    for (mask, byte) in wide.iter_mut().zip(key.iter().cycle()) {
        *mask = *byte;
    }
    let mut from = data.chunks_exact(wide.len());
    let mut to = target.chunks_exact_mut(wide.len());
    for (from, to) in from.by_ref().zip(to.by_ref()) {
        for ((byte, mask), target) in from.iter().zip(&wide).zip(to) {
            write(target, byte ^ mask);
        }
    }
    for ((byte, mask), target) in from.remainder().iter().zip(&wide).zip(to.into_remainder()) {
        write(target, byte ^ mask);
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
    fn copies_what_it_would_unmask_in_place() {
        let key = [1, 2, 3, 250];
        for length in 0..100 {
            let mut data: Vec<u8> = (0..length).collect();
            let mut copied = vec![0; data.len()];
            copy(&data, key, &mut copied, |target, byte| *target = byte);
            apply(&mut data, key, 0);
            assert_eq!(copied, data);
        }
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
