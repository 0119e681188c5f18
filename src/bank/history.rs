//! What every change of the bank leaves behind: which thing it was, before and after, by whom, when and by which way.
//!
//! A [`Thing`] is named as operators write it: an entry by its id, the rest with what it is before a slash
//! (`rule/greeting`, `category/开户/科创板`, `template/not_found.txt`, `dict/synonyms.txt`). [`differences`] compares two of
//! its states field by field. Keeping them is `store::sql`'s work.

use super::format::beijing;
use super::terminal::one_line;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fmt;

/// What can be changed in one step of the bank's revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// A question with its answer; a state is its line in JSONL.
    Entry,
    /// A rule beside the bank; a state is its line in a file of rules.
    Rule,
    /// Words followers read; a state is the text.
    Template,
    /// Words for the matcher; a state is the text.
    #[serde(rename = "dict")]
    Dictionary,
    /// The settings of a category; a state is its line in a file of categories.
    Category,
    /// All of it; a state is the [`Restoration`] it is from. Nobody edits that.
    Bank,
}

impl Subject {
    /// Every one, with its name in the history.
    pub const NAMES: [(Self, &'static str); 6] = [
        (Self::Entry, "entry"),
        (Self::Rule, "rule"),
        (Self::Category, "category"),
        (Self::Template, "template"),
        (Self::Dictionary, "dict"),
        (Self::Bank, "bank"),
    ];

    /// The name in the history, and before the slash of a [`Thing`].
    pub fn as_str(self) -> &'static str {
        let mut names = Self::NAMES.iter();
        names.find(|(subject, _)| *subject == self).map_or("", |(_, name)| name)
    }

    /// `None` when there is none of that name.
    pub fn parse(name: &str) -> Option<Self> {
        let mut names = Self::NAMES.iter();
        names.find(|(_, known)| *known == name).map(|(subject, _)| *subject)
    }
}

/// One thing with a history.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Thing {
    #[expect(missing_docs, reason = "the type says it")]
    pub subject: Subject,
    /// Unique among its kind.
    pub id: String,
}

impl Thing {
    /// That entry, that rule, …
    pub fn new(subject: Subject, id: impl Into<String>) -> Self {
        let id = id.into();
        Self { subject, id }
    }

    /// An id alone is an entry's, which has no slash.
    ///
    /// # Errors
    /// What stands before the slash is not the name of a [`Subject`].
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some((name, id)) = text.split_once('/') else {
            return Ok(Self::new(Subject::Entry, text));
        };
        let names = Subject::NAMES.map(|(_, name)| format!("{name}/…"));
        let unknown = || format!("{text:?} is neither an entry's id nor one of {}", names.join(", "));
        Ok(Self::new(Subject::parse(name).ok_or_else(unknown)?, id))
    }
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.subject {
            Subject::Entry => f.write_str(&self.id),
            _ => write!(f, "{}/{}", self.subject.as_str(), self.id),
        }
    }
}

/// A backup that was put in the bank's place: what the history then has is the backup's, and of what it replaced the restores alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restoration {
    /// As the operator named it.
    pub file: String,
    /// What the file ends with, hexadecimal.
    pub sha256: String,
    /// When the backup was made; Unix seconds.
    pub taken_at: i64,
    /// The backup's revision.
    pub from: u64,
    /// The revision of the bank that went.
    pub replaced: u64,
}

impl Restoration {
    /// Under which those stand in the history that the bank is from; all others as [`Restoration::replaced`].
    pub fn thing() -> Thing {
        Thing::new(Subject::Bank, "restored")
    }

    /// Under which those stand of banks that went with a later restore; of several at one revision each has its number, from 1.
    pub fn replaced(number: usize) -> Thing {
        let id = match number {
            0 | 1 => "replaced".to_owned(),
            _ => format!("replaced.{number}"),
        };
        Thing::new(Subject::Bank, id)
    }

