//! What several subjects need: servers, folders, the binary.

pub mod bot;
pub mod vectors;
pub mod redis_proxy;
pub mod redis_server;
pub mod daemon;
pub mod fake_wechat;
