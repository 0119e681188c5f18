//! What several subjects need: servers, folders, the binary.

pub mod bot;
pub mod vectors;
pub mod redis_proxy;
pub mod redis_server;
pub mod redis_group;
pub mod database_server;
pub mod silent_proxy;
pub mod database;
pub mod daemon;
pub mod fake_wechat;
