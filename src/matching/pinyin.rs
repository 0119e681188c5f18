//! Fuzzy pinyin: how characters sound to someone who mistypes them.
//!
//! [`readings`] gives every reading of a character, [`split`] the syllables of a typed Latin run. Syllables that are
//! confused in southern speech and on phone keyboards are one: zh = z, ch = c, sh = s, ang = an, eng = en, ing = in,
//! n = l. Tones are ignored, and so is context: 行 always has both its readings.

use super::effort;
use super::text::is_han;
use pinyin::ToPinyinMulti;
use rustc_hash::FxHashMap;
use std::sync::LazyLock;

/// One class of syllables that sound alike; below [`Syllable::COUNT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Syllable(u16);

impl Syllable {
    /// More than there are classes.
    pub const COUNT: usize = 512;
    /// Stands where nothing sounds; no class.
    pub const NONE: Self = Self(511);

    /// From 0 without gaps, in alphabetical order.
    pub fn index(self) -> usize {
        usize::from(self.0) % Self::COUNT
    }

    /// Its spelling in Latin letters, as in `cuan` for 创 and 串.
    pub fn spelling(self) -> &'static str {
        &TABLE.spellings[self.index()]
    }

    /// The letter an initials-only typist uses for it.
    pub fn initial(self) -> u8 {
        self.spelling().as_bytes()[0]
    }
}

/// The readings of one character, most usual first, without repetition: small, and the first of them at hand.
#[derive(Debug, Clone, Copy)]
pub struct Readings {
    start: u32,
    count: u16,
    /// The first four: hardly a character has more.
    first: [Syllable; 4],
}

impl Readings {
    /// Of `c`; none where it does not sound.
    pub fn of(c: char) -> Self {
        let code = u32::from(c).wrapping_sub(FIRST);
        TABLE.by_char.get(code as usize).copied().unwrap_or_default()
    }

    /// Every one.
    pub fn all(&self) -> &'static [Syllable] {
        &TABLE.readings[self.start as usize..][..usize::from(self.count)]
    }

    /// How many there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.count.into()
    }

    /// The four most usual ones; [`Syllable::NONE`] where there is none.
    #[inline]
    pub fn first(&self) -> &[Syllable; 4] {
        &self.first
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl Default for Readings {
    fn default() -> Self {
        Self {
            start: 0,
            count: 0,
            first: [Syllable::NONE; 4],
        }
    }
}

/// The readings of `c`, most usual first, without repetition; empty when it has none.
pub fn readings(c: char) -> &'static [Syllable] {
    Readings::of(c).all()
}

/// The letters with which the readings of `c` begin; `n` and `l` are told apart here, a typist of initials knows.
pub fn initials(c: char) -> impl Iterator<Item = u8> {
    let multi = c.to_pinyin_multi();
    multi
        .into_iter()
        .flatten()
        .filter_map(|reading| reading.plain().bytes().next())
}

/// The class of a syllable as someone types it; `None` for what is no whole syllable.
pub fn typed(spelling: &str) -> Option<Syllable> {
    TABLE.typed.get(spelling).copied()
}

/// The classes of all syllables whose typed spelling begins with `letters`, each once, in alphabetical order.
pub fn beginning(letters: &str) -> Vec<Syllable> {
    let start = TABLE
        .in_order
        .partition_point(|(spelling, _)| spelling.as_str() < letters);
    let found = TABLE.in_order[start..].iter();
    let found = found.take_while(|(spelling, _)| spelling.starts_with(letters));
    let mut classes: Vec<Syllable> = found.map(|(_, class)| *class).collect();
    classes.sort_unstable();
    classes.dedup();
    classes
}

/// Splits a run of Latin letters into syllables: the fewest, of those the longest first. `None` when it is no pinyin.
pub fn split(run: &str) -> Option<Vec<Syllable>> {
    /// zhuang.
    const LONGEST: usize = 6;
    const MAX_RUN: usize = 200;
    let length = run.len();
    if !(2..=MAX_RUN).contains(&length) || !run.bytes().all(|b| b.is_ascii_lowercase()) {
        return None;
    }
    // From the end: the fewest syllables that spell the rest, and the length of the first of them.
    let mut fewest: Vec<Option<(usize, usize)>> = vec![None; length + 1];
    fewest[length] = Some((0, 0));
    for at in (0..length).rev() {
        let options = (1..=LONGEST.min(length - at)).filter_map(|size| {
            effort::spend(1);
            let (rest, _) = fewest[at + size]?;
            TABLE
                .typed
                .contains_key(&run[at..at + size])
                .then_some((rest + 1, size))
        });
        fewest[at] = options.min_by_key(|&(count, size)| (count, LONGEST - size));
    }
    let mut syllables = Vec::new();
    let mut at = 0;
    while at < length {
        let (_, size) = fewest[at]?;
        syllables.push(TABLE.typed[&run[at..at + size]]);
        at += size;
    }
    Some(syllables)
}

const FIRST: u32 = 0x4e00;
const LAST: u32 = 0x9fff;

