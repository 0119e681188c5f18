//! Files that answers name, looked at before anybody asks for them.
//!
//! [`problem`] is the entry point, for `check` and for what is imported.

use crate::bank::rule::{RuleReply, Warning};
use crate::bank::{Answer, Rule};
use crate::bot::check_file;
use std::path::Path;

/// Why followers would not see the file of `answer`; `None`: they will, or it has none. `folder` is `paths.media`.
pub fn problem(folder: Option<&Path>, answer: &Answer) -> Option<String> {
    let (kind, file) = answer.file()?;
    match folder {
        None => Some(format!("names the file {file}, and paths.media is not set")),
        Some(folder) => check_file(folder, kind, file).err().map(|problem| problem.to_string()),
    }
}

/// The same of the rules' own replies.
pub fn rule_problems(folder: Option<&Path>, rules: &[Rule]) -> Vec<Warning> {
    let of_rule = |rule: &Rule| {
        let own = rule.replies.iter().filter_map(|reply| match reply {
            RuleReply::Own(answer) => problem(folder, answer),
            RuleReply::Entry(_) => None,
        });
        let rule = rule.id.clone();
        own.map(|reason| Warning {
            rule: rule.clone(),
            reason,
        })
        .collect::<Vec<_>>()
    };
    rules.iter().flat_map(of_rule).collect()
}
