//! What is asked, on its way into the query log.

use super::Bot;
use super::log_queue::LogQueue;
use crate::bank::Channel;
use crate::dialog::Told;
use crate::matching::{Decision, Matches};
use crate::store::Log;
use crate::store::conversations::Follower;
use crate::store::query_log::QueryRow;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long the first question of a batch waits for others.
const LINGER: Duration = Duration::from_millis(500);

/// Questions that wait to be written.
pub(super) struct Queries {
    queue: Arc<LogQueue<QueryRow>>,
    /// Tells this process apart from others.
    process: u64,
    next: AtomicU64,
}

impl Queries {
    pub fn new(log: Arc<dyn Log<QueryRow>>) -> Self {
        Self {
            queue: LogQueue::new(log, LINGER),
            process: RandomState::new().build_hasher().finish(),
            next: AtomicU64::new(0),
        }
    }

    fn id(&self) -> String {
        format!(
            "{:016x}{:016x}",
            self.process,
            self.next.fetch_add(1, Ordering::Relaxed)
        )
    }
}

/// A question that has been answered.
pub(super) struct Answered<'a> {
    pub follower: &'a Follower,
    pub channel: Channel,
    pub text: &'a str,
    pub told: &'a Told,
    pub took: Duration,
}

impl Bot {
    /// Queues a question for the log; what is no question, such as a verdict or 更多, is left out.
    pub(super) fn keep_query(&self, answered: &Answered<'_>) {
        let (entry, score) = match answered.told {
            Told::Answer(id, score) => (Some(id.to_string()), Some(score.steps())),
            Told::Choice(id) => (Some(id.to_string()), None),
            Told::List(_)
            | Told::NotFound
            | Told::Rule
            | Told::Refused
            | Told::Human
            | Told::Sourced
            | Told::Searching => (None, None),
            Told::Part | Told::Feedback | Told::Greeting | Told::Hint | Told::Late | Told::TooOften | Told::Nothing => {
                return;
            }
        };
        if answered.text.is_empty() {
            return;
        }
        self.push_query(answered.follower.clone(), |row| {
            row.channel = answered.channel;
            answered.text.clone_into(&mut row.text);
            row.decision = answered.told.name();
            row.entry = entry;
            row.score = score;
            row.took_us = micros(answered.took);
        });
    }

    /// Queues a question of the search API for the log: nobody is known who asked it.
    pub fn keep_search(&self, account: &str, text: &str, matches: &Matches, decision: Decision, took: Duration) {
        let nobody = Follower {
            account: account.to_owned(),
            pseudonym: String::new(),
        };
        let best = matches.hits.first().filter(|_| decision == Decision::Answer);
        self.push_query(nobody, |row| {
            text.clone_into(&mut row.text);
            row.decision = match decision {
                Decision::Answer => "answer",
                Decision::Suggest => "suggest",
                Decision::None => "none",
            };
            row.entry = best.map(|hit| hit.entry.id.to_string());
            row.score = matches.hits.first().map(|hit| hit.score.steps());
            row.took_us = micros(took);
        });
    }

    fn push_query(&self, follower: Follower, fill: impl FnOnce(&mut QueryRow)) {
        let Some(queries) = &self.queries else { return };
        let mut row = QueryRow {
            id: queries.id(),
            follower,
            channel: Channel::Api,
            text: String::new(),
            decision: "none",
            entry: None,
            score: None,
            took_us: 0,
            asked_at: self.now(),
        };
        fill(&mut row);
        queries.queue.push(row, &self.tasks);
    }
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}
