//! wxfaq answers the followers of WeChat official accounts (公众号) from a question bank (题库), and serves the same
//! bank to H5 pages, apps and mini-programs.
//!
//! The deciding code is pure: [`bank`], [`wechat`], [`matching`] and [`dialog`] are functions from values to values,
//! without clock, network or database. [`bot`] carries one message through them; [`store`] and [`web`] move bytes;
//! [`app`] puts everything together. ARCHITECTURE.md shows the picture, `tests/it/architecture.rs` holds it.

pub mod bank;
<<<<<<< HEAD
pub mod bot;
pub mod config;
=======
pub mod commands;
>>>>>>> 1a772e6 (bank: hold entries to limits, read and write JSONL and CSV, plan imports)
pub mod dialog;
pub mod matching;
pub mod store;
pub mod web;
pub mod wechat;
