//! How often somebody may call: token buckets, one for each key, and fixed tables of them for addresses and sessions.
//!
//! A bucket is one number, the moment at which it will be full again (the generic cell rate algorithm, ITU-T I.371,
//! annex A). [`Callers`] never grows and never evicts: a caller has two places in it, found by random hashes, and is
//! held to the emptier guess of the two, so that only who shares both with a busier caller is held back for it.

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A full bucket lasts so long.
const MINUTE: u64 = 60_000_000;
/// Buckets in each of the two rows of the table: half a mebibyte together.
const PLACES: usize = 1 << 15;

/// One bucket: the microsecond, on its owner's clock, at which it is full again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Bucket(u64);

impl Bucket {
    /// The bucket with one token less, of as many as `per_minute`; else for how long there is none.
    fn take(self, now: u64, per_minute: u32) -> Result<Self, Duration> {
        let token = MINUTE / u64::from(per_minute.max(1));
        let full_at = self.0.max(now) + token;
        match full_at.saturating_sub(now + MINUTE) {
            0 => Ok(Self(full_at)),
            wait => Err(Duration::from_micros(wait)),
        }
    }
}

/// The rate of one key.
#[derive(Debug)]
pub struct Rate {
    begun: Instant,
    bucket: Mutex<Bucket>,
}

impl Rate {
    /// A full bucket.
    pub fn new() -> Self {
        Self {
            begun: Instant::now(),
            bucket: Mutex::default(),
        }
    }

    /// # Errors
    /// How long to wait: `per_minute` are used up.
    pub fn take(&self, now: Instant, per_minute: u32) -> Result<(), Duration> {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        *bucket = bucket.take(micros(self.begun, now), per_minute)?;
        Ok(())
    }
}

/// The rates of everybody who calls.
pub struct Callers {
    begun: Instant,
    hashers: [RandomState; 2],
    rows: [Mutex<Vec<Bucket>>; 2],
}

impl Callers {
    /// Full buckets for all.
    pub fn new() -> Self {
        Self {
            begun: Instant::now(),
            hashers: [RandomState::new(), RandomState::new()],
            rows: std::array::from_fn(|_| Mutex::new(vec![Bucket::default(); PLACES])),
        }
    }

    /// # Errors
    /// How long to wait: `per_minute` are used up.
    pub fn take(&self, caller: impl Hash, now: Instant, per_minute: u32) -> Result<(), Duration> {
        let at = |row: usize| self.hashers[row].hash_one(&caller) as usize % PLACES;
        let [mut first, mut second] = [0, 1].map(|row| self.rows[row].lock().unwrap_or_else(PoisonError::into_inner));
        let (first, second) = (&mut first[at(0)], &mut second[at(1)]);
        let taken = (*first).min(*second).take(micros(self.begun, now), per_minute)?;
        *first = taken.max(*first);
        *second = taken.max(*second);
        Ok(())
    }
}

/// The caller at an address. Whoever comes without one is one caller; so is a whole /64 of IPv6, which one subscriber
/// gets.
pub fn caller_at(address: Option<IpAddr>) -> u128 {
    match address.map(|address| address.to_canonical()) {
        None => 0,
        Some(IpAddr::V4(address)) => 1 << 64 | u128::from(address.to_bits()),
        Some(IpAddr::V6(address)) => 2 << 64 | address.to_bits() >> 64,
    }
}

fn micros(since: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(since).as_micros()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_a_minute_allows_may_come_at_once_and_then_one_at_a_time() {
        let rate = Rate::new();
        let begin = rate.begun;
        for _ in 0..60 {
            assert_eq!(rate.take(begin, 60), Ok(()));
        }
        assert_eq!(rate.take(begin, 60), Err(Duration::from_secs(1)));
        assert_eq!(rate.take(begin + Duration::from_secs(1), 60), Ok(()));
        assert!(rate.take(begin + Duration::from_secs(1), 60).is_err());
        // What is not used is not saved up.
        let later = begin + Duration::from_secs(3_600);
        assert_eq!((0..61).filter(|_| rate.take(later, 60).is_ok()).count(), 60);
    }

    #[test]
    fn addresses_do_not_use_up_one_anothers_rate() {
        let addresses = Callers::new();
        let now = addresses.begun;
        let busy: IpAddr = "203.0.113.1".parse().unwrap();
        assert_eq!(
            (0..20)
                .filter(|_| addresses.take(caller_at(Some(busy)), now, 10).is_ok())
                .count(),
            10
        );
        let others = (0..1_000_u32).map(|n| IpAddr::from((0x0a00_0000 + n).to_be_bytes()));
        let refused = others.filter(|other| addresses.take(caller_at(Some(*other)), now, 10).is_err());
        assert_eq!(refused.count(), 0);
        assert_eq!(addresses.take(caller_at(None), now, 10), Ok(()));
    }

    #[test]
    fn one_subscriber_is_one_caller() {
        let addresses = Callers::new();
        let take = |text: &str| {
            addresses
                .take(caller_at(Some(text.parse().unwrap())), addresses.begun, 1)
                .is_ok()
        };
        assert!(take("2001:db8::1") && !take("2001:db8::2") && take("2001:db8:0:1::1"));
        assert!(take("192.0.2.7") && !take("::ffff:192.0.2.7"));
    }
}
