//! A bounded map whose entries expire: [`Expiring`], what every item of the memory store is kept in.
//!
//! Not `moka`: its clock cannot be passed in, and several of these change together under one lock. Places are small,
//! because hundreds of thousands of them are full on a busy day.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// A digest; two halves, because 16 bytes in one piece would be aligned to 16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key([u64; 2]);

impl From<u128> for Key {
    fn from(digest: u128) -> Self {
        Self([(digest >> 64) as u64, digest as u64])
    }
}

impl From<Key> for u128 {
    fn from(Key([high, low]): Key) -> Self {
        Self::from(high) << 64 | Self::from(low)
    }
}

/// A map whose entries expire, and whose oldest entries make room.
pub(super) struct Expiring<V> {
    /// Names the items in the metric that counts what was dropped.
    item: &'static str,
    max_items: usize,
    max_bytes: usize,
    slots: HashMap<Key, Slot<V>>,
    /// Keys as they were written, oldest first, with the serial they were written under; a slot written again or
    /// removed leaves its earlier places behind, until [`Expiring::trim`] meets them.
    order: VecDeque<(Key, u32)>,
    /// Wraps around: it tells apart the writes of one key that are in `order` together.
    serial: u32,
    bytes: usize,
}

struct Slot<V> {
    value: V,
    expires_at_us: u64,
    bytes: u32,
    serial: u32,
}

impl<V> Expiring<V> {
    /// An empty map; each value's bytes are what [`Expiring::put`] says.
    pub fn new(item: &'static str, max_items: usize, max_bytes: usize) -> Self {
        Self {
            item,
            max_items,
            max_bytes,
            slots: HashMap::new(),
            order: VecDeque::new(),
            serial: 0,
            bytes: 0,
        }
    }

    /// `None` from the moment of expiry on.
    pub fn get(&self, key: Key, now: Duration) -> Option<&V> {
        let now_us = micros(now);
        self.slots
            .get(&key)
            .filter(|slot| now_us < slot.expires_at_us)
            .map(|slot| &slot.value)
    }

    /// Replaces.
    pub fn put(&mut self, key: Key, value: V, bytes: usize, now: Duration, lifetime: Duration) {
        self.remove(key);
        self.serial = self.serial.wrapping_add(1);
        self.bytes += bytes;
        self.order.push_back((key, self.serial));
        self.slots.insert(
            key,
            Slot {
                value,
                expires_at_us: micros(now + lifetime),
                bytes: u32::try_from(bytes).expect("values are bounded far below 4 GiB"),
                serial: self.serial,
            },
        );
        self.trim(now);
    }

    /// From now on expires `lifetime` from `now`; it makes room no later than before.
    pub fn prolong(&mut self, key: Key, now: Duration, lifetime: Duration) {
        if let Some(slot) = self.slots.get_mut(&key) {
            slot.expires_at_us = micros(now + lifetime);
        }
    }

    /// The keys of the values that are `wanted`; looks at every one.
    pub fn keys_of(&self, wanted: impl Fn(&V) -> bool) -> Vec<Key> {
        let of_wanted = |(key, slot): (&Key, &Slot<V>)| wanted(&slot.value).then_some(*key);
        self.slots.iter().filter_map(of_wanted).collect()
    }

    pub fn remove(&mut self, key: Key) {
        if let Some(slot) = self.slots.remove(&key) {
            self.bytes -= slot.bytes as usize;
        }
    }

    /// Where something was written, oldest first, with the serial it was written under; not all of it is there any more.
    pub fn places(&self) -> Vec<(Key, u32)> {
        self.order.iter().copied().collect()
    }

    /// Removes what was written under `serial`; what was written since stays.
    pub fn remove_unchanged(&mut self, key: Key, serial: u32) {
        if self.slots.get(&key).is_some_and(|slot| slot.serial == serial) {
            self.remove(key);
        }
    }

