//! What a query and one phrasing have in common, field by field.
//!
//! [`CommonUnits::of`] compares characters and runs, [`CommonSounds::of`] what they sound like, [`CommonWords::of`] words. Each
//! takes time linear in the phrasing's length.

use super::bit;
use super::room::{Heard, Room};
use crate::matching::pinyin::{Readings, Syllable};
use crate::matching::vocabulary::{Frequencies, IDF_STEPS, RunCounts, Scales, Sound, Vocabulary};

/// Units.
#[derive(Default)]
pub(super) struct CommonUnits {
    /// The query's units that the phrasing has, each of the phrasing's for one; as bits.
    pub matched_places: u64,
    /// The same, each for all of its kind.
    pub named: u64,
    /// The phrasing's.
    pub runs: RunCounts,
    pub matched: u64,
    pub mass: u64,
    /// Pairs of neighbours.
    pub pairs: u32,
}

impl CommonUnits {
    /// Of a query and a phrasing given by the numbers of its units. What the phrasing sounds like is left in the room.
    pub(super) fn of(room: &mut Room, bank: (&Vocabulary, &Scales), phrasing: &[u32]) -> Self {
        match room.repeats {
            true => Self::found::<true>(room, bank, phrasing),
            false => Self::found::<false>(room, bank, phrasing),
        }
    }

    /// `REPEATS`: whether a unit of the query may stand in several places.
    fn found<const REPEATS: bool>(
        room: &mut Room,
        (vocabulary, scales): (&Vocabulary, &Scales),
        phrasing: &[u32],
    ) -> Self {
        // What is taken already may be taken again where there is but one place.
        let next = |places: u64, taken: u64| if REPEATS { first_of(places & !taken) } else { places };
        let (mut common, mut frequencies) = (Self::default(), Frequencies::default());
        let (mut before, mut paired) = (0_u64, 0_u64);
        let Room {
            heard, sounding, units, ..
        } = room;
        if heard.len() < phrasing.len() {
            heard.resize(phrasing.len(), Heard::default());
        }
        for (heard, &number) in heard.iter_mut().zip(phrasing) {
            let known = &vocabulary.units[number];
            frequencies += known.frequency;
            common.runs += known.more.runs;
            let places = units.at(number);
            common.named |= places;
            if REPEATS {
                common.matched_places |= first_of(places & !common.matched_places);
            }
            paired |= next((before << 1) & places, paired);
            before = places;
            let readings = &known.more.readings;
            let [first, second, others @ ..] = readings.first();
            let mut places = sounding[first.index()] | sounding[second.index()];
            if readings.len() > 2 {
                places |= sounding[others[0].index()] | sounding[others[1].index()];
            }
            if readings.len() > 4 {
                places |= heard_as_any(readings, sounding);
            }
            let sound = scales.sound(*first);
            *heard = Heard { places, sound };
        }
        if !REPEATS {
            common.matched_places = common.named;
        }
        common.mass = scales.rarity.of_all(&frequencies);
        common.matched = room.unit_idf.at(common.matched_places);
        common.pairs = paired.count_ones();
        common
    }
}

/// Where the like of any reading is heard in the query, as bits; apart from what nearly every character needs.
#[cold]
#[inline(never)]
fn heard_as_any(readings: &Readings, sounding: &[u64; Syllable::COUNT]) -> u64 {
    let readings = readings.all().iter();
    readings.fold(0, |places, reading| places | sounding[reading.index()])
}

/// Sounds.
pub(super) struct CommonSounds {
    /// Cosine of rarities.
    pub cosine: f64,
    /// Length of the longest common subsequence of syllables.
    pub sequence: u32,
}

