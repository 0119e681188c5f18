//! Ranking: one linear function over named features.
//!
//! [`TABLE`] is all there is to it: a feature, how it is read, what it is worth. [`score`] is the sum, and
//! [`contributions`] its parts, rounded so that they add up to it exactly. A second column says how far a feature makes
//! a candidate like the query; [`with_rivals`] turns that likeness into the feature `lead`, by how much a candidate is
//! ahead of the best other. What a score means as a probability is `confidence`'s business.

use super::features::Features;

/// One line of [`TABLE`].
pub struct Weight {
    /// The feature's name, as in traces and dumps.
    pub name: &'static str,
    /// How it is read.
    pub value: fn(&Features) -> f64,
    /// What one unit of it adds to the score, in log-odds.
    pub weight: f64,
    /// What one unit of it adds to the likeness, in log-odds of the lead.
    pub likeness: f64,
}

/// What a candidate without any feature scores.
pub const INTERCEPT: f64 = -5.347;

/// Defines [`TABLE`], its columns, and [`values`], which reads the features in its order.
macro_rules! table {
    ($(#[$said:meta])* $($name:ident $weight:expr, $likeness:expr;)*) => {
        $(#[$said])*
        pub const TABLE: [Weight; FEATURES] = [$(Weight {
            name: stringify!($name),
            value: |features| features.$name,
            weight: $weight,
            likeness: $likeness,
        },)*];
        const WEIGHTS: [f64; FEATURES] = [$($weight,)*];
        const WEIGHT: Features = Features { $($name: $weight,)* };
        const LIKENESSES: [f64; FEATURES] = [$($likeness,)*];
        fn values(features: &Features) -> [f64; FEATURES] {
            [$(features.$name,)*]
        }
    };
}

/// Features there are.
const FEATURES: usize = 23;

table! {
    /// The features, their weights and their share in the likeness.
    ///
    /// Fitted by `tests/bench/fit_ranking.py` on the FAQ benchmark's six development tasks (bank FAQ, consumer credit, open
    /// domain, their union, two noisy variants) and the sample bank's queries, 13,500 in all, the best 12 candidates of each
    /// and the right ones, with the default dictionaries. No likeness may count against a candidate and no conflict for it;
    /// what a conflict of numbers costs is bounded from above, because the tasks hold too few of them.
    query_units 3.404, 1.457;
    phrasing_units 2.589, 0.000;
    units 0.000, 0.000;
    pairs 0.000, 0.349;
    words 0.000, 1.935;
    parts 0.000, 0.808;
    sounds 0.000, 0.355;
    sound_sequence 0.130, 1.825;
    length 0.126, 0.000;
    same 0.000, 1.512;
    answer 0.000, 1.469;
    answer_adds 2.838, 2.457;
    numbers_differ -0.500, 0.000;
    latin_differs -2.033, 0.000;
    latin_one_sided -0.560, 0.000;
    negation_differs -0.204, 0.000;
    contrast -1.588, 0.000;
    unknown -0.770, 0.000;
    brief -8.558, 0.000;
    read 1.614, 0.000;
    found_query 0.070, 0.000;
    found_phrasing 0.846, 0.000;
    lead 1.000, 0.000;
}

/// Scores are kept in these fractions of one, so that their sums are exact.
const STEP: f64 = 1.0 / 1_048_576.0;

/// To the nearest step: what is added leaves no room for more digits, and is taken off again. Good below 2^31.
fn quantised(value: f64) -> f64 {
    /// 1.5 · 2^52 steps.
    const NO_ROOM: f64 = 1.5 * 4_503_599_627_370_496.0 * STEP;
    (value + NO_ROOM) - NO_ROOM
}

/// What each line of [`TABLE`] adds, in its order.
pub fn contributions(features: &Features) -> impl Iterator<Item = f64> {
    TABLE.iter().map(|line| quantised((line.value)(features) * line.weight))
}

/// Sum of the quantised products; exact, so in whatever order.
fn weighed(values: &[f64; FEATURES], weights: &[f64; FEATURES]) -> f64 {
    let mut sums = [0.0; 4];
    for (at, (value, weight)) in values.iter().zip(weights).enumerate() {
        sums[at % 4] += quantised(value * weight);
    }
    sums.iter().sum()
}

/// Log-odds that the candidate answers the query, before calibration: the intercept and all contributions.
pub fn score(features: &Features) -> f64 {
    quantised(INTERCEPT) + weighed(&values(features), &WEIGHTS)
}

/// How alike candidate and query are; what a lead is measured in.
pub fn likeness(features: &Features) -> f64 {
    weighed(&values(features), &LIKENESSES)
}

/// What each line of [`TABLE`] adds to the likeness, in its order; 0 where it has no share in it.
pub fn likeness_parts(features: &Features) -> impl Iterator<Item = f64> {
    TABLE.iter().map(|line| match line.likeness > 0.0 {
        true => quantised((line.value)(features) * line.likeness),
        false => 0.0,
    })
}

/// Whom [`with_rivals`] has measured the candidate at `at` against, by position; `None`: nobody.
pub fn rival_of(candidates: &[&Features], at: usize) -> Option<usize> {
    let others = candidates.iter().enumerate().rev();
    let rivals = others.filter(|(other, features)| *other != at && features.contrast == 0.0);
    let alike = rivals.map(|(other, features)| (other, likeness(features)));
    // Of equals the last, which is the first of the candidates.
    alike.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(other, _)| other)
}

/// What a candidate is worth by itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Standing {
    /// [`score`], as far as the other candidates have no say in it.
    score: f64,
    /// [`likeness`].
    pub likeness: f64,
}