    /// What stays of `own`, all restores that the history of a bank has, when a backup with this checksum is put in its place,
    /// which has those of `there`; without those, named anew.
    ///
    /// A restore of the very same backup is one the bank is from: then it was as it is now.
    pub fn left(own: &[Recorded], there: &[Recorded], sha256: &str) -> Vec<Recorded> {
        let mut all = there.to_vec();
        for line in own {
            if all.iter().any(|known| known.is_same_event(line)) {
                continue;
            }
            let is_same = line.restoration().is_some_and(|earlier| earlier.sha256 == sha256);
            let names = is_same.then(Self::thing).into_iter().chain((1..).map(Self::replaced));
            let is_free = |thing: &Thing| {
                let mut others = all.iter();
                others.all(|other| other.revision != line.revision || other.thing != *thing)
            };
            let Some(thing) = names.into_iter().find(is_free) else {
                continue;
            };
            all.push(Recorded { thing, ..line.clone() });
        }
        all.split_off(there.len())
    }
}

impl fmt::Display for Restoration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, from, replaced) = (one_line(&self.file), self.from, self.replaced);
        let taken = beijing::format(self.taken_at);
        let checksum: String = self.sha256.chars().take(12).collect();
        write!(
            f,
            "from {file} (revision {from}, taken {taken}, checksum {checksum}…), in the place of revision {replaced}"
        )
    }
}

/// Where nothing is known of a revision because a backup was put in the bank's place: the last one known before it, and the
/// first after. `restored`: every restore that the history has.
pub fn gap_at(restored: &[Recorded], revision: u64) -> Option<(u64, u64)> {
    let restored = || restored.iter().filter(|line| line.thing == Restoration::thing());
    // At a restore the bank was as its backup is.
    if restored().any(|line| line.revision == revision) {
        return None;
    }
    let gaps = restored().filter_map(|line| Some((line.restoration()?.from, line.revision)));
    gaps.filter(|(from, since)| *from < revision && revision < *since)
        .min_by_key(|(_, since)| *since)
}

/// What one revision did to one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recorded {
    /// The bank's, after it.
    pub revision: u64,
    #[serde(flatten)]
    #[expect(missing_docs, reason = "the type says it")]
    pub thing: Thing,
    /// `None`: it was not there.
    pub before: Option<String>,
    /// `None`: it is gone.
    pub after: Option<String>,
    /// Unix seconds.
    pub changed_at: i64,
    /// The name of the editor, or of the program.
    pub changed_by: String,
    /// By which way: `import`, `console`, …
    pub source: String,
}

impl Recorded {
    /// The fields that changed; see [`differences`].
    pub fn differences(&self) -> Vec<Difference> {
        differences(self.before.as_deref(), self.after.as_deref())
    }

    /// The backup that was put in the bank's place, if this is that.
    pub fn restoration(&self) -> Option<Restoration> {
        let state = self.after.as_ref().filter(|_| self.thing.subject == Subject::Bank)?;
        serde_json::from_str(state).ok()
    }

    /// Whether the two tell of one happening, under whatever name.
    fn is_same_event(&self, other: &Self) -> bool {
        let event = |line: &Self| {
            (
                line.revision,
                line.changed_at,
                line.changed_by.clone(),
                line.after.clone(),
            )
        };
        event(self) == event(other)
    }

    /// What happened, in a word or by the fields' names.
    pub fn summary(&self) -> String {
        if let Some(restoration) = self.restoration() {
            return restoration.to_string();
        }
        match (&self.before, &self.after) {
            (None, _) => "made".to_owned(),
            (_, None) => "removed".to_owned(),
            _ => {
                let fields: Vec<String> = self.differences().into_iter().map(|found| found.field).collect();
                fields.join(", ")
            }
        }
    }
}

/// One field that two states have not in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The field's name in files; of a text the line where it begins.
    pub field: String,
    /// As in files; `None`: it is not there.
    pub before: Option<String>,
    /// As in files; `None`: it is not there.
    pub after: Option<String>,
}

/// Where two states of a thing differ, by field; of texts, the lines between the first and the last that differ. Empty
/// when they are the same. `None` is a thing that is not there.
pub fn differences(before: Option<&str>, after: Option<&str>) -> Vec<Difference> {
    let fields = |state: Option<&str>| match state {
        None => Some(Map::new()),
        Some(line) => serde_json::from_str::<Map<String, Value>>(line).ok(),
    };
    let (Some(old), Some(new)) = (fields(before), fields(after)) else {
        return text_difference(before.unwrap_or_default(), after.unwrap_or_default());
    };
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let shown = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let changed = names.into_iter().filter(|name| old.get(*name) != new.get(*name));
    let difference = |name: &String| Difference {
        field: name.clone(),
        before: old.get(name).map(shown),
        after: new.get(name).map(shown),
    };
    changed.map(difference).collect()
}

