//! Decompress: bytes as they came in, the plain bytes out, never more than the caller allows.
//!
//! The format is told by its magic number (gzip RFC 1952, zlib RFC 1950, zstd RFC 8878); bytes of no
//! such format are given back as they are. One layer is removed, never two: a bomb inside a bomb stays
//! packed.

use std::borrow::Cow;
use std::io::Read;

use crate::number::u64_from_usize;

/// Largest zstd window, as a power of two: 8 MiB is what HTTP allows (RFC 9659) and what bounds the
/// decoder's own memory.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Why bytes could not be decompressed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    #[error("holds more than {max} bytes when decompressed; send smaller pieces")]
    TooLarge { max: usize },
    #[error("is no valid {format}: {message}")]
    Corrupt { format: &'static str, message: String },
    /// Whoever was asked for memory gave none.
    #[error("finds no room to be decompressed")]
    NoRoom,
}

/// Memory that plain bytes first take; from then on it doubles.
const ROOM_FIRST: usize = 64 << 10;

/// How far plain bytes may grow.
struct Bounds<'a> {
    max: usize,
    /// Asked before each piece of memory, with its bytes.
    room: &'a mut dyn FnMut(usize) -> bool,
}

/// The plain bytes, at most `max` of them. Concatenated gzip members and zstd frames are read through.
pub fn inflate(bytes: &[u8], max: usize) -> Result<Cow<'_, [u8]>, InflateError> {
    inflate_within(bytes, max, &mut |_| true)
}

/// As [`inflate`], asking for memory before it takes it: what is packed small may become large.
pub fn inflate_within<'b>(
    bytes: &'b [u8],
    max: usize,
    room: &mut dyn FnMut(usize) -> bool,
) -> Result<Cow<'b, [u8]>, InflateError> {
    let bounds = Bounds { max, room };
    match bytes {
        [0x1f, 0x8b, ..] => read_capped("gzip", flate2::read::MultiGzDecoder::new(bytes), bounds),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let corrupt = |e: std::io::Error| InflateError::Corrupt {
                format: "zstd",
                message: e.to_string(),
            };
            let mut decoder = zstd::stream::read::Decoder::new(bytes).map_err(corrupt)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(corrupt)?;
            read_capped("zstd", decoder, bounds)
        }
        // The four header bytes that encoders write; CMF and FLG together divide by 31 (RFC 1950 2.2).
        [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..] => {
            read_capped("zlib", flate2::read::ZlibDecoder::new(bytes), bounds)
        }
        _ if bytes.len() > max => Err(InflateError::TooLarge { max }),
        _ => Ok(Cow::Borrowed(bytes)),
    }
}

/// The plain bytes of one snappy block, the format of remote write. Its declared length is checked
/// before anything is allocated.
pub fn unsnap(bytes: &[u8], max: usize) -> Result<Vec<u8>, InflateError> {
    if unsnapped_length(bytes, max)? == 0 {
        return Ok(Vec::new());
    }
    snap::raw::Decoder::new().decompress_vec(bytes).map_err(|error| no_block(&error))
}

/// How long a snappy block says that it becomes.
pub fn unsnapped_length(bytes: &[u8], max: usize) -> Result<usize, InflateError> {
    if bytes.is_empty() {
        return Ok(0);
    }
    let length = snap::raw::decompress_len(bytes).map_err(|error| no_block(&error))?;
    if length > max { Err(InflateError::TooLarge { max }) } else { Ok(length) }
}

fn no_block(error: &snap::Error) -> InflateError {
    InflateError::Corrupt { format: "snappy", message: error.to_string() }
}

fn read_capped<'a>(
    format: &'static str,
    mut reader: impl Read,
    bounds: Bounds<'_>,
) -> Result<Cow<'a, [u8]>, InflateError> {
    let Bounds { max, room } = bounds;
    let mut plain = Vec::new();
    let corrupt = |e: std::io::Error| InflateError::Corrupt { format, message: e.to_string() };
    loop {
        // One byte more than allowed tells "exactly full" from "too large".
        let more = plain.len().max(ROOM_FIRST).min(max.saturating_add(1) - plain.len());
        if !room(more) {
            return Err(InflateError::NoRoom);
        }
        plain.reserve_exact(more);
        let read = reader.by_ref().take(u64_from_usize(more)).read_to_end(&mut plain);
        let read = read.map_err(corrupt)?;
        if plain.len() > max {
            return Err(InflateError::TooLarge { max });
        }
        if read < more {
            return Ok(Cow::Owned(plain));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn every_format_is_known_by_its_magic_number() {
        let zstd = zstd::encode_all(&b"hello"[..], 1).unwrap();
        for packed in [gzip(b"hello"), zlib(b"hello"), zstd, b"hello".to_vec()] {
            assert_eq!(inflate(&packed, 5).as_deref(), Ok(&b"hello"[..]), "{packed:02x?}");
            assert_eq!(inflate(&packed, 4), Err(InflateError::TooLarge { max: 4 }));
        }
    }

    #[test]
    fn gzip_members_in_a_row_are_one_text() {
        let packed = [gzip(b"one "), gzip(b"two")].concat();
        assert_eq!(inflate(&packed, 100).as_deref(), Ok(&b"one two"[..]));
    }

    #[test]
    fn a_bomb_is_cut_off_and_never_unpacked_twice() {
        let bomb = gzip(&vec![0; 10_000_000]);
        assert_eq!(inflate(&bomb, 1000), Err(InflateError::TooLarge { max: 1000 }));
        let nested = gzip(&bomb);
        assert_eq!(inflate(&nested, bomb.len()).as_deref(), Ok(bomb.as_slice()));
    }

    #[test]
    fn memory_is_asked_for_before_it_is_taken() {
        let packed = gzip(&vec![7; 1_000_000]);
        let mut asked = Vec::new();
        let plain = inflate_within(&packed, 2_000_000, &mut |bytes| {
            asked.push(bytes);
            true
        });
        assert_eq!(plain.map(|plain| plain.len()), Ok(1_000_000));
        assert_eq!(asked, [65_536, 65_536, 131_072, 262_144, 524_288]);
        let mut left = 200_000_usize;
        let refused = inflate_within(&packed, 2_000_000, &mut |bytes| {
            left.checked_sub(bytes).map(|rest| left = rest).is_some()
        });
        assert_eq!(refused, Err(InflateError::NoRoom));
    }

    #[test]
    fn a_snappy_block_is_bounded_by_its_declared_length() {
        let packed = snap::raw::Encoder::new().compress_vec(b"hello hello hello").unwrap();
        assert_eq!(unsnap(&packed, 17).as_deref(), Ok(&b"hello hello hello"[..]));
        assert_eq!(unsnap(&packed, 16), Err(InflateError::TooLarge { max: 16 }));
        let claims_4_gib = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00];
        assert_eq!(unsnap(&claims_4_gib, 1 << 20), Err(InflateError::TooLarge { max: 1 << 20 }));
        assert!(matches!(unsnap(&packed[..9], 100), Err(InflateError::Corrupt { .. })));
        assert_eq!(unsnap(&[], 100), Ok(Vec::new()));
    }

    #[test]
    fn truncated_bytes_are_corrupt() {
        let packed = gzip(b"hello hello hello");
        let cut = &packed[..packed.len() - 9];
        assert!(matches!(inflate(cut, 100), Err(InflateError::Corrupt { format: "gzip", .. })));
    }
}
