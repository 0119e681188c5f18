//! `wxfaq import --from-wechat`: the rules made in WeChat's console (自动回复) as rules of ours.
//!
//! 关键词回复 become rules by key words, 被关注回复 the greeting, 收到消息回复 the default reply, all for that account only.
//! Media keep their ids: what the console uploaded stays there. A second import changes what has changed there since,
//! and leaves what was edited here; the ids follow from account and name. With `--entries` a file of entries comes beside
//! them, for an editor: key words are seldom questions.

use super::beside::{Care, Terms};
use super::rule::{self, Report};
use super::{Exit, Failure, account_named, client_of, export, open_to_try, operator};
use crate::app::{self, AppError, Missing};
use crate::bank::format::{Format, Layout};
use crate::bank::import::Mode;
use crate::bank::rule::{Keyword, Pick, Rule, RuleId, RuleReply, Trigger};
use crate::bank::terminal::{lines, one_line};
use crate::bank::{Answer, Article, Entry, EntryId, State, Video};
use crate::store::StoreError;
use crate::store::sql::Database;
use crate::wechat_api::{AutoReplies, AutoReply, KeywordRule, MatchMode, ReplyMode};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

/// What becomes of the console's rules.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Conversion {
    /// Valid, with distinct ids.
    rules: Vec<Rule>,
    /// What rules by key words say, as entries with the rules' ids; valid.
    #[serde(skip)]
    entries: Vec<Entry>,
    /// What has no place here, a sentence each.
    left_out: Vec<String>,
}

/// For programs.
#[derive(Serialize)]
struct Outcome {
    #[serde(flatten)]
    conversion: Conversion,
    /// Rules that were edited here, which stay as they are.
    kept: Vec<RuleId>,
    #[serde(flatten)]
    report: Report,
}

/// Whether the database is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Show only.
    DryRun,
    /// Take over.
    Apply,
}

/// What becomes of rules that were imported and then edited here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edited {
    /// They stay.
    Keep,
    /// They become as they are at WeChat.
    Overwrite,
}

/// What is asked for beside the account.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    #[expect(missing_docs, reason = "the type says it")]
    pub effect: Effect,
    #[expect(missing_docs, reason = "the type says it")]
    pub edited: Edited,
    /// Where the rules by key words are written as entries.
    pub entries: Option<&'a Path>,
    /// For programs.
    pub json: bool,
}

/// By which way, in the history of rules.
const SOURCE: &str = "from-wechat";

/// Asks WeChat, and takes over or shows what would be.
pub async fn run(file: Option<PathBuf>, account: &str, options: Options<'_>) -> Result<Exit, Failure> {
    let unknown = |path: &Path| {
        let text = format!("{}: the name must end in .jsonl, .csv or .xlsx", path.display());
        Failure::report(Exit::Usage, text)
    };
    let format = options
        .entries
        .map(|path| Format::of(path).ok_or_else(|| unknown(path)));
    let format = format.transpose()?;
    let config = app::configure(file, Missing::Leave)?.config;
    let account = account_named(&config, Some(account))?;
    let replies = client_of(&config, account).await?.auto_replies().await?;
    let conversion = convert(&replies, &account.id);
    if let (Some(path), Some(format)) = (options.entries, format) {
        let written = export::replace_file(path, |out| format.write(Layout::Full, &conversion.entries, out));
        written.map_err(|error| Failure::report(Exit::CannotCreate, format!("{}: {error}", path.display())))?;
    }
    let terms = Terms {
        mode: Mode::Append,
        care: Care {
            dry_run: options.effect == Effect::DryRun,
            made_from: None,
        },
        who: &operator(),
        source: SOURCE,
    };
    let place = app::place_of(&config);
    let opened = match options.effect {
        Effect::DryRun => open_to_try(place).await,
        Effect::Apply => Database::open(place).await,
    };
    let database = opened.map_err(AppError::from)?;
    let kept = match options.edited {
        Edited::Keep => edited_here(&database, &conversion.rules)
            .await
            .map_err(AppError::from)?,
        Edited::Overwrite => BTreeSet::new(),
    };
    let taken = || conversion.rules.iter().filter(|rule| !kept.contains(&rule.id));
    let report = rule::import(&database, || (1..).zip(taken().cloned().map(Ok)), terms).await;
    database.close().await;
    let report = report?;
    if report.applied {
        app::announce_revision(&config, report.revision).await;
    }
    let exit = report.exit();
    if options.json {
        let kept = kept.into_iter().collect();
        let outcome = Outcome {
            conversion,
            kept,
            report,
        };
        say!("{}", serde_json::to_string_pretty(&outcome).unwrap_or_default());
        return Ok(exit);
    }
    for rule in taken() {
        say!("rule      {}", serde_json::to_string(rule).unwrap_or_default());
    }
    for rule in conversion.rules.iter().filter(|rule| kept.contains(&rule.id)) {
        say!(
            "kept      {} ({}): it was edited here; --overwrite takes WeChat's",
            rule.id,
            rule.name
        );
    }
    for reason in &conversion.left_out {
        say!("left out  {}", one_line(reason));
    }
    say!("{}", lines(&report.to_string()));
    if let Some(path) = options.entries {
        let (file, count) = (path.display(), conversion.entries.len());
        let by_words = |rule: &&Rule| matches!(rule.trigger, Trigger::Keywords(_));
        let all = conversion.rules.iter().filter(by_words).count();
        say!(
            "{file}: {count} of {all} rules by key words, those with one reply, as entries; look through them, then \
             `wxfaq import {file}`"
        );
    }
    Ok(exit)
}

