//! Which part of a cluster keeps which keys: [`Shards`], from what `CLUSTER SLOTS` answers.
//!
//! A shard is what one primary serves; it goes by the order of its first slot, so that it stays the same when a replica
//! takes over. Commands find their way without it, through the cluster client: shards are what the breaker counts
//! failures by, and what a probe must try one by one.

use redis::{ConnectionAddr, Value};
use std::collections::BTreeMap;

/// Slots of every cluster.
const SLOTS: u16 = 16_384;
/// More than any cluster has; beyond, an answer is not believed.
const MOST_RANGES: usize = 16_384;

/// The parts of a cluster.
pub(super) struct Shards {
    /// First slot, last slot, shard; ascending, as the cluster listed them.
    ranges: Vec<(u16, u16, usize)>,
    /// For each shard a word that lies in it when it stands in braces.
    words: Vec<String>,
    /// Every server of the cluster that has a name.
    pub addresses: Vec<ConnectionAddr>,
}

impl Shards {
    /// From an answer to `CLUSTER SLOTS`; `None`: it is none, or no slot is served.
    pub fn read(answer: &Value) -> Option<Self> {
        let mut ranges = Vec::new();
        let mut addresses = BTreeMap::new();
        for range in list(answer)?.iter().take(MOST_RANGES) {
            let [first, last, servers @ ..] = list(range)? else {
                return None;
            };
            let (first, last) = (slot_number(first)?, slot_number(last)?);
            for server in servers {
                if let Some((host, port)) = address(server) {
                    addresses.insert((host.clone(), port), ConnectionAddr::Tcp(host, port));
                }
            }
            let [_, _, Value::BulkString(id), ..] = list(servers.first()?)? else {
                return None;
            };
            ranges.push((first, last, id.as_slice()));
        }
        ranges.sort_unstable();
        let mut primaries: Vec<&[u8]> = Vec::new();
        let ranges = ranges.iter().map(|(first, last, id)| {
            let shard = primaries.iter().position(|known| known == id).unwrap_or_else(|| {
                primaries.push(id);
                primaries.len() - 1
            });
            (*first, *last, shard)
        });
        let ranges: Vec<_> = ranges.collect();
        let shards = primaries.len();
        let mut found = Self {
            ranges,
            words: Vec::new(),
            addresses: addresses.into_values().collect(),
        };
        found.words = (0..shards).map(|shard| found.word_in(shard)).collect::<Option<_>>()?;
        (shards > 0).then_some(found)
    }

    /// The shard of the keys with this in braces; the first one for a slot that nobody serves.
    pub fn of(&self, tag: &str) -> usize {
        self.of_slot(slot(tag)).unwrap_or(0)
    }

    /// A word for each shard, at least one; a key with it in braces is the shard's.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    fn of_slot(&self, slot: u16) -> Option<usize> {
        let range = |(first, last, _): &&(u16, u16, usize)| (*first..=*last).contains(&slot);
        self.ranges.iter().find(range).map(|(_, _, shard)| *shard)
    }

    /// Any slot is found after 16,384 numbers on average, a third of them after three.
    fn word_in(&self, shard: usize) -> Option<String> {
        let words = (0..64 * u32::from(SLOTS)).map(|number| number.to_string());
        words.into_iter().find(|word| self.of_slot(slot(word)) == Some(shard))
    }
}

/// The slot of the keys with this in braces.
fn slot(tag: &str) -> u16 {
    /// CRC-16/XMODEM, as the cluster specification has it.
    const POLYNOMIAL: u16 = 0x1021;
    let crc = tag.bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| match crc & 0x8000 {
            0 => crc << 1,
            _ => (crc << 1) ^ POLYNOMIAL,
        })
    });
    crc % SLOTS
}

fn list(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(items) => Some(items),
        _ => None,
    }
}

fn slot_number(value: &Value) -> Option<u16> {
    match value {
        Value::Int(slot) => u16::try_from(*slot).ok().filter(|slot| *slot < SLOTS),
        _ => None,
    }
}

/// `None`: the cluster does not know the server's own name.
fn address(server: &Value) -> Option<(String, u16)> {
    let [Value::BulkString(host), Value::Int(port), ..] = list(server)? else {
        return None;
    };
    let host = std::str::from_utf8(host)
        .ok()
        .filter(|host| !matches!(*host, "" | "?"))?;
    Some((host.to_owned(), u16::try_from(*port).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(port: i64, id: &str) -> Value {
        Value::Array(vec![
            Value::BulkString(b"127.0.0.1".to_vec()),
            Value::Int(port),
            Value::BulkString(id.into()),
            Value::Array(vec![]),
        ])
    }

    fn range(first: i64, last: i64, servers: &[Value]) -> Value {
        Value::Array([&[Value::Int(first), Value::Int(last)], servers].concat())
    }

    #[test]
    fn slots_are_those_of_the_specification() {
        // CRC-16/XMODEM of the usual test input is 0x31C3.
        assert_eq!(slot("123456789"), 0x31C3);
        assert_eq!(slot("foo"), 12_182);
    }

    #[test]
    fn a_shard_is_what_one_primary_serves() {
        let shards = Shards::read(&Value::Array(vec![
            range(8_192, 16_382, &[server(7_002, "b"), server(7_003, "c")]),
            range(0, 8_191, &[server(7_001, "a")]),
            range(16_383, 16_383, &[server(7_001, "a")]),
        ]))
        .unwrap();
        assert_eq!((shards.words().len(), shards.addresses.len()), (2, 3));
        assert_eq!((shards.of_slot(0), shards.of_slot(16_383)), (Some(0), Some(0)));
        assert_eq!(shards.of("foo"), 1);
        for (shard, word) in shards.words().iter().enumerate() {
            assert_eq!(shards.of(word), shard);
        }
    }

    #[test]
    fn the_smallest_shard_has_a_word() {
        for lonely in [0, 1, 8_000, 16_383] {
            let mut ranges = vec![range(lonely, lonely, &[server(7_001, "a")])];
            if lonely > 0 {
                ranges.push(range(0, lonely - 1, &[server(7_002, "b")]));
            }
            let shards = Shards::read(&Value::Array(ranges)).unwrap();
            assert_eq!(shards.words().len(), 1 + usize::from(lonely > 0));
        }
    }

    #[test]
    fn an_unserved_slot_belongs_to_some_shard() {
        let shards = Shards::read(&Value::Array(vec![range(0, 5, &[server(7_001, "a")])])).unwrap();
        assert_eq!(shards.of("foo"), 0);
    }

    #[test]
    fn nonsense_is_no_cluster() {
        for answer in [
            Value::Nil,
            Value::Array(vec![]),
            Value::Array(vec![Value::Array(vec![Value::Int(1)])]),
            Value::Array(vec![range(0, 70_000, &[server(1, "a")])]),
            Value::Array(vec![range(0, 1, &[])]),
            Value::Array(vec![range(0, 1, &[Value::Array(vec![])])]),
        ] {
            assert!(Shards::read(&answer).is_none(), "{answer:?}");
        }
    }
}
