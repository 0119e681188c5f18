//! Integration tests: one binary, a file per subject.
#![allow(missing_docs, reason = "tests are read, not documented")]
#![allow(clippy::unwrap_used, reason = "clippy takes helpers of tests for something else")]

mod support;
mod architecture;
mod vectors;
mod webhook;
mod source_check;
mod listener;
mod conversations;
mod access_tokens;
mod wechat_api;
mod wechat_commands;
mod fallback;
mod questions;
mod databases;
mod history;
mod texts;
mod import;
mod intake;
mod matching;
mod dialog;
mod rules;
mod late;
mod flood;
mod open_work;
mod slow_pages;
mod media;
mod privacy;
mod rule_commands;
mod category_commands;
mod history_commands;
mod text_commands;
mod feedback;
mod query_log;
mod backup;
mod conversations_played;
mod daemon;
mod api;
mod ask_api;
mod openapi;
mod overload;
mod shared_redis;
mod spread;
mod crash;
mod kills;
mod systemd;
