//! Medians, and how sure they are.

use fastrand::Rng;
use serde_json::{Value, json};

/// Resamples of a bootstrap: enough for two digits of a 95 % interval.
const RESAMPLES: usize = 10_000;

/// The middle of `values`, or of the two in the middle their mean. Zero of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.as_slice() {
        [] => 0.0,
        sorted if sorted.len() % 2 == 1 => sorted[middle],
        sorted => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// A ratio of two medians with its 95 % interval.
#[derive(Clone, Copy, Debug)]
pub struct Ratio {
    /// The ratio of the medians of all rounds.
    pub value: f64,
    /// The lower end of the interval.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Ratio {
    /// `median(above) / median(below)`. The two were measured in rounds, one of each in a round, so
    /// the bootstrap draws whole rounds.
    pub fn of(above: &[f64], below: &[f64], rng: &mut Rng) -> Self {
        let rounds = above.len().min(below.len());
        let mut ratios: Vec<_> =
            (0..RESAMPLES).map(|_| resample(above, below, rounds, rng)).collect();
        ratios.sort_by(f64::total_cmp);
        let at = |share: f64| ratios[((RESAMPLES - 1) as f64 * share).round() as usize];
        Self { value: median(above) / median(below), low: at(0.025), high: at(0.975) }
    }

    /// For the report's file.
    pub fn json(&self) -> Value {
        json!({ "ratio": self.value, "low": self.low, "high": self.high })
    }
}

fn resample(above: &[f64], below: &[f64], rounds: usize, rng: &mut Rng) -> f64 {
    let drawn: Vec<_> = (0..rounds).map(|_| rng.usize(..rounds)).collect();
    let pick =
        |values: &[f64]| median(&drawn.iter().map(|round| values[*round]).collect::<Vec<_>>());
    pick(above) / pick(below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn the_interval_holds_the_ratio_and_narrows_to_it() {
        let mut rng = Rng::with_seed(1);
        let below = [1.0, 1.1, 0.9, 1.05, 0.95, 1.0, 1.02];
        let above = below.map(|value| value * 2.0);
        let ratio = Ratio::of(&above, &below, &mut rng);
        // The rounds move together: drawn as pairs, their noise cancels out.
        assert!((ratio.low - 2.0).abs() < 1e-9 && (ratio.high - 2.0).abs() < 1e-9, "{ratio:?}");
        let mixed = [1.9, 2.4, 1.5, 2.3, 1.7, 2.1, 2.0];
        let ratio = Ratio::of(&mixed, &below, &mut rng);
        assert!(ratio.low < ratio.value && ratio.value < ratio.high, "{ratio:?}");
    }
}
