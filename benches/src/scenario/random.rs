//! Random numbers that cost next to nothing, the same in each run.

/// Random numbers, a few cycles each (xorshift64*, Vigna 2016).
pub(super) struct Numbers(u64);

impl Numbers {
    pub(super) fn new() -> Numbers {
        Numbers(0x9e37_79b9_7f4a_7c15)
    }

    #[inline]
    pub(super) fn below(&mut self, limit: u32) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        (high * u64::from(limit)) >> 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_numbers_reach_all_entries_evenly() {
        let mut seen = [0u32; 100];
        let mut numbers = Numbers::new();
        (0..100_000).for_each(|_| seen[numbers.below(100) as usize] += 1);
        assert!(seen.iter().all(|n| (800..1200).contains(n)), "{seen:?}");
    }
}