struct Table {
    spellings: Vec<String>,
    /// By character from [`FIRST`]; what they are is in `readings`.
    by_char: Vec<Readings>,
    readings: Vec<Syllable>,
    /// Every spelling someone may type, the exact and the fuzzy one.
    typed: FxHashMap<String, Syllable>,
    /// The same in alphabetical order.
    in_order: Vec<(String, Syllable)>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let chars = || (FIRST..=LAST).filter_map(char::from_u32).filter(|c| is_han(*c));
    let plain = |c: char| -> Vec<String> {
        let multi = c.to_pinyin_multi();
        multi
            .into_iter()
            .flatten()
            .map(|reading| reading.plain().replace('ü', "v"))
            .collect()
    };
    let mut exact: Vec<String> = chars().flat_map(plain).collect();
    exact.sort_unstable();
    exact.dedup();
    exact.retain(|spelling| !spelling.is_empty() && spelling.bytes().all(|b| b.is_ascii_lowercase()));
    let mut spellings: Vec<String> = exact.iter().map(|spelling| fuzzy(spelling)).collect();
    spellings.sort_unstable();
    spellings.dedup();
    let class = |spelling: &str| {
        let found = spellings.binary_search_by(|known| known.as_str().cmp(&fuzzy(spelling)));
        found.ok().map(|index| Syllable(index as u16))
    };
    let mut readings: Vec<Syllable> = Vec::new();
    let by_char = chars().map(|c| {
        let start = readings.len();
        for syllable in plain(c).iter().filter_map(|spelling| class(spelling)) {
            if !readings[start..].contains(&syllable) {
                readings.push(syllable);
            }
        }
        Readings {
            start: start as u32,
            count: (readings.len() - start) as u16,
            first: [0, 1, 2, 3].map(|at| readings.get(start + at).copied().unwrap_or(Syllable::NONE)),
        }
    });
    let by_char = by_char.collect();
    // hm, ng, n: interjections that would make pinyin of half of English.
    let is_typed = |spelling: &&String| spelling.bytes().any(|b| b"aeiouv".contains(&b));
    let typed = exact.iter().chain(&spellings).filter(is_typed);
    let typed: FxHashMap<String, Syllable> = typed
        .filter_map(|spelling| Some((spelling.clone(), class(spelling)?)))
        .collect();
    let mut in_order: Vec<(String, Syllable)> = typed
        .iter()
        .map(|(spelling, class)| (spelling.clone(), *class))
        .collect();
    in_order.sort_unstable();
    Table {
        spellings,
        by_char,
        readings,
        typed,
        in_order,
    }
});

/// The spelling that stands for its class.
fn fuzzy(spelling: &str) -> String {
    let mut letters: Vec<u8> = spelling.bytes().collect();
    if letters.len() > 1 && letters[1] == b'h' {
        letters.remove(1);
    }
    if letters.len() > 1 && letters[0] == b'n' {
        letters[0] = b'l';
    }
    if letters.ends_with(b"ng") && !letters.ends_with(b"ong") {
        letters.pop();
    }
    letters.into_iter().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(run: &str) -> Option<String> {
        let syllables: Option<Vec<_>> = split(run).map(|all| all.into_iter().map(Syllable::spelling).collect());
        syllables.map(|all| all.join(" "))
    }

    #[test]
    fn runs_split_into_the_fewest_syllables() {
        assert_eq!(spelled("kechuangban").as_deref(), Some("ke cuan ban"));
        assert_eq!(spelled("zenmekaihu").as_deref(), Some("zen me kai hu"));
        assert_eq!(spelled("xian").as_deref(), Some("xian"));
        assert_eq!(spelled("lvxing").as_deref(), Some("lv xin"));
        for no_pinyin in ["etf", "cfa", "a", "", "科", "kcb", "app", "ng", "Kai"] {
            assert_eq!(spelled(no_pinyin), None, "{no_pinyin}");
        }
    }

    #[test]
    fn a_half_typed_syllable_may_become_several() {
        let spelled = |letters| -> Vec<_> { beginning(letters).into_iter().map(Syllable::spelling).collect() };
        assert_eq!(spelled("chu"), ["cu", "cua", "cuai", "cuan", "cui", "cun", "cuo"]);
        assert_eq!(spelled("kon"), ["kong"]);
        assert!(spelled("i").is_empty() && spelled("xyz").is_empty());
        assert_eq!((typed("chuang"), typed("chua")), (typed("cuan"), typed("cua")));
        assert_eq!(typed("kec"), None);
    }

    #[test]
    fn what_sounds_alike_is_one_class() {
        let first = |c| readings(c)[0];
        assert_eq!(first('张'), first('赞'));
        assert_eq!(first('客'), first('科'));
        assert_eq!(first('你'), first('里'));
        assert_ne!(first('东'), first('单'));
        assert!(readings('行').len() >= 2, "all readings");
        assert!(readings('a').is_empty() && readings('😀').is_empty());
        assert!(TABLE.spellings.len() <= Syllable::NONE.index());
    }
}
