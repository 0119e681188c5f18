//! What comparing looks up in a query, by number of a term and by syllable.
//!
//! [`Room::lent`] is the entry point. Making these tables costs as much as a short query, so each thread has them once and
//! every query fills them anew.

use super::places::Places;
use super::{POSITIONS, bit};
use crate::matching::pinyin::Syllable;
use crate::matching::sounding::Sounding;
use crate::matching::vocabulary::{Known, Rarity, Scales, Sound};
use std::cell::RefCell;

/// The tables of one query.
pub struct Room {
    /// Numbers of its units, in order.
    pub(super) numbers: Vec<u32>,
    /// Where its units stand.
    pub(super) units: Places,
    /// Whether one of them stands in several places.
    pub(super) repeats: bool,
    /// Rarity of the unit at each place.
    pub(super) unit_idf: Sums,
    /// Where its words stand among its words.
    pub(super) words: Places,
    /// Where a syllable is heard, as bits, by syllable.
    pub(super) sounding: [u64; Syllable::COUNT],
    /// Those that are heard.
    syllables: Vec<Syllable>,
    /// Of each place what is heard there, squared.
    pub(super) sounds: Sums,
    /// Of each place what is heard there and before it, likewise.
    pub(super) sound_pairs: Sums,
    /// What the phrasing that is compared sounds like, place by place; longer than it where another was.
    pub(super) heard: Vec<Heard>,
}

/// What is heard at one place of a phrasing.
#[derive(Clone, Copy, Default)]
pub(super) struct Heard {
    /// Where the like is heard in the query, as bits.
    pub places: u64,
    pub sound: Sound,
}

thread_local! {
    static ROOM: RefCell<Box<Room>> = RefCell::new(Box::new(Room {
        numbers: Vec::new(),
        units: Places::new(),
        repeats: false,
        unit_idf: Sums::new(),
        words: Places::new(),
        sounding: [0; Syllable::COUNT],
        syllables: Vec::new(),
        sounds: Sums::new(),
        sound_pairs: Sums::new(),
        heard: Vec::new(),
    }));
}

impl Room {
    /// Lends the thread's for one query; not to be asked for anew meanwhile.
    pub fn lent<T>(work: impl FnOnce(&mut Self) -> T) -> T {
        ROOM.with_borrow_mut(|room| work(room))
    }

    /// Takes in the units of a query, at most [`POSITIONS`]; their idf mass.
    pub(super) fn take_units(&mut self, units: &[Known], rarity: Rarity) -> u64 {
        self.numbers.clear();
        self.numbers.extend(units.iter().map(|unit| unit.number));
        self.repeats = self.units.take(units);
        let rarities = units.iter().map(|unit| u64::from(rarity.of(unit.frequency)));
        self.unit_idf.take(rarities)
    }

    /// Takes in what a query sounds like; the mass of it and of its pairs. `rarest`: rarity of what nobody has.
    pub(super) fn take_sounds(&mut self, sounding: &Sounding, scales: &Scales, rarest: u32) -> u64 {
        for syllable in self.syllables.drain(..) {
            self.sounding[syllable.index()] = 0;
        }
        let (mut sounds, mut pairs) = ([0; POSITIONS], [0; POSITIONS]);
        let mut before = Sound::default();
        for (at, readings) in sounding.places().enumerate().take(POSITIONS) {
            for syllable in readings {
                self.sounding[syllable.index()] |= bit(at);
            }
            self.syllables.extend(readings);
            let first = readings.first().copied().unwrap_or(Syllable::NONE);
            let sound = scales.sound(first);
            (sounds[at], pairs[at]) = (sound.squared(), before.with(sound, rarest));
            before = sound;
        }
        let places = sounding.len().min(POSITIONS);
        let taken = |sums: &mut Sums, values: &[u64]| sums.take(values[..places].iter().copied());
        taken(&mut self.sounds, &sounds) + taken(&mut self.sound_pairs, &pairs)
    }
}

/// Places that are summed up with one look.
const TOGETHER: usize = 4;

/// Sums of what stands at places of a query, which are given as bits.
pub(super) struct Sums {
    /// Of each few places, the sums by which of them are set.
    tables: [[u64; 1 << TOGETHER]; POSITIONS / TOGETHER],
    /// How many of the tables are in use.
    used: usize,
}

impl Sums {
    fn new() -> Self {
        Self {
            tables: [[0; 1 << TOGETHER]; POSITIONS / TOGETHER],
            used: 0,
        }
    }

    /// Takes in what stands at each place, at most [`POSITIONS`]; the sum of all.
    fn take(&mut self, mut values: impl ExactSizeIterator<Item = u64>) -> u64 {
        self.used = values.len().div_ceil(TOGETHER).min(self.tables.len());
        let mut sum = 0;
        for table in &mut self.tables[..self.used] {
            for place in 0..TOGETHER {
                let value = values.next().unwrap_or_default();
                sum += value;
                let (without, with) = table.split_at_mut(1 << place);
                for (without, with) in without.iter().zip(with) {
                    *with = without + value;
                }
            }
        }
        sum
    }

    /// The sum of what stands at `places`. As many looks as the query is long: how many are set makes no difference.
    pub(super) fn at(&self, mut places: u64) -> u64 {
        let mut sum = 0;
        for table in &self.tables[..self.used] {
            sum += table[places as usize % (1 << TOGETHER)];
            places >>= TOGETHER;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_the_places() {
        let mut sums = Sums::new();
        // A long query leaves nothing behind for the short one after it.
        for length in [64, 1, 5, 0, 63] {
            let values: Vec<u64> = (0..length).map(|at| at * at + 7).collect();
            assert_eq!(sums.take(values.iter().copied()), values.iter().sum::<u64>());
            for places in [0, 1, 0b1011, u64::MAX, 0x5555_5555_5555_5555, 1 << 63] {
                let set = (0..).zip(&values).filter(|(at, _)| places >> at & 1 == 1);
                let expected: u64 = set.map(|(_, value)| value).sum();
                assert_eq!(sums.at(places), expected, "{places:b} of {length}");
            }
        }
    }
}
