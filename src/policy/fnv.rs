//! A hash that is the same in every program and on every machine: FNV-1a with 64 bits.

/// The hash of the bytes so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    /// Returns the hash with one more byte.
    #[must_use]
    pub fn with(self, byte: u8) -> Self {
        Self((self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
    }

    /// Returns a number of at most fifteen digits, which every JSON parser keeps exactly. It is never zero.
    #[must_use]
    pub fn short(self) -> u64 {
        self.0 % 999_999_999_999_999 + 1
    }
}