/// Those of `rules` that are other than here, where somebody else than this command changed them last.
async fn edited_here(database: &Database, rules: &[Rule]) -> Result<BTreeSet<RuleId>, StoreError> {
    let (_, existing) = database.rules().load().await?;
    let sources = database.rules().sources().await?;
    let differs = |rule: &&Rule| existing.iter().any(|known| known.id == rule.id && known != *rule);
    let by_others = |rule: &&Rule| sources.get(rule.id.as_str()).is_some_and(|source| source != SOURCE);
    let edited = rules.iter().filter(differs).filter(by_others);
    Ok(edited.map(|rule| rule.id.clone()).collect())
}

fn convert(replies: &AutoReplies, account: &str) -> Conversion {
    let mut converter = Converter {
        account,
        ids: BTreeSet::new(),
        conversion: Conversion {
            rules: Vec::new(),
            entries: Vec::new(),
            left_out: Vec::new(),
        },
    };
    let single = [
        ("被关注回复", Trigger::Subscribe(Vec::new()), &replies.subscribe),
        ("收到消息回复", Trigger::Default, &replies.default),
    ];
    for (name, trigger, reply) in single {
        if let Some(reply) = reply {
            converter.take(name, trigger, std::slice::from_ref(reply), Pick::All);
        }
    }
    for rule in &replies.rules {
        let trigger = Trigger::Keywords(converter.keywords(rule));
        let pick = match rule.mode {
            ReplyMode::All => Pick::All,
            ReplyMode::OneAtRandom => Pick::OneAtRandom,
        };
        converter.take(&rule.name, trigger, &rule.replies, pick);
    }
    converter.conversion
}

struct Converter<'a> {
    account: &'a str,
    ids: BTreeSet<RuleId>,
    conversion: Conversion,
}

impl Converter<'_> {
    fn leave_out(&mut self, name: &str, what: impl std::fmt::Display) {
        self.conversion.left_out.push(format!("{name}: {what}"));
    }

    fn keywords(&mut self, rule: &KeywordRule) -> Vec<Keyword> {
        let mut keywords = Vec::new();
        for pattern in &rule.patterns {
            let text = pattern.text.trim().to_owned();
            if !text.chars().any(char::is_alphanumeric) {
                self.leave_out(
                    &rule.name,
                    format_args!("its key word {text:?} holds no letter or digit"),
                );
                continue;
            }
            let keyword = match pattern.mode {
                MatchMode::Equal => Keyword::Equals(text),
                MatchMode::Contain => Keyword::Contains(text),
            };
            if !keywords.contains(&keyword) {
                keywords.push(keyword);
            }
        }
        keywords
    }

    fn take(&mut self, name: &str, trigger: Trigger, replies: &[AutoReply], pick: Pick) {
        let mut answers = Vec::new();
        for reply in replies {
            match answer(reply) {
                Some(answer) => answers.push(RuleReply::Own(answer)),
                None => self.leave_out(name, format_args!("a reply of kind {}", kind(reply))),
            }
        }
        let mut rule = Rule {
            id: self.new_id(name, trigger.name()),
            name: name.chars().filter(|c| !c.is_control()).take(64).collect(),
            trigger,
            replies: answers,
            pick,
            accounts: vec![self.account.to_owned()],
            priority: 0,
            state: State::Published,
            window: None,
        };
        rule.tidy();
        match rule.validate() {
            Ok(()) => {
                self.conversion.entries.extend(as_entry(&rule));
                self.conversion.rules.push(rule);
            }
            Err(error) => self.leave_out(name, error),
        }
    }

    /// The same whenever the rule is imported.
    fn new_id(&mut self, name: &str, trigger: &str) -> RuleId {
        let account = self.account;
        let ids = (0_u32..).map(|attempt| {
            let digest = Sha256::digest(format!("{account}\n{trigger}\n{name}\n{attempt}"));
            let mut first = [0; 8];
            first[2..].copy_from_slice(&digest[..6]);
            let digits = u64::from_be_bytes(first);
            RuleId::parse(&format!("console-{digits:012x}")).expect("hex digits are allowed in ids")
        });
        let mut unused = ids.skip_while(|id| self.ids.contains(id));
        let id = unused.next().expect("there are more attempts than rules");
        self.ids.insert(id.clone());
        id
    }
}

