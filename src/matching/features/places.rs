//! Where the terms of a query stand in it.
//!
//! [`Places::at`] is the entry point: one look for each term of a phrasing, which mostly is not in the query.

use super::{POSITIONS, bit};
use crate::matching::vocabulary::NOBODYS;

/// Where the terms of a query stand in it, by number.
pub(super) struct Places {
    /// A number's place is where its hash says, or the next that is free; [`NOBODYS`] stands nowhere. A power of two, and
    /// sparse: the first look nearly always tells.
    slots: Box<[(u32, u64)]>,
}

impl Places {
    /// Of terms by position, the first [`POSITIONS`] of them; [`NOBODYS`] is left out.
    pub(super) fn of(numbers: &[u32]) -> Self {
        let numbers = &numbers[..numbers.len().min(POSITIONS)];
        let slots = (8 * numbers.len()).next_power_of_two().max(64);
        let mut places = Self {
            slots: vec![(NOBODYS, 0); slots].into(),
        };
        for (at, number) in numbers.iter().enumerate().filter(|(_, number)| **number != NOBODYS) {
            let slot = places.slot(*number);
            let (_, others) = places.slots[slot];
            places.slots[slot] = (*number, others | bit(at));
        }
        places
    }

    /// As bits; 0 for what is not in the query.
    pub(super) fn at(&self, number: u32) -> u64 {
        self.slots[self.slot(number)].1
    }

    /// Where the number is, or would be.
    fn slot(&self, number: u32) -> usize {
        let last = self.slots.len() - 1;
        let mut slot = number.wrapping_mul(0x9e37_79b9).rotate_right(16) as usize & last;
        loop {
            let (holder, _) = self.slots[slot];
            if holder == number || holder == NOBODYS {
                return slot;
            }
            slot = (slot + 1) & last;
        }
    }
}
