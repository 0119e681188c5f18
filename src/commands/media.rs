//! Files that answers name, looked at before anybody asks for them.
//!
//! [`Shelf::problem`] is the entry point, for `check` and for what is imported.

use crate::bank::rule::{RuleReply, Warning};
use crate::bank::{Answer, Rule};
use crate::bot::check_file;
use crate::config::Config;
use std::path::Path;

/// Where files come from, and who may upload them.
#[derive(Debug, Clone, Copy)]
pub struct Shelf<'a> {
    /// `paths.media`
    folder: Option<&'a Path>,
    has_uploader: bool,
}

impl<'a> Shelf<'a> {
    /// The one of a configuration.
    pub fn of(config: &'a Config) -> Self {
        Self {
            folder: config.paths.media.as_deref(),
            has_uploader: config.accounts.iter().any(|account| !account.app_secret.is_empty()),
        }
    }

    /// None at all, as before anything is configured.
    pub const fn none() -> Self {
        let (folder, has_uploader) = (None, false);
        Self { folder, has_uploader }
    }

    /// Why followers would not see the file of `answer`; `None`: they will, or it has none.
    pub fn problem(self, answer: &Answer) -> Option<String> {
        let (kind, file) = answer.file()?;
        let Some(folder) = self.folder else {
            return Some(format!("names the file {file}, and paths.media is not set"));
        };
        if !self.has_uploader {
            return Some(format!(
                "names the file {file}, and no account has the app_secret to upload it with"
            ));
        }
        check_file(folder, kind, file).err().map(|problem| problem.to_string())
    }
}

/// The rules' own replies that name a file, with their rules.
pub fn of_rules(rules: &[Rule]) -> impl Iterator<Item = (&Rule, &Answer)> {
    let replies = rules
        .iter()
        .flat_map(|rule| rule.replies.iter().map(move |reply| (rule, reply)));
    replies.filter_map(|(rule, reply)| match reply {
        RuleReply::Own(answer) => answer.file().map(|_| (rule, answer)),
        RuleReply::Entry(_) => None,
    })
}

/// Why followers would not see what the rules' own replies name.
pub fn rule_problems(shelf: Shelf<'_>, rules: &[Rule]) -> Vec<Warning> {
    let warning = |(rule, answer): (&Rule, &Answer)| {
        let rule = rule.id.clone();
        shelf.problem(answer).map(|reason| Warning { rule, reason })
    };
    of_rules(rules).filter_map(warning).collect()
}
