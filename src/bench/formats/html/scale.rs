//! From values to places on an axis.

/// An axis: values from `low` to `high`, drawn from `left` to `right`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    left: f64,
    right: f64,
}

impl Scale {
    /// An axis on which `low` to `high` have room; never of no length.
    pub(super) fn new((low, high): (f64, f64), (left, right): (f64, f64)) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        Self { low, high, left, right }
    }

    /// Where `value` is.
    pub(super) fn place(&self, value: f64) -> f64 {
        let part = (value - self.low) / (self.high - self.low);
        (self.right - self.left).mul_add(part.clamp(0.0, 1.0), self.left)
    }

    /// Round values on it, about `count` of them: steps of 1, 2 or 5 times a power of
    /// ten.
    pub(super) fn ticks(&self, count: f64) -> Vec<f64> {
        let rough = (self.high - self.low) / count;
        let power = 10_f64.powf(rough.log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
        let step = steps.into_iter().find(|step| *step >= rough).unwrap_or(rough);
        let mut ticks = Vec::new();
        let mut tick = (self.low / step).ceil() * step;
        while tick <= self.high && ticks.len() < 50 {
            ticks.push(tick);
            tick += step;
        }
        ticks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_placed_in_proportion() {
        let scale = Scale::new((100.0, 300.0), (10.0, 110.0));
        for (value, place) in [(100.0, 10.0), (200.0, 60.0), (300.0, 110.0), (999.0, 110.0)] {
            assert!((scale.place(value) - place).abs() < 1e-9);
        }
        assert!(Scale::new((5.0, 5.0), (0.0, 10.0)).place(5.0).abs() < 1e-9);
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(Scale::new((0.0, 1.0e9), (0.0, 1.0)).ticks(5.0).len(), 6);
        assert_eq!(Scale::new((0.0, 70.0), (0.0, 1.0)).ticks(5.0), [0.0, 20.0, 40.0, 60.0]);
        assert_eq!(Scale::new((13.0, 27.0), (0.0, 1.0)).ticks(3.0), [15.0, 20.0, 25.0]);
    }
}