impl Standing {
    /// Of a candidate whose rivals are not known yet.
    pub fn of(features: &Features) -> Self {
        let values = values(features);
        Self {
            score: quantised(INTERCEPT) + weighed(&values, &WEIGHTS),
            likeness: weighed(&values, &LIKENESSES),
        }
    }

    /// Orders the phrasings of one entry: what they would score without rivals.
    pub fn total(self) -> f64 {
        self.score + self.likeness
    }

    /// [`score`] of the same features, those in place that [`with_rivals`] fills in.
    pub fn settled(self, features: &Features) -> f64 {
        self.score
            + quantised(features.found_query * WEIGHT.found_query)
            + quantised(features.found_phrasing * WEIGHT.found_phrasing)
            + quantised(features.lead * WEIGHT.lead)
    }
}

/// Fills in what depends on the other candidates; one candidate per entry, with its features and its likeness. A lone one
/// leads by all it has. Whoever names the other side of a contrast is nobody's rival, however alike the words.
pub fn with_rivals<T>(candidates: &mut [T], of: impl Fn(&mut T) -> (&mut Features, f64)) {
    let is_rival = |candidate: &Features| candidate.contrast == 0.0;
    let (mut first, mut second) = (0.0_f64, 0.0_f64);
    let (mut found_query, mut found_phrasing) = (0.0_f64, 0.0_f64);
    for (features, likeness) in candidates.iter_mut().map(&of) {
        found_query = found_query.max(features.query_units);
        found_phrasing = found_phrasing.max(features.phrasing_units);
        if is_rival(features) {
            second = second.max(likeness.min(first));
            first = first.max(likeness);
        }
    }
    for (features, likeness) in candidates.iter_mut().map(&of) {
        let leads = is_rival(features) && likeness >= first;
        features.lead = likeness - if leads { second } else { first };
        (features.found_query, features.found_phrasing) = (found_query, found_phrasing);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Score;
    use super::*;

    fn of_itself(candidate: &mut Features) -> (&mut Features, f64) {
        let likeness = likeness(candidate);
        (candidate, likeness)
    }

    #[test]
    fn a_score_in_two_steps_is_the_score() {
        let of = |share: f64| Features {
            query_units: share,
            sounds: share * share,
            answer_adds: 1.0 - share,
            ..Features::default()
        };
        let mut candidates = [0.123_4, 0.777_7, 0.5].map(of);
        let standings = candidates.map(|candidate| Standing::of(&candidate));
        with_rivals(&mut candidates, of_itself);
        for (standing, candidate) in standings.iter().zip(&candidates) {
            assert_eq!(standing.settled(candidate).to_bits(), score(candidate).to_bits());
        }
    }

    #[test]
    fn a_lead_is_over_the_best_other() {
        let of = |query_units| Features {
            query_units,
            ..Features::default()
        };
        let likeness = |units: f64| likeness(&of(units));
        let mut candidates = [of(0.5), of(0.75), of(0.25)];
        with_rivals(&mut candidates, of_itself);
        let by = |lead: f64, units: f64| (lead - likeness(units)).abs() < 4.0 * STEP;
        assert!(by(-candidates[0].lead, 0.25) && by(candidates[1].lead, 0.25) && by(-candidates[2].lead, 0.5));
        assert!(candidates.iter().all(|c| Score::new(c.found_query) == Score::new(0.75)));
        let mut alone = [of(0.5)];
        with_rivals(&mut alone, of_itself);
        assert!(by(alone[0].lead, 0.5));
    }

    #[test]
    fn the_other_side_of_a_contrast_is_no_rival() {
        let of = |query_units, contrast| Features {
            query_units,
            contrast,
            ..Features::default()
        };
        let mut candidates = [of(0.5, 0.0), of(0.75, 1.0)];
        with_rivals(&mut candidates, of_itself);
        assert!(candidates[0].lead > 0.0);
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
        for conflict in ["numbers_differ", "latin_differs", "negation_differs", "contrast"] {
            let line = TABLE.iter().find(|line| line.name == conflict).unwrap();
            assert!(line.weight < 0.0, "{conflict}");
        }
    }
}
