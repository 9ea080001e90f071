//! The characters that end a stretch of plain text in a JSON string: a quote, a backslash, a control character.

/// Bytes that are looked at together.
const BLOCK: usize = 16;

/// Where the first such character is, from `at` on.
#[inline(always)]
pub(super) fn first(bytes: &[u8], mut at: usize) -> Option<usize> {
    while let Some(block) = bytes.get(at..at + BLOCK) {
        let found = within(block.first_chunk()?);
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize);
        }
        at += BLOCK;
    }
    match bytes.last_chunk() {
        // The last block, without what of it has been looked at.
        Some(block) => {
            let found = within(block) >> (at + BLOCK - bytes.len());
            (found != 0).then(|| at + found.trailing_zeros() as usize)
        }
        None => bytes.iter().skip(at).position(is_special).map(|found| at + found),
    }
}

fn is_special(byte: &u8) -> bool {
    matches!(byte, b'"' | b'\\' | 0..0x20)
}

/// One bit for each such byte, from the lowest on.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn within(block: &[u8; BLOCK]) -> u32 {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_max_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8,
    };
    let all = u128::from_le_bytes(*block);
    // SAFETY: these instructions (SSE2) are part of the architecture; they touch no memory.
    unsafe {
        let bytes = _mm_set_epi64x((all >> 64) as i64, all as i64);
        let last_control = _mm_set1_epi8(0x1f);
        let control = _mm_cmpeq_epi8(_mm_max_epu8(bytes, last_control), last_control);
        let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
        let backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
        _mm_movemask_epi8(_mm_or_si128(control, _mm_or_si128(quote, backslash))) as u32
    }
}

/// One bit for each such byte, from the lowest on.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn within(block: &[u8; BLOCK]) -> u32 {
    portable(block)
}

#[cfg(any(test, not(target_arch = "x86_64")))]
fn portable(block: &[u8; BLOCK]) -> u32 {
    let bit = |(at, byte): (usize, &u8)| u32::from(is_special(byte)) << at;
    block.iter().enumerate().map(bit).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_characters_are_found_at_every_place() {
        for length in 0..70 {
            for at in 0..length {
                for byte in [b'"', b'\\', 0, 0x1f] {
                    let mut text = vec![b'!'; length];
                    text[at] = byte;
                    text.iter_mut().skip(at + 1).for_each(|b| *b = 0xff);
                    assert_eq!(first(&text, 0), Some(at));
                }
            }
            for byte in [0x20, 0x21, 0x23, 0x5b, 0x5d, 0x7f, 0x80, 0xff] {
                assert_eq!(first(&vec![byte; length], 0), None);
            }
        }
    }

    #[test]
    fn every_byte_is_what_it_is_on_every_processor() {
        for byte in 0..=u8::MAX {
            let mut block = [b'a'; BLOCK];
            (block[3], block[15]) = (byte, byte);
            assert_eq!(within(&block), portable(&block), "{byte}");
        }
    }
}
