//! The only file that converts between kinds of numbers with `as`.
//!
//! Every function says what happens at the ends of the range, so that a reader of any other file
//! never has to wonder whether a cast wraps, truncates or loses digits.
#![expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "this file is where conversions live; each function documents and tests its ends"
)]

/// Nearest `f64`; exact up to 2^53.
pub const fn f64_from_u64(n: u64) -> f64 {
    n as f64
}

/// Nearest `f64`; exact up to 2^53 in magnitude.
pub const fn f64_from_i64(n: i64) -> f64 {
    n as f64
}

/// Nearest `f64`; exact up to 2^53 in magnitude.
pub const fn f64_from_i128(n: i128) -> f64 {
    n as f64
}

/// Nearest `f64`; exact up to 2^53.
pub const fn f64_from_usize(n: usize) -> f64 {
    n as f64
}

/// Truncates towards zero; NaN is 0, values outside the range are its ends.
pub const fn i64_from_f64(x: f64) -> i64 {
    x as i64
}

/// Truncates towards zero; NaN and negative values are 0, values above the range its end.
pub const fn u64_from_f64(x: f64) -> u64 {
    x as u64
}

/// Truncates towards zero; NaN is 0, values outside the range are its ends.
pub const fn i32_from_f64(x: f64) -> i32 {
    x as i32
}

/// Truncates towards zero; NaN and negative values are 0, values above the range its end.
pub const fn usize_from_f64(x: f64) -> usize {
    x as usize
}

/// The same bits of value; `usize` has at most 64 bits on every supported target.
pub const fn u64_from_usize(n: usize) -> u64 {
    n as u64
}

/// `i64::MAX` where the value does not fit.
pub fn i64_from_u64(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// 0 where the value is negative.
pub fn u64_from_i64(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

/// `u32::MAX` where the value does not fit.
pub fn u32_from_usize(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// `usize::MAX` where the value does not fit.
pub fn usize_from_u64(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// Exact: `usize` has at least 32 bits on every supported target.
pub const fn usize_from_u32(n: u32) -> usize {
    n as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_the_range_saturate() {
        assert_eq!(i64_from_f64(f64::NAN), 0);
        assert_eq!(i64_from_f64(1e300), i64::MAX);
        assert_eq!(u64_from_f64(-1.0), 0);
        assert_eq!(i64_from_u64(u64::MAX), i64::MAX);
        assert_eq!(u64_from_i64(-5), 0);
        assert_eq!(usize_from_f64(3.9), 3);
    }
}