/// A rule by key words that says one thing, as an entry: the longest key word is its question. `None`: it is another kind of
/// rule, or does not fit into one.
fn as_entry(rule: &Rule) -> Option<Entry> {
    let (Trigger::Keywords(keywords), [RuleReply::Own(answer)]) = (&rule.trigger, rule.replies.as_slice()) else {
        return None;
    };
    let words = keywords.iter().filter_map(|keyword| match keyword {
        Keyword::Equals(word) | Keyword::Contains(word) => Some(word.clone()),
        Keyword::Regex(_) => None,
    });
    let mut words: Vec<String> = words.collect();
    words.sort_by_key(|word| Reverse(word.chars().count()));
    let mut seen = HashSet::new();
    words.retain(|word| seen.insert(word.clone()));
    let question = words.first()?.clone();
    let mut entry = Entry {
        similar: words.split_off(1),
        accounts: rule.accounts.clone().into(),
        ..Entry::new(EntryId::parse(rule.id.as_str()).ok()?, question, answer.clone())
    };
    entry.tidy();
    entry.validate().ok().map(|()| entry)
}

fn answer(reply: &AutoReply) -> Option<Answer> {
    Some(match reply {
        AutoReply::Text(text) => Answer::Text(text.clone()),
        AutoReply::Media { kind, media_id } => {
            let media_id = media_id.clone();
            match kind.as_str() {
                "img" => Answer::Image { media_id },
                "voice" => Answer::Voice { media_id },
                "video" => Answer::Video(Box::new(Video {
                    media_id,
                    thumb_media_id: String::new(),
                    title: String::new(),
                    description: String::new(),
                })),
                _ => return None,
            }
        }
        AutoReply::News(articles) if articles.is_empty() => return None,
        AutoReply::News(articles) => {
            let articles = articles.iter().map(|article| Article {
                title: article.title.clone(),
                description: article.digest.clone(),
                url: article.content_url.clone(),
                picurl: article.cover_url.clone(),
            });
            Answer::News {
                articles: articles.collect(),
            }
        }
    })
}

