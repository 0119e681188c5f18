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
pub const INTERCEPT: f64 = -2.866;

macro_rules! table {
    ($($name:ident $weight:expr,)*) => {
        [$(Weight { name: stringify!($name), value: |features| features.$name, weight: $weight },)*]
    };
}

/// The features and their weights.
///
/// Fitted by `tests/bench/fit_ranking.py` on the FAQ benchmark's six development tasks (bank FAQ, consumer credit, open
/// domain, their union, two noisy variants) and the sample bank's queries, 13,500 in all, the best 12 candidates of each
/// and the right ones, with the default dictionaries. What a conflict costs is bounded from above, and no likeness may count against a candidate; the
/// zeros are likenesses whose gap to the best rival says everything they say.
pub const TABLE: [Weight; 21] = table! {
    units 0.038,
    words_bigrams 0.000,
    query_units 0.821,
    phrasing_units 1.231,
    phrasing_words 0.484,
    sounds 0.000,
    sequence 0.256,
    length 0.070,
    same 0.673,
    numbers_differ -0.500,
    latin_differs -1.209,
    contrast -1.620,
    answer 0.667,
    units_gap 2.106,
    words_bigrams_gap 0.834,
    sounds_gap 1.680,
    sequence_gap 2.196,
    evidence_gap 6.424,
    unknown -1.374,
    corrected -0.205,
    read 0.333,
};

/// Scores are kept in these fractions of one, so that their sums are exact.
const STEP: f64 = 1.0 / 1_048_576.0;

/// What each line of [`TABLE`] adds, in its order.
pub fn contributions(features: &Features) -> impl Iterator<Item = f64> {
    TABLE
        .iter()
        .map(|line| ((line.value)(features) * line.weight / STEP).round() * STEP)
}

/// Log-odds that the candidate answers the query, before calibration: the intercept and all contributions.
pub fn score(features: &Features) -> f64 {
    (INTERCEPT / STEP).round() * STEP + contributions(features).sum::<f64>()
}

/// How one measure is read, and where its gap is kept.
type Scorer = (fn(&Features) -> f64, fn(&mut Features) -> &mut f64);

/// Fills in the gaps to the best other candidate; one candidate per entry. A lone one leads by all it has. Whoever names
/// the other side of a contrast is nobody's rival, however alike the words.
pub fn with_gaps(candidates: &mut [Features]) {
    let is_rival = |candidate: &Features| candidate.contrast == 0.0;
    let scorers: [Scorer; 5] = [
        (|f| f.units, |f| &mut f.units_gap),
        (|f| f.words_bigrams, |f| &mut f.words_bigrams_gap),
        (|f| f.sounds, |f| &mut f.sounds_gap),
        (|f| f.sequence, |f| &mut f.sequence_gap),
        (Features::evidence, |f| &mut f.evidence_gap),
    ];
    for (scorer, gap) in scorers {
        let (mut first, mut second) = (0.0_f64, 0.0_f64);
        for value in candidates.iter().filter(|candidate| is_rival(candidate)).map(scorer) {
            second = second.max(value.min(first));
            first = first.max(value);
        }
        for candidate in &mut *candidates {
            let own = scorer(candidate);
            let rival = if is_rival(candidate) && own >= first {
                second
            } else {
                first
            };
            *gap(candidate) = own - rival;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Score;
    use super::*;

    #[test]
    fn gaps_are_to_the_best_other() {
        let of = |units| Features {
            units,
            ..Features::default()
        };
        let mut candidates = [of(0.5), of(0.75), of(0.25)];
        with_gaps(&mut candidates);
        assert_eq!(
            candidates.map(|c| Score::new(c.units_gap.abs())),
            [0.25, 0.25, 0.5].map(Score::new)
        );
        assert!(candidates[0].units_gap < 0.0 && candidates[1].units_gap > 0.0);
        let mut alone = [of(0.5)];
        with_gaps(&mut alone);
        assert_eq!(Score::new(alone[0].units_gap), Score::new(0.5));
    }

    #[test]
    fn contributions_add_up_exactly() {
        let features = Features {
            units: 0.123_456,
            sounds: 0.777,
            contrast: 1.0,
            ..Features::default()
        };
        let sum: f64 = contributions(&features).collect::<Vec<_>>().iter().rev().sum();
        assert_eq!(
            score(&features).to_bits(),
            ((INTERCEPT / STEP).round() * STEP + sum).to_bits()
        );
    }

    #[test]
    fn conflicts_never_help() {
        for conflict in ["numbers_differ", "latin_differs", "contrast"] {
            let line = TABLE.iter().find(|line| line.name == conflict).unwrap();
            assert!(line.weight < 0.0, "{conflict}");
        }
    }
}
