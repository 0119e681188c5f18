//! Slow sources of answers, and what each account may do with an answer that comes late.
//!
//! [`AnswerSource`] is the port for a service that answers what the bank cannot (none stands behind it yet); [`Late`]
//! says whom it serves and how an answer travels that took longer than WeChat waits.

use crate::matching::Scope;
use crate::wechat_api::WechatApi;
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Why a source gave no answer. Its text is for logs: no user text, no openid.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);

/// Answers questions for which the bank has no direct answer; may take seconds.
///
/// **Asked once.** For one message it is asked once over all deliveries and instances, unless whoever asks dies.
/// **Never asked** while the bank answers directly, nor when the store of conversations cannot be reached. **Time.** It
/// must set a limit to its own calls; beyond [`Late::work`] it is dropped. **Privacy.** It gets the text, never the openid.
#[async_trait]
pub trait AnswerSource: Send + Sync {
    /// The answer in words that a follower may read; `None`: it does not know either.
    async fn answer(&self, question: &str, scope: Scope<'_>) -> Result<Option<String>, SourceError>;
}

/// How an account's late answers travel.
#[derive(Clone, Default)]
pub enum Delivery {
    /// The follower is asked to write again, and gets the answer then.
    #[default]
    Placeholder,
    /// WeChat's first deliveries run out; the one open when the work ends, or the last, answers. Then as above.
    Hold,
    /// WeChat is told `success`, and the answer is sent as customer-service messages.
    Send(Arc<dyn WechatApi>),
}

/// What late answers are made with.
pub struct Late {
    /// `None`: the bank alone answers, and nothing is ever late.
    pub source: Option<Arc<dyn AnswerSource>>,
    /// The longest a source may take for one message.
    pub work: Duration,
}

impl Default for Late {
    fn default() -> Self {
        Self {
            source: None,
            work: Duration::from_secs(60),
        }
    }
}

/// The accounts' ways, by id. One that is not here has the default.
#[derive(Default)]
pub struct Deliveries(BTreeMap<String, Arc<Way>>);

/// One account's way.
#[derive(Default)]
pub(super) struct Way {
    delivery: Delivery,
    /// WeChat has said that the account may not send.
    is_refused: AtomicBool,
}

impl Deliveries {
    /// Of these accounts.
    pub fn new(ways: impl IntoIterator<Item = (String, Delivery)>) -> Self {
        let way = |delivery| {
            Arc::new(Way {
                delivery,
                is_refused: AtomicBool::new(false),
            })
        };
        Self(ways.into_iter().map(|(id, delivery)| (id, way(delivery))).collect())
    }

    pub(super) fn of(&self, account: &str) -> Arc<Way> {
        self.0.get(account).cloned().unwrap_or_default()
    }
}

impl Way {
    /// What customer-service messages are sent through; `None`: they cannot be.
    pub fn api(&self) -> Option<&Arc<dyn WechatApi>> {
        match &self.delivery {
            Delivery::Send(api) if !self.is_refused.load(Ordering::Relaxed) => Some(api),
            _ => None,
        }
    }

    pub fn holds(&self) -> bool {
        matches!(self.delivery, Delivery::Hold)
    }

    /// From now on, until the configuration is read again, answers wait for the follower's next message.
    pub fn refuse(&self) {
        self.is_refused.store(true, Ordering::Relaxed);
    }
}
