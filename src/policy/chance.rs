//! A random number generator for simulations: a run with the same seed is the same each time.

/// A linear congruential generator.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    /// Returns a number between 0 and 1, both exclusive.
    pub(crate) fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// The length of a turn in milliseconds: lognormal, with a median of a minute.
    pub(crate) fn turn(&mut self) -> f64 {
        let normal = (-2.0 * self.share().ln()).sqrt() * (std::f64::consts::TAU * self.share()).cos();
        60_000.0 * (0.8 * normal).exp()
    }
}
