//! How rare things are, in whole steps.
//!
//! [`Rarity`] is the entry point: of terms; [`Sound`] is how rare a syllable is, and what a pair of them is worth.

use std::sync::LazyLock;

/// Steps of one natural-log unit in which rarity is kept. Sums of whole steps are exact, so no score depends on the
/// order of additions, and a processor whose `ln` differs in the last bit gets the same steps.
pub const IDF_STEPS: f64 = 1024.0;

/// How many documents hold a term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frequency {
    documents: u32,
    /// ln(n + ½) in steps above ln ½: searches ask again and again.
    half: u32,
}

/// The frequencies of several terms, so far as the sum of their rarities needs them.
#[derive(Default)]
pub struct Frequencies {
    terms: u64,
    halves: u64,
}

impl std::ops::AddAssign<Frequency> for Frequencies {
    #[inline]
    fn add_assign(&mut self, more: Frequency) {
        self.terms += 1;
        self.halves += u64::from(more.half);
    }
}

impl Frequency {
    /// Of a term that so many documents hold.
    pub fn of(documents: u32) -> Self {
        let half = HALVES.get(documents as usize).copied();
        let half = half.unwrap_or_else(|| steps(f64::from(documents) + 0.5));
        Self { documents, half }
    }

    /// Documents that hold the term.
    pub fn documents(self) -> u32 {
        self.documents
    }
}

impl Default for Frequency {
    /// Of what nobody has.
    fn default() -> Self {
        Self::of(0)
    }
}

/// How rare a sound is.
#[derive(Clone, Copy)]
pub struct Sound {
    /// In [`IDF_STEPS`]; far below 0 where nothing sounds.
    rarity: i32,
    /// Of the rarity; 0 where nothing sounds.
    square: u32,
}

impl Sound {
    /// Low enough to stay below 0 with any other sound.
    const SILENCE: i32 = i32::MIN / 2;

    /// Of a syllable with that rarity.
    pub fn new(rarity: u32) -> Self {
        Self {
            rarity: rarity.cast_signed(),
            square: rarity * rarity,
        }
    }

    /// Squared rarity.
    #[inline]
    pub fn squared(self) -> u64 {
        self.square.into()
    }

    /// Squared rarity of this and the next, as if each came by chance: counting every pair is dear, and what a pair adds to
    /// its two sounds is order. 0 unless both sound. `rarest`: the rarity of what nobody has.
    #[inline]
    pub fn with(self, next: Self, rarest: u32) -> u64 {
        let both = (self.rarity + next.rarity).min(rarest.cast_signed()).max(0);
        u64::from(both.cast_unsigned()) * u64::from(both.cast_unsigned())
    }
}

impl Default for Sound {
    /// Silence.
    fn default() -> Self {
        Self {
            rarity: Self::SILENCE,
            square: 0,
        }
    }
}

/// Inverse document frequency among a number of documents, ln((N + 1) / (n + ½)), in [`IDF_STEPS`]. That is BM25's
/// ln(1 + (N − n + ½) / (n + ½)) (Robertson & Zaragoza 2009, §3), split so that one table serves every N.
#[derive(Clone, Copy)]
pub struct Rarity {
    /// ln(N + 1) in steps above ln ½.
    all: u32,
}

impl Rarity {
    /// Among so many documents.
    pub fn among(documents: u32) -> Self {
        Self {
            all: steps(f64::from(documents) + 1.0),
        }
    }

    /// Of a term that `doc_freq` documents hold.
    pub fn idf(self, doc_freq: u32) -> u32 {
        self.of(Frequency::of(doc_freq))
    }

    /// Of a term; one nobody has is the rarest.
    #[inline]
    pub fn of(self, frequency: Frequency) -> u32 {
        self.all.saturating_sub(frequency.half)
    }

    /// Of several terms together.
    #[inline]
    pub fn of_all(self, frequencies: &Frequencies) -> u64 {
        (frequencies.terms * u64::from(self.all)).saturating_sub(frequencies.halves)
    }
}

/// ln(n + ½) in steps, for the smaller n.
static HALVES: LazyLock<Vec<u32>> = LazyLock::new(|| (0..1 << 16).map(|n| steps(f64::from(n) + 0.5)).collect());

/// ln of at least ½, in steps above ln ½.
fn steps(value: f64) -> u32 {
    let steps = |value: f64| (value.ln() * IDF_STEPS).round();
    (steps(value) - steps(0.5)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rarity_is_bm25s() {
        for (doc_freq, documents) in [
            (0_u32, 0_u32),
            (0, 10),
            (1, 10),
            (10, 10),
            (70_000, 100_000),
            (5, 1_000_000),
        ] {
            let (n, all) = (f64::from(doc_freq), f64::from(documents));
            let exact = (1.0 + (all - n + 0.5) / (n + 0.5)).ln() * IDF_STEPS;
            let found = f64::from(Rarity::among(documents).idf(doc_freq));
            assert!(
                (found - exact).abs() <= 1.0,
                "{doc_freq} of {documents}: {found}, not {exact}"
            );
        }
    }

    #[test]
    fn rarities_together_are_their_sum() {
        let rarity = Rarity::among(1_000);
        let mut together = Frequencies::default();
        let mut sum = 0;
        for documents in [0, 1, 7, 1_000] {
            together += Frequency::of(documents);
            sum += u64::from(rarity.idf(documents));
            assert_eq!(rarity.of_all(&together), sum, "{documents}");
        }
    }

    #[test]
    fn silence_makes_no_pair() {
        let [common, rare] = [Sound::new(1_000), Sound::new(9_000)];
        assert_eq!(common.with(rare, 9_500), 9_500 * 9_500);
        assert_eq!(common.with(common, 9_500), 2_000 * 2_000);
        let silence = Sound::default();
        assert_eq!(
            silence.squared() + silence.with(rare, 9_500) + rare.with(silence, 9_500),
            0
        );
        assert_eq!(silence.with(silence, 9_500), 0);
    }
}