fn kind(reply: &AutoReply) -> &str {
    match reply {
        AutoReply::Text(_) => "text",
        AutoReply::Media { kind, .. } => kind,
        AutoReply::News(_) => "news, without its articles",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wechat_api::{ConsoleArticle, Pattern};

    fn rule(patterns: &[(&str, MatchMode)], replies: Vec<AutoReply>, mode: ReplyMode) -> KeywordRule {
        let pattern = |(text, mode): &(&str, MatchMode)| Pattern {
            text: (*text).to_owned(),
            mode: *mode,
        };
        KeywordRule {
            name: "规则".to_owned(),
            patterns: patterns.iter().map(pattern).collect(),
            mode,
            replies,
        }
    }

    fn text(text: &str) -> AutoReply {
        AutoReply::Text(text.to_owned())
    }

    fn media(kind: &str) -> AutoReply {
        let (kind, media_id) = (kind.to_owned(), "M".to_owned());
        AutoReply::Media { kind, media_id }
    }

    /// Trigger, replies and pick as files have them, and what is left out.
    fn converted(rules: Vec<KeywordRule>) -> (Vec<String>, Vec<String>) {
        let replies = AutoReplies {
            rules,
            ..AutoReplies::default()
        };
        let Conversion { rules, left_out, .. } = convert(&replies, "demo");
        let part = |rule: &Rule| {
            let trigger = serde_json::to_string(&rule.trigger).unwrap();
            let replies = serde_json::to_string(&rule.replies).unwrap();
            format!("{trigger} {replies} {:?}", rule.pick)
        };
        (rules.iter().map(part).collect(), left_out)
    }

    #[test]
    fn a_rule_by_key_words_becomes_one() {
        use MatchMode::{Contain, Equal};
        let words = [
            ("几点", Contain),
            (" 营业时间", Equal),
            ("几点", Contain),
            ("？", Equal),
        ];
        let (rules, left_out) = converted(vec![rule(&words, vec![text("九点"), text("请早")], ReplyMode::All)]);
        let expected = r#"{"keywords":[{"contains":"几点"},{"equals":"营业时间"}]} ["九点","请早"] All"#;
        assert_eq!(rules, [expected]);
        assert_eq!(left_out, ["规则: its key word \"？\" holds no letter or digit"]);
    }

    #[test]
    fn what_says_one_thing_is_an_entry_as_well() {
        use MatchMode::{Contain, Equal};
        let words = [("营业", Contain), ("几点开门", Equal), ("上班时间", Equal)];
        let rules = vec![
            rule(&words, vec![text("九点")], ReplyMode::All),
            rule(&words, vec![text("九点"), text("请早")], ReplyMode::All),
            rule(&[("群", Equal)], vec![media("img")], ReplyMode::All),
        ];
        let replies = AutoReplies {
            default: Some(text("稍后回复。")),
            rules,
            ..AutoReplies::default()
        };
        let Conversion { rules, entries, .. } = convert(&replies, "demo");
        let said: Vec<String> = entries.iter().map(crate::bank::format::to_line).collect();
        assert_eq!(said.len(), 2);
        let parts = [
            r#""question":"几点开门","similar":["上班时间","营业"],"kind":"text","answer":"九点""#,
            r#""accounts":["demo"]"#,
        ];
        assert!(parts.iter().all(|part| said[0].contains(part)), "{}", said[0]);
        assert!(said[1].contains(r#""answer":{"media_id":"M"}"#), "{}", said[1]);
        assert_eq!(entries[0].id.as_str(), rules[1].id.as_str());
    }

    #[test]
    fn media_keep_their_ids_and_articles_their_links() {
        let article = ConsoleArticle {
            title: "标题".to_owned(),
            digest: "摘要".to_owned(),
            content_url: "https://h/1".to_owned(),
            cover_url: String::new(),
        };
        let replies = vec![
            media("img"),
            AutoReply::News(vec![article]),
            media("mpvideo"),
            AutoReply::News(vec![]),
        ];
        let (rules, left_out) = converted(vec![rule(
            &[("海报", MatchMode::Contain)],
            replies,
            ReplyMode::OneAtRandom,
        )]);
        let replies = [
            r#"{"answer":{"media_id":"M"},"kind":"image"}"#,
            r#"{"answer":{"articles":[{"description":"摘要","picurl":"","title":"标题","url":"https://h/1"}]},"kind":"news"}"#,
        ];
        let expected = format!(
            r#"{{"keywords":[{{"contains":"海报"}}]}} [{}] OneAtRandom"#,
            replies.join(",")
        );
        assert_eq!(rules, [expected]);
        assert_eq!(
            left_out,
            [
                "规则: a reply of kind mpvideo",
                "规则: a reply of kind news, without its articles"
            ]
        );
    }

    #[test]
    fn a_rule_without_words_or_replies_is_left_out_with_the_reason() {
        let (rules, left_out) = converted(vec![
            rule(&[], vec![text("一")], ReplyMode::All),
            rule(&[("词", MatchMode::Equal)], vec![], ReplyMode::All),
        ]);
        assert_eq!(rules, [""; 0]);
        assert_eq!(
            left_out,
            ["规则: trigger: keywords has no item", "规则: replies: has no item"]
        );
    }

    #[test]
    fn greeting_and_default_reply_are_rules_of_the_account_with_ids_that_stay() {
        let replies = AutoReplies {
            subscribe: Some(text("谢谢关注！")),
            default: Some(text("稍后回复。")),
            rules: vec![rule(&[("词", MatchMode::Equal)], vec![text("一")], ReplyMode::All); 2],
        };
        let rules = convert(&replies, "demo").rules;
        assert_eq!(rules, convert(&replies, "demo").rules);
        let triggers: Vec<_> = rules.iter().map(|rule| rule.trigger.name()).collect();
        assert_eq!(triggers, ["subscribe", "default", "keywords", "keywords"]);
        let ids: BTreeSet<_> = rules.iter().map(|rule| &rule.id).collect();
        assert_eq!(ids.len(), 4, "two rules of one name are two");
        assert!(rules.iter().all(|rule| rule.accounts == ["demo"]));
        assert!(
            convert(&replies, "other")
                .rules
                .iter()
                .all(|rule| !ids.contains(&rule.id))
        );
    }
}