fn text_difference(before: &str, after: &str) -> Vec<Difference> {
    if before == after {
        return Vec::new();
    }
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let alike = |pair: &(&&str, &&str)| pair.0 == pair.1;
    let head = old.iter().zip(&new).take_while(alike).count();
    let (old, new) = (&old[head..], &new[head..]);
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(alike).count();
    let shown = |lines: &[&str]| (!lines.is_empty()).then(|| lines.join("\n"));
    vec![Difference {
        field: format!("line {}", head + 1),
        before: shown(&old[..old.len() - tail]),
        after: shown(&new[..new.len() - tail]),
    }]
}

/// Somebody else changed a thing since it was shown to who now wants to change it, or it is there though it was shown to
/// nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Overtaken {
    /// The revision at which it was shown; 0: never.
    pub made_from: u64,
    /// What happened since, by thing, oldest first; not empty, and of some things only when there are many.
    pub changes: Vec<Recorded>,
}

impl fmt::Display for Overtaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.made_from {
            0 => f.write_str(
                "nothing was written: it is there already; say with --made-from N at which revision you saw it",
            )?,
            revision => write!(f, "nothing was written: changed since revision {revision}")?,
        }
        self.changes.iter().try_for_each(|change| {
            let (thing, revision, by, source) = (&change.thing, change.revision, &change.changed_by, &change.source);
            let told = format!(
                "{thing} by {by} ({source}) in revision {revision}: {}",
                change.summary()
            );
            write!(f, "; {}", one_line(&told))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(before: Option<&str>, after: Option<&str>) -> Vec<String> {
        let shown = |found: Difference| format!("{}: {:?} → {:?}", found.field, found.before, found.after);
        differences(before, after).into_iter().map(shown).collect()
    }

    #[test]
    fn states_are_compared_field_by_field() {
        let (old, new) = (
            r#"{"id":"a","answer":"1","tags":["x"]}"#,
            r#"{"id":"a","answer":"2","priority":3}"#,
        );
        assert_eq!(
            compared(Some(old), Some(new)),
            [
                r#"answer: Some("1") → Some("2")"#,
                r#"priority: None → Some("3")"#,
                r#"tags: Some("[\"x\"]") → None"#
            ]
        );
        assert_eq!(compared(Some(old), Some(old)), [""; 0]);
        assert_eq!(compared(None, Some(r#"{"id":"a"}"#)), [r#"id: None → Some("a")"#]);
    }

    #[test]
    fn texts_are_compared_by_line() {
        let check = |before, after, expected: &[&str]| assert_eq!(compared(before, after), expected);
        check(
            Some("a\nb\nc"),
            Some("a\nx\ny\nc"),
            &[r#"line 2: Some("b") → Some("x\ny")"#],
        );
        check(Some("a\na"), Some("a\na\na"), &[r#"line 3: None → Some("a")"#]);
        check(Some("a\nb"), Some("a\nb"), &[]);
        check(None, Some("a"), &[r#"line 1: None → Some("a")"#]);
    }

    #[test]
    fn a_revision_that_went_with_a_restore_is_told_from_one_that_is_known() {
        let restored = |revision, from| Recorded {
            revision,
            thing: Restoration::thing(),
            before: None,
            after: serde_json::to_string(&Restoration {
                file: "a.backup".to_owned(),
                sha256: "0123456789abcdef".to_owned(),
                taken_at: 0,
                from,
                replaced: revision - 1,
            })
            .ok(),
            changed_at: 0,
            changed_by: "王".to_owned(),
            source: "restore".to_owned(),
        };
        let mut typed = restored(5, 2);
        typed.after = typed
            .after
            .map(|state| state.replace("a.backup", "a\\u001b[2J\\u009b\\n.backup"));
        assert!(
            typed.summary().starts_with("from a [2J  .backup (revision 2"),
            "{}",
            typed.summary()
        );
        let gaps = |restored: &[Recorded]| (0..9).map(|revision| gap_at(restored, revision)).collect::<Vec<_>>();
        let (known, gap) = (None, Some);
        assert_eq!(gaps(&[]), [known; 9]);
        // Edited to 4, put back to 2 as 5, edited to 6, the same backup again as 8.
        let twice = [restored(8, 2), restored(5, 2)];
        let expected = [
            known,
            known,
            known,
            gap((2, 5)),
            gap((2, 5)),
            known,
            gap((2, 8)),
            gap((2, 8)),
            known,
        ];
        assert_eq!(gaps(&twice), expected);
        // A backup of what had been put back as 5, put back as 8: what went before went.
        let later = gaps(&[restored(5, 2), restored(8, 5)]);
        assert_eq!(
            later[3..],
            [gap((2, 5)), gap((2, 5)), known, gap((5, 8)), gap((5, 8)), known]
        );
        let line = restored(5, 2);
        assert_eq!(
            line.summary(),
            "from a.backup (revision 2, taken 1970-01-01 08:00:00, checksum 0123456789ab…), in the place of revision 4"
        );
    }

    #[test]
    fn what_was_restored_stays_known_whatever_is_restored_later() {
        let line = |revision, from, sha: &str, who: &str| Recorded {
            revision,
            thing: Restoration::thing(),
            before: None,
            after: serde_json::to_string(&Restoration {
                file: "a.backup".to_owned(),
                sha256: sha.to_owned(),
                taken_at: 0,
                from,
                replaced: revision - 1,
            })
            .ok(),
            changed_at: 0,
            changed_by: who.to_owned(),
            source: "restore".to_owned(),
        };
        let names = |lines: &[Recorded]| {
            let named = lines
                .iter()
                .map(|line| format!("{} {} {}", line.revision, line.thing, line.changed_by));
            named.collect::<Vec<_>>()
        };
        // X at 4, then Y at 6: X's went. X again at 8: X's at 4 is what the bank is from, Y's went.
        let first = [line(4, 2, "x", "王")];
        let mut second = Restoration::left(&first, &[], "y");
        assert_eq!(names(&second), ["4 bank/replaced 王"]);
        second.push(line(6, 3, "y", "李"));
        assert_eq!(gap_at(&second, 4), Some((3, 6)));
        assert_eq!(gap_at(&second, 3), None);
        let mut third = Restoration::left(&second, &[], "x");
        assert_eq!(names(&third), ["4 bank/restored 王", "6 bank/replaced 李"]);
        third.push(line(8, 2, "x", "张"));
        let gaps: Vec<_> = (2..9).map(|revision| gap_at(&third, revision)).collect();
        let (known, gap) = (None, Some);
        assert_eq!(
            gaps,
            [known, gap((2, 4)), known, gap((2, 8)), gap((2, 8)), gap((2, 8)), known]
        );
        // What the backup has of it stays as the backup has it.
        assert_eq!(Restoration::left(&third, &third, "z"), []);
        // Those of other databases may have come to the same revision, with the same backup even.
        let elsewhere = [line(4, 2, "x", "赵"), line(6, 3, "y", "钱")];
        assert_eq!(
            names(&Restoration::left(&third, &elsewhere, "z")),
            ["4 bank/replaced 王", "6 bank/replaced 李", "8 bank/replaced 张"]
        );
        let both = [&third[..], &[line(6, 3, "y", "钱")]].concat();
        assert_eq!(
            names(&Restoration::left(&both, &[], "w"))[1..],
            ["6 bank/replaced 李", "8 bank/replaced 张", "6 bank/replaced.2 钱"]
        );
    }

    #[test]
    fn things_are_named_as_operators_write_them() {
        for text in [
            "kc-001",
            "rule/greeting",
            "category/开户/科创板",
            "template/not_found.txt",
            "dict/user.txt",
            "bank/restored",
        ] {
            assert_eq!(Thing::parse(text).unwrap().to_string(), text);
        }
        let refused = Thing::parse("rules/greeting").unwrap_err();
        assert!(refused.starts_with("\"rules/greeting\" is neither an entry's id nor one of entry/…, rule/…"));
    }
}
