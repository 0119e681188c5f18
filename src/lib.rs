//! wxfaq answers the followers of WeChat official accounts (公众号) from a question bank (题库), and serves the same
//! bank to H5 pages, apps and mini-programs.
//!
//! The deciding code is pure: [`bank`], [`wechat`], [`matching`] and [`dialog`] are functions from values to values,
//! without clock, network or database. [`bot`] carries one message through them; [`store`] and [`web`] move bytes;
//! [`app`] puts everything together. ARCHITECTURE.md shows the picture, `tests/it/architecture.rs` holds it.

pub mod bank;
pub mod wechat;
pub mod matching;
pub mod dialog;
pub mod store;
pub mod intake;
pub mod wechat_api;
pub mod fake_wechat;
pub mod bot;
pub mod web;
pub mod config;
pub mod telemetry;
pub mod lifecycle;
pub mod app;
pub mod commands;
pub mod cli;
