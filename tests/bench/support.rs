//! What the matching benches share: banks and queries as `make_bank.py` writes them, the shipped dictionaries, figures.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use std::path::Path;
use std::time::Duration;
use wxfaq::bank::dictionary::{Dictionaries, DictionaryTexts};
use wxfaq::bank::format::{Format, Row};
use wxfaq::bank::{Channel, Entry, EntryId};
use wxfaq::matching::Scope;

pub const SCOPE: Scope<'static> = Scope {
    account: "bench",
    channel: Channel::Wechat,
    now: 1_800_000_000,
    category: None,
};

/// The arguments but for flags, which `cargo bench` and `cargo test --benches` add.
pub fn arguments() -> Vec<String> {
    let arguments = std::env::args().skip(1);
    arguments.filter(|argument| !argument.starts_with("--")).collect()
}

pub fn dictionaries() -> Dictionaries {
    Dictionaries::parse(DictionaryTexts {
        user: include_bytes!("../../config/dict/user.txt"),
        stopwords: include_bytes!("../../config/dict/stopwords.txt"),
        synonyms: include_bytes!("../../config/dict/synonyms.txt"),
        contrast: include_bytes!("../../config/dict/contrast.txt"),
        sensitive: include_bytes!("../../config/dict/sensitive.txt"),
    })
    .expect("the shipped dictionaries are valid")
}

pub fn bank(path: &str) -> Vec<Entry> {
    let entry = |(number, row): (usize, Result<Row, _>)| {
        let id = || EntryId::parse(&format!("row-{number}")).expect("letters and digits");
        row.ok().and_then(|row| row.into_entry_or(None, id).ok())
    };
    Format::Jsonl.read(&read(path)).enumerate().filter_map(entry).collect()
}

pub fn questions(path: &str) -> Vec<String> {
    let question = |line: &str| -> Option<String> {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(value["query"].as_str()?.to_owned())
    };
    read(path).lines().filter_map(question).collect()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Processor time of this thread so far: what neighbours take is not in it. Some systems count it in ticks of 4 ms, so
/// that only means of many say something.
pub fn processor_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).expect("a thread knows its usage");
    let micros = |time: nix::sys::time::TimeVal| u64::try_from(time.num_microseconds()).unwrap_or_default();
    Duration::from_micros(micros(usage.user_time()) + micros(usage.system_time()))
}

/// A line with the processor time of each of `count` pieces of work that began at `before`.
pub fn show_processor_time(before: Duration, count: usize) {
    let micros = processor_time().saturating_sub(before).as_secs_f64() * 1e6;
    println!(
        "{:22} mean {:9.1} us",
        "  processor time of it",
        micros / count.max(1) as f64
    );
}

/// A line of times; sorts them.
pub fn show(what: &str, times: &mut [Duration]) {
    if times.is_empty() {
        return println!("{what:22} none");
    }
    times.sort_unstable();
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let mean = times.iter().sum::<Duration>() / times.len() as u32;
    let at = |share: f64| micros(times[((times.len() - 1) as f64 * share) as usize]);
    println!(
        "{what:22} mean {:9.1} us  p50 {:9.1}  p99 {:9.1}  max {:10.1}  of {}",
        micros(mean),
        at(0.5),
        at(0.99),
        at(1.0),
        times.len()
    );
}

/// MiB.
pub fn resident() -> u64 {
    status("VmRSS:")
}

/// MiB.
pub fn peak() -> u64 {
    status("VmHWM:")
}

fn status(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() / 1_024
}
