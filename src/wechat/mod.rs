//! The server protocol of WeChat official accounts (公众号): bytes to values and back.
//!
//! [`Credentials::open`] turns one POST into a [`Delivery`]: signature checked, decrypted, parsed to an [`Inbound`].
//! [`Reply::to_xml`] and [`Seal::seal`] make the body of the response. [`platform`] is the other side, for simulation
//! and tests. Pure: the caller passes clock and randomness. Follows 公众号开发文档 › 接收普通消息, 接收事件推送, 被动回复用户消息, 消息加解密.

pub mod credentials;
pub mod crypto;
pub mod envelope;
pub mod message;
pub mod platform;
pub mod query;
pub mod reply;
pub mod signature;
pub mod xml;

pub use credentials::{CredentialError, CredentialParts, Credentials, Mode};
pub use envelope::{Delivery, Refusal, Seal};
pub use message::{Event, Head, Inbound};
pub use query::Query;
pub use reply::Reply;
