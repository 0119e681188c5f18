//! Ranking: one linear function over named features.
//!
//! [`TABLE`] is all there is to it: a feature, how it is read, what it is worth. [`score`] is the sum, and
//! [`contributions`] its parts, rounded so that they add up to it exactly. [`with_gaps`] fills in the features that
//! compare a candidate with its rivals. What a score means as a probability is `confidence`'s business.

use super::features::Features;

/// One line of [`TABLE`].
pub struct Weight {
    /// The feature's name, as in traces and dumps.
    pub name: &'static str,
    /// How it is read.
    pub value: fn(&Features) -> f64,
    /// What one unit of it adds to the score, in log-odds.
    pub weight: f64,
}

/// What a candidate without any feature scores.
pub const INTERCEPT: f64 = 0.0;

macro_rules! table {
    ($($name:ident $weight:expr,)*) => {
        [$(Weight { name: stringify!($name), value: |features| features.$name, weight: $weight },)*]
    };
}

/// The features and their weights.
pub const TABLE: [Weight; 22] = table! {
    units 3.0,
    words_bigrams 3.0,
    query_units 1.0,
    phrasing_units 1.0,
    query_words 1.0,
    phrasing_words 0.5,
    sounds 2.0,
    sequence 2.0,
    length 0.5,
    same 1.0,
    numbers_differ -1.0,
    latin_differs -1.0,
    contrast -1.5,
    answer 1.0,
    units_gap 3.0,
    words_bigrams_gap 3.0,
    sounds_gap 3.0,
    sequence_gap 0.5,
    answer_gap 0.5,
    unknown -1.0,
    corrected -1.0,
    read -0.5,
};

/// Scores are kept in these fractions of one, so that their sums are exact.
const STEP: f64 = 1.0 / 1_048_576.0;

/// What each line of [`TABLE`] adds, in its order.
pub fn contributions(features: &Features) -> impl Iterator<Item = f64> {
    TABLE.iter().map(|line| ((line.value)(features) * line.weight / STEP).round() * STEP)
}

/// Log-odds that the candidate answers the query, before calibration: the intercept and all contributions.
pub fn score(features: &Features) -> f64 {
    (INTERCEPT / STEP).round() * STEP + contributions(features).sum::<f64>()
}

/// Fills in the gaps to the best other candidate; one candidate per entry. A lone one leads by all it has.
pub fn with_gaps(candidates: &mut [Features]) {
    let scorers: [(fn(&Features) -> f64, fn(&mut Features) -> &mut f64); 5] = [
        (|f| f.units, |f| &mut f.units_gap),
        (|f| f.words_bigrams, |f| &mut f.words_bigrams_gap),
        (|f| f.sounds, |f| &mut f.sounds_gap),
        (|f| f.sequence, |f| &mut f.sequence_gap),
        (|f| f.answer, |f| &mut f.answer_gap),
    ];
    for (scorer, gap) in scorers {
        let (mut first, mut second) = (0.0_f64, 0.0_f64);
        for value in candidates.iter().map(scorer) {
            second = second.max(value.min(first));
            first = first.max(value);
        }
        for candidate in &mut *candidates {
            let own = scorer(candidate);
            let rival = if own < first { first } else { second };
            *gap(candidate) = own - rival;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_to_the_best_other() {
        let of = |units| Features { units, ..Features::default() };
        let mut candidates = [of(0.5), of(0.75), of(0.25)];
        with_gaps(&mut candidates);
        assert_eq!(candidates.map(|c| c.units_gap), [-0.25, 0.25, -0.5]);
        let mut alone = [of(0.5)];
        with_gaps(&mut alone);
        assert_eq!(alone[0].units_gap, 0.5);
    }

    #[test]
    fn contributions_add_up_exactly() {
        let features = Features { units: 0.123_456, sounds: 0.777, contrast: 1.0, ..Features::default() };
        let sum: f64 = contributions(&features).collect::<Vec<_>>().iter().rev().sum();
        assert_eq!(score(&features).to_bits(), ((INTERCEPT / STEP).round() * STEP + sum).to_bits());
    }

    #[test]
    fn conflicts_never_help() {
        for conflict in ["numbers_differ", "latin_differs", "contrast"] {
            let line = TABLE.iter().find(|line| line.name == conflict).unwrap();
            assert!(line.weight < 0.0, "{conflict}");
        }
    }
}