impl CommonSounds {
    /// Of a query, whose own mass is `own`, and what has been heard of a phrasing.
    pub(super) fn of(room: &Room, heard: &[Heard], own: u64, rarest: u32) -> Self {
        let (mut alone, mut paired, mut places_before) = (0_u64, 0_u64, 0_u64);
        let (mut mass, mut sound_before) = (0_u64, Sound::default());
        // Bit-parallel longest common subsequence (Hyyrö 2004): as long as there are zero bits.
        let mut open = u64::MAX;
        for &Heard { places, sound } in heard {
            alone |= first_of(places & !alone);
            paired |= first_of((places_before << 1) & places & !paired);
            places_before = places;
            let taken = open & places;
            open = open.wrapping_add(taken) | (open - taken);
            mass += sound.squared() + sound_before.with(sound, rarest);
            sound_before = sound;
        }
        let common = room.sounds.at(alone) + room.sound_pairs.at(paired);
        let mut sounds = Self {
            sequence: (!open).count_ones(),
            cosine: 0.0,
        };
        if common > 0 {
            // In natural-log units, so that the product stays far below what f64 holds.
            let natural = |mass: u64| mass.cast_signed() as f64 / (IDF_STEPS * IDF_STEPS);
            sounds.cosine = (natural(common) / (natural(own) * natural(mass)).sqrt()).min(1.0);
        }
        sounds
    }
}

/// A word of the query.
pub(super) struct QueryWord {
    idf: u32,
    /// Where its units stand, as bits: the first and, from there, which.
    first: u32,
    places: u64,
    /// What having only some of its units is worth, by which, as bits: of its rarity their share, rounded down. Hardly a word
    /// has more units than there is room for here; for a longer one it is worked out each time.
    shares: [u32; 1 << QueryWord::SHORT],
}

impl QueryWord {
    const SHORT: u32 = 4;

    /// Of a word with its units at `places`.
    pub(super) fn new(places: u64, idf: u32) -> Self {
        let first = places.trailing_zeros() % u64::BITS;
        let mut word = Self {
            idf,
            first,
            places: places >> first,
            shares: [0; 1 << Self::SHORT],
        };
        if !word.is_long() {
            word.shares = std::array::from_fn(|held| word.divided(held as u64));
        }
        word
    }

    fn is_long(&self) -> bool {
        self.places >> Self::SHORT != 0
    }

    /// What having only the units at `covered` is worth.
    fn share(&self, covered: u64) -> u32 {
        let held = (covered >> self.first) & self.places;
        if self.is_long() {
            return self.divided(held);
        }
        self.shares[held as usize % self.shares.len()]
    }

    fn divided(&self, held: u64) -> u32 {
        let units = self.places.count_ones();
        (self.idf * held.count_ones()).checked_div(units).unwrap_or_default()
    }
}

/// Words.
#[derive(Default)]
pub(super) struct CommonWords {
    /// Of the query's words, as bits.
    pub places: u64,
    pub matched: u64,
    pub in_part: u64,
    pub mass: u64,
}

impl CommonWords {
    /// Of a query with the words `own` and a phrasing given by the numbers of its words; `covered`: the query's units that
    /// the phrasing has.
    pub(super) fn of(
        room: &Room,
        own: &[QueryWord],
        (vocabulary, scales): (&Vocabulary, &Scales),
        phrasing: &[u32],
        covered: u64,
    ) -> Self {
        let (mut common, mut frequencies) = (Self::default(), Frequencies::default());
        for &number in phrasing {
            frequencies += vocabulary.words[number].frequency;
            common.places |= room.words.at(number);
        }
        common.mass = scales.rarity.of_all(&frequencies);
        for (at, word) in own.iter().enumerate() {
            // Without a branch: what a phrasing has is anyone's guess.
            let (matched, in_part) = match common.places & bit(at) {
                0 => (0, word.share(covered)),
                _ => (word.idf, word.idf),
            };
            common.matched += u64::from(matched);
            common.in_part += u64::from(in_part);
        }
        common
    }
}

fn first_of(bits: u64) -> u64 {
    bits & bits.wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_in_part_is_worth_its_share() {
        for (first, units) in [(0, 1), (3, 2), (10, 4), (59, 5), (0, 64), (20, 0)] {
            let places = (0..units).fold(0_u64, |places, at| places | 1 << (first + at));
            for idf in [0, 1, 710, 9_999, 17_000] {
                for covered in [0, u64::MAX, 1 << first, 0xaaaa_aaaa_aaaa_aaaa] {
                    let held = (places & covered).count_ones();
                    let expected = (idf * held).checked_div(units).unwrap_or_default();
                    let share = QueryWord::new(places, idf).share(covered);
                    assert_eq!(share, expected, "{idf} with {held} of {units}");
                }
            }
        }
    }
}
