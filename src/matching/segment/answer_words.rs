//! The words of an entry's answer, for who asks whether some word is among them.
//!
//! [`AnswerWords::hold`] is the entry point. It is asked of every candidate for every word of the query, so it looks at several
//! numbers at a time, and at none where a [`Sieve`] already tells.

/// The words of an answer.
#[derive(Debug, Clone, Copy)]
pub struct AnswerWords<'a> {
    pub(super) sieve: Sieve,
    /// Their numbers, ascending.
    pub(super) numbers: &'a [u32],
}

/// Holds back most numbers that a set does not have: each number has one of 64 bits.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sieve(u64);

impl Sieve {
    fn bit(number: u32) -> u64 {
        1 << (number.wrapping_mul(0x9e37_79b9) >> 26)
    }

    /// `false`: the set does not have the number.
    pub fn may_hold(self, number: u32) -> bool {
        self.0 & Self::bit(number) != 0
    }
}

impl FromIterator<u32> for Sieve {
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Self {
        Self(numbers.into_iter().fold(0, |bits, number| bits | Self::bit(number)))
    }
}

impl AnswerWords<'_> {
    /// Whether the word with that number is among them.
    #[inline]
    pub fn hold(self, number: u32) -> bool {
        self.sieve.may_hold(number) && self.have(number)
    }

    fn have(self, number: u32) -> bool {
        /// Looking at all of a short list, several at a time, beats a search that waits for each step.
        const SHORT: usize = 64;
        const AT_A_TIME: usize = 16;
        let times = |block: &[u32; AT_A_TIME]| block.iter().map(|other| u32::from(*other == number)).sum::<u32>();
        match self.numbers.last_chunk() {
            None => self.numbers.contains(&number),
            Some(last) if self.numbers.len() <= SHORT => {
                let (blocks, _) = self.numbers.as_chunks();
                blocks.iter().map(times).sum::<u32>() + times(last) > 0
            }
            Some(_) => self.numbers.binary_search(&number).is_ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_wherever_it_stands() {
        for length in [0, 1, 15, 16, 17, 31, 32, 33, 64, 65, 200] {
            let numbers: Vec<u32> = (0..length).map(|at| 3 * at + 1).collect();
            let words = AnswerWords {
                sieve: numbers.iter().copied().collect(),
                numbers: &numbers,
            };
            for number in 0..3 * length + 3 {
                assert_eq!(words.hold(number), numbers.contains(&number), "{number} of {length}");
            }
        }
    }
}
