//! Seeded randomness: a seed in, the same numbers out on every machine and in every version.
//!
//! xoshiro256++ (Blackman and Vigna, 2019), seeded by splitmix64. Distributions are tables of quantiles
//! joined by straight lines, so that no platform's `ln` or `exp` can change a workload. It is for
//! simulation only, never for secrets.

use std::time::Duration;

use crate::number::{f64_from_u64, u64_from_f64, u64_from_usize, usize_from_u64};

/// A point of a distribution: `share` of all values are at most `value`.
struct Quantile {
    share: f64,
    value: f64,
}

const fn q(share: f64, value: f64) -> Quantile {
    Quantile { share, value }
}

/// Latencies as multiples of their median: a lognormal body and a long tail.
const LATENCY: [Quantile; 9] = [
    q(0.0, 0.45),
    q(0.1, 0.66),
    q(0.25, 0.81),
    q(0.5, 1.0),
    q(0.75, 1.24),
    q(0.9, 1.6),
    q(0.99, 2.9),
    q(0.999, 5.5),
    q(1.0, 8.0),
];

/// Times between independent arrivals, as multiples of their mean.
const INTERVAL: [Quantile; 13] = [
    q(0.0, 0.0),
    q(0.1, 0.105),
    q(0.2, 0.223),
    q(0.3, 0.357),
    q(0.4, 0.511),
    q(0.5, 0.693),
    q(0.6, 0.916),
    q(0.7, 1.204),
    q(0.8, 1.609),
    q(0.9, 2.303),
    q(0.95, 2.996),
    q(0.99, 4.605),
    q(1.0, 6.4),
];

#[derive(Clone, Debug)]
pub(super) struct Random {
    state: [u64; 4],
}

impl Random {
    /// Streams of one seed are independent of each other, so that a change in how payloads travel
    /// never changes what happened.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut mixer = seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95);
        Self { state: [0; 4].map(|_: u64| splitmix64(&mut mixer)) }
    }

    pub(super) fn draw(&mut self) -> u64 {
        let [mut a, mut b, mut c, mut d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let shifted = b << 17;
        c ^= a;
        d ^= b;
        b ^= c;
        a ^= d;
        c ^= shifted;
        d = d.rotate_left(45);
        self.state = [a, b, c, d];
        result
    }

    /// Evenly in 0..1, below 1.
    pub(super) fn unit(&mut self) -> f64 {
        f64_from_u64(self.draw() >> 11) / f64_from_u64(1 << 53)
    }

    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Evenly in 0..n; 0 where n is 0.
    pub(super) fn below(&mut self, n: usize) -> usize {
        usize_from_u64(self.draw().checked_rem(u64_from_usize(n)).unwrap_or(0))
    }

    /// Evenly between both, in whole milliseconds.
    pub(super) fn millis(&mut self, least: u64, most: u64) -> Duration {
        let span = most.saturating_sub(least).saturating_add(1);
        Duration::from_millis(least.saturating_add(self.draw() % span))
    }

    /// A latency with this median, in steps of 10 µs: the digits that Lambda reports.
    pub(super) fn latency(&mut self, median: Duration) -> Duration {
        let u = self.unit();
        steps(median, at(&LATENCY, u))
    }

    /// A time to the next of independent arrivals, in whole milliseconds.
    pub(super) fn interval(&mut self, mean: Duration) -> Duration {
        let u = self.unit();
        let exact = mean.mul_f64(at(&INTERVAL, u));
        Duration::from_millis(u64::try_from(exact.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        [0; N].map(|_: u8| self.draw().to_le_bytes()[7])
    }

    /// A version 4 UUID (RFC 9562, 5.4).
    pub(super) fn uuid(&mut self) -> String {
        let mut bytes = self.bytes::<16>();
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex = format!("{:032x}", u128::from_be_bytes(bytes));
        [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
    }

    pub(super) fn hex(&mut self, digits: usize) -> String {
        (0..digits).map(|_| char::from_digit(self.digit(), 16).unwrap_or('0')).collect()
    }

    fn digit(&mut self) -> u32 {
        u32::from(self.draw().to_le_bytes()[7] & 0x0f)
    }
}

fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The value below which `share` of all values lie.
fn at(table: &[Quantile], share: f64) -> f64 {
    let pairs = table.iter().zip(table.iter().skip(1));
    pairs.into_iter().find(|(_, upper)| share <= upper.share).map_or(1.0, |(lower, upper)| {
        let part = (share - lower.share) / (upper.share - lower.share);
        lower.value + part * (upper.value - lower.value)
    })
}

fn steps(median: Duration, factor: f64) -> Duration {
    const STEP_NANOS: u64 = 10_000;
    let nanos = f64_from_u64(u64::try_from(median.as_nanos()).unwrap_or(u64::MAX)) * factor;
    Duration::from_nanos((u64_from_f64(nanos) / STEP_NANOS).max(1) * STEP_NANOS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_for_ever() {
        let mut random = Random::new(7, 0);
        let numbers = [random.draw(), random.draw(), random.draw()].map(|n| format!("{n:016x}"));
        let mut again = Random::new(7, 0);
        assert_eq!(
            numbers,
            [again.draw(), again.draw(), again.draw()].map(|n| format!("{n:016x}"))
        );
        expect_test::expect![[r#"["0e2c1a002aae913d", "2c0fc8ddfa4e9e14", "b7b311b3b0d45872"]"#]]
            .assert_eq(&format!("{numbers:?}"));
        assert_ne!(Random::new(7, 1).draw(), Random::new(7, 0).draw());
    }

    #[test]
    fn latencies_keep_their_median_and_have_a_tail() {
        let mut random = Random::new(1, 0);
        let mut drawn: Vec<u128> =
            (0..10_000).map(|_| random.latency(Duration::from_millis(100)).as_micros()).collect();
        drawn.sort_unstable();
        assert!((98_000..102_000).contains(&drawn[5_000]), "median {}", drawn[5_000]);
        assert!((250_000..330_000).contains(&drawn[9_900]), "p99 {}", drawn[9_900]);
    }

    #[test]
    fn arrivals_keep_their_mean() {
        let mut random = Random::new(1, 0);
        let sum: Duration = (0..10_000).map(|_| random.interval(Duration::from_secs(1))).sum();
        assert!((9_700..10_400).contains(&sum.as_secs()), "{sum:?}");
    }

    #[test]
    fn uuids_have_their_form() {
        let uuid = Random::new(3, 0).uuid();
        assert_eq!(uuid.len(), 36);
        assert_eq!(uuid.as_bytes()[14], b'4');
    }
}
