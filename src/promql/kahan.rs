//! Sums and means of floats that keep what rounding loses. What comes in: values in order. What
//! goes out: the total as Prometheus computes it (`kahanSumInc`, `AVG` in `promql/engine.go`).

/// Neumaier's variant of Kahan summation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum {
    sum: f64,
    rest: f64,
}

impl Sum {
    pub(crate) fn add(&mut self, x: f64) {
        let total = self.sum + x;
        if total.is_infinite() {
            self.rest = 0.0;
        } else if self.sum.abs() >= x.abs() {
            self.rest += (self.sum - total) + x;
        } else {
            self.rest += (x - total) + self.sum;
        }
        self.sum = total;
    }

    pub(crate) fn total(&self) -> f64 {
        if self.sum.is_infinite() { self.sum } else { self.sum + self.rest }
    }
}

/// A mean that turns incremental where the plain sum would overflow.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mean {
    sum: Sum,
    n: f64,
    incremental: bool,
}

impl Mean {
    pub(crate) fn add(&mut self, x: f64) {
        self.n += 1.0;
        if !self.incremental {
            let mut sum = self.sum;
            sum.add(x);
            if self.n <= 1.0 || !sum.sum.is_infinite() {
                self.sum = sum;
                return;
            }
            self.incremental = true;
            self.sum.sum /= self.n - 1.0;
            self.sum.rest /= self.n - 1.0;
        }
        let mean = self.sum.sum;
        if mean.is_infinite() {
            let same_sign = x.is_infinite() && (mean > 0.0) == (x > 0.0);
            if same_sign || x.is_finite() {
                return;
            }
        }
        let kept = (self.n - 1.0) / self.n;
        self.sum.sum *= kept;
        self.sum.rest *= kept;
        self.sum.add(x / self.n);
    }

    pub(crate) fn mean(&self) -> f64 {
        if self.incremental {
            self.sum.total()
        } else {
            let mean = self.sum.sum / self.n;
            if mean.is_infinite() { mean } else { mean + self.sum.rest / self.n }
        }
    }
}

/// Welford's running variance with compensated mean and squares.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Variance {
    mean: Sum,
    squares: Sum,
    n: f64,
}

impl Variance {
    pub(crate) fn add(&mut self, x: f64) {
        self.n += 1.0;
        let delta = x - (self.mean.sum + self.mean.rest);
        self.mean.add(delta / self.n);
        self.squares.add(delta * (x - (self.mean.sum + self.mean.rest)));
    }

    pub(crate) fn variance(&self) -> f64 {
        (self.squares.sum + self.squares.rest) / self.n
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_values_survive_beside_large_ones() {
        let mut sum = Sum::default();
        for x in [1.0, 1e100, 1.0, -1e100] {
            sum.add(x);
        }
        assert!((sum.total() - 2.0).abs() < 1e-12);
    }

    #[test]
    fn a_mean_does_not_overflow() {
        let mut mean = Mean::default();
        for _ in 0..4 {
            mean.add(9.9e307);
        }
        assert!((mean.mean() / 9.9e307 - 1.0).abs() < 1e-12);
    }
}
