//! Numbers drawn from a seed: the same everywhere, always.

/// A generator of numbers: SplitMix64 (Steele, Lea, Flood: Fast splittable
/// pseudorandom number generators, 2014). Not for secrets.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The one that begins at `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to below `bound`, or 0. The bias is below 2^-40 for all that
    /// is drawn here.
    pub fn below(&mut self, bound: usize) -> usize {
        let wide = u128::from(self.bits()).wrapping_mul(bound as u128) >> 64;
        usize::try_from(wide).unwrap_or(0)
    }

    /// A number from 0 to below 1.
    pub fn fraction(&mut self) -> f64 {
        super::float(self.bits() >> 11) / 9_007_199_254_740_992.0
    }

    /// A number of the standard normal distribution (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.fraction()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.fraction()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_numbers_are_those_of_the_reference_implementation() {
        // splitmix64.c by Sebastiano Vigna, seed 1234567.
        let mut random = Random::new(1_234_567);
        let wanted =
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!([random.bits(), random.bits(), random.bits()], wanted);
    }

    #[test]
    fn fractions_fill_their_range_and_normals_have_their_moments() {
        let mut random = Random::new(1);
        let normals: Vec<f64> = (0..20_000).map(|_| random.normal()).collect();
        let mean = normals.iter().sum::<f64>() / 20_000.0;
        let square = normals.iter().map(|value| value * value).sum::<f64>() / 20_000.0;
        assert!(mean.abs() < 0.03, "{mean}");
        assert!((square - 1.0).abs() < 0.05, "{square}");
        assert!((0..10_000).map(|_| random.fraction()).all(|value| (0.0..1.0).contains(&value)));
        let mut seen = [0; 5];
        for _ in 0..10_000 {
            seen[random.below(5)] += 1;
        }
        assert!(seen.iter().all(|times| (1_800..2_200).contains(times)), "{seen:?}");
        assert_eq!(random.below(0), 0);
    }
}