    /// Makes room by what was written longest ago; `false`: nothing is left.
    pub fn drop_oldest(&mut self, now: Duration) -> bool {
        while let Some((key, serial)) = self.order.pop_front() {
            if let Some(slot) = self.slots.get(&key).filter(|slot| slot.serial == serial) {
                if micros(now) < slot.expires_at_us {
                    metrics::counter!("wxfaq_store_dropped_total", "store" => "memory", "item" => self.item)
                        .increment(1);
                }
                self.remove(key);
                return true;
            }
        }
        false
    }

    fn trim(&mut self, now: Duration) {
        let now_us = micros(now);
        while let Some(&(key, serial)) = self.order.front() {
            let slot = self.slots.get(&key).filter(|slot| slot.serial == serial);
            let is_full = self.slots.len() > self.max_items || self.bytes > self.max_bytes;
            if slot.is_some_and(|slot| now_us < slot.expires_at_us) && !is_full {
                break;
            }
            if slot.is_some() {
                self.drop_oldest(now);
            } else {
                self.order.pop_front();
            }
        }
        // One live entry at the front must not make the places behind it pile up.
        if self.order.len() > 2 * self.slots.len() + 64 {
            self.order
                .retain(|(key, serial)| self.slots.get(key).is_some_and(|slot| slot.serial == *serial));
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn key(key: u128) -> Key {
        key.into()
    }

    fn keys(map: &Expiring<u32>, now: Duration) -> Vec<u128> {
        (0..10).filter(|n| map.get(key(*n), now).is_some()).collect()
    }

    #[test]
    fn an_entry_is_there_until_it_expires_and_then_gone() {
        let mut map = Expiring::new("test", 10, 100);
        map.put(key(1), 0, 1, Duration::ZERO, SECOND);
        assert!(map.get(key(1), Duration::from_millis(999)).is_some());
        assert!(map.get(key(1), SECOND).is_none());
        map.prolong(key(1), SECOND, SECOND);
        assert!(map.get(key(1), Duration::from_millis(1_999)).is_some());
    }

    #[test]
    fn what_was_written_longest_ago_makes_room() {
        let mut map = Expiring::new("test", 3, 100);
        for n in [1, 2, 3, 1, 4] {
            map.put(key(n), 0, 1, Duration::ZERO, SECOND);
        }
        assert_eq!(keys(&map, Duration::ZERO), [1, 3, 4]);
        assert!(map.drop_oldest(Duration::ZERO));
        assert_eq!(keys(&map, Duration::ZERO), [1, 4]);
        assert!(map.drop_oldest(Duration::ZERO) && map.drop_oldest(Duration::ZERO));
        assert!(!map.drop_oldest(Duration::ZERO));
    }

    #[test]
    fn values_are_bounded_by_their_bytes_too() {
        let mut map = Expiring::new("test", 10, 100);
        for n in [1, 2, 3] {
            map.put(key(n), 0, 40, Duration::ZERO, SECOND);
        }
        assert_eq!(keys(&map, Duration::ZERO), [2, 3]);
        map.put(key(2), 0, 10, Duration::ZERO, SECOND);
        assert_eq!(map.bytes, 50);
    }

    #[test]
    fn expired_entries_and_rewritten_places_do_not_pile_up() {
        let mut map = Expiring::new("test", 1_000, usize::MAX);
        map.put(key(0), 0, 0, Duration::ZERO, SECOND * 1_000);
        for _ in 0..10_000 {
            map.put(key(1), 0, 0, Duration::ZERO, SECOND);
        }
        assert!(map.order.len() < 100, "{} places for 2 entries", map.order.len());
        for n in 2..500 {
            map.put(key(n), 0, 0, Duration::ZERO, SECOND * 1_000);
        }
        map.put(key(500), 0, 0, SECOND * 2_000, SECOND);
        assert_eq!(map.slots.len(), 1);
    }
}
