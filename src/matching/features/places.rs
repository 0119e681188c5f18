//! Where the terms of a query stand in it.
//!
//! [`Places::at`] is the entry point: one look for each term of a phrasing, which mostly is not in the query.

use super::{POSITIONS, bit};
use crate::matching::vocabulary::{Known, NOBODYS};

/// Slots there are: sparse, so that the first look nearly always tells.
const SLOTS: usize = 256;
const _: () = assert!(SLOTS == 1 << u8::BITS && SLOTS >= 4 * POSITIONS);

/// Where the terms of a query stand in it, by number.
pub(super) struct Places {
    /// A number's place is where its hash says, or the next that is free; [`NOBODYS`] stands nowhere.
    holders: [u32; SLOTS],
    places: [u64; SLOTS],
}

impl Places {
    /// Of no term.
    pub(super) fn new() -> Self {
        Self {
            holders: [NOBODYS; SLOTS],
            places: [0; SLOTS],
        }
    }

    /// Takes in terms by position, the first [`POSITIONS`] of them, in place of those before; what nobody has is left out.
    /// Whether some term comes twice.
    pub(super) fn take(&mut self, terms: &[Known]) -> bool {
        let mut repeats = false;
        self.holders.fill(NOBODYS);
        self.places.fill(0);
        for (at, Known { number, .. }) in terms.iter().take(POSITIONS).enumerate() {
            if *number != NOBODYS {
                let slot = self.slot(*number);
                repeats |= self.holders[slot] == *number;
                self.holders[slot] = *number;
                self.places[slot] |= bit(at);
            }
        }
        repeats
    }

    /// As bits; 0 for what is not in the query.
    #[inline]
    pub(super) fn at(&self, number: u32) -> u64 {
        self.places[self.slot(number)]
    }

    /// Where the number is, or would be.
    #[inline]
    #[expect(
        clippy::needless_bitwise_bool,
        reason = "which of both it is, is anyone's guess: a branch for each costs more"
    )]
    fn slot(&self, number: u32) -> usize {
        let mut slot = (number.wrapping_mul(0x9e37_79b9) >> 24) as u8;
        loop {
            let holder = self.holders[usize::from(slot)];
            if (holder == number) | (holder == NOBODYS) {
                return slot.into();
            }
            slot = slot.wrapping_add(1);
        }
    }
}
