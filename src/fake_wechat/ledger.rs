//! What WeChat keeps count of, for each account apart: access tokens, daily quotas, who may be written to how often,
//! uploads, menus. [`Ledgers`] finds the account by its AppID or by a token of its.

use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};

const DAY: i64 = 86_400;
const BEIJING: i64 = 8 * 3_600;
/// A token's life, and how long before its end the next one is made and both are good.
const TOKEN_LIFE: i64 = 7_200;
const TOKEN_OVERLAP: i64 = 300;
/// Typing needs a contact so short ago, and is shown so long. Seconds.
const TYPING_WINDOW: i64 = 30;
const TYPING_SHOWN: i64 = 15;
/// Beyond, the oldest goes.
const MOST_SENT: usize = 10_000;
const MOST_FOLLOWERS: usize = 10_000;
const MOST_MEDIA: usize = 10_000;
/// How long an upload is kept, in seconds.
const MEDIA_KEPT: i64 = 3 * 86_400;

/// What a follower does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contact {
    /// Writes: five messages within 48 hours.
    Message,
    /// Taps the menu: three within a minute.
    Click,
    /// Follows: three within a minute.
    Subscribe,
    /// Scans a code: three within a minute.
    Scan,
    /// Pays: any number within 48 hours.
    Payment,
    /// Is gone.
    Leave,
}

impl Contact {
    /// By its name in lowercase.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "message" => Self::Message,
            "click" => Self::Click,
            "subscribe" => Self::Subscribe,
            "scan" => Self::Scan,
            "payment" => Self::Payment,
            "leave" => Self::Leave,
            _ => return None,
        })
    }

    /// How many messages, for how many seconds.
    fn allows(self) -> (u32, i64) {
        match self {
            Self::Message => (5, 2 * DAY),
            Self::Click | Self::Subscribe | Self::Scan => (3, 60),
            Self::Payment => (u32::MAX, 2 * DAY),
            Self::Leave => (0, 0),
        }
    }
}

/// A message that reached a follower.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sent {
    /// Of the account that sent it.
    pub appid: String,
    /// Unix seconds.
    pub at: i64,
    /// Of the follower.
    pub openid: String,
    /// `msgtype`, or `template`.
    pub kind: String,
    /// The object under that name.
    pub message: Value,
    /// The agent in whose name it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kf_account: Option<String>,
}

/// Leave to write to a follower.
struct Window {
    left: u32,
    ends: i64,
}

#[derive(Default)]
struct Follower {
    windows: Vec<Window>,
    last_contact: i64,
    typing_until: i64,
}

#[derive(Clone)]
struct Token {
    value: String,
    ends: i64,
}

/// The two kinds of tokens know nothing of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TokenKind {
    Stable,
    Classic,
}

/// The accounts', by AppID.
#[derive(Default)]
pub(super) struct Ledgers(BTreeMap<String, Ledger>);

/// What one account keeps of serial numbers: tokens and uploads of all differ.
const SERIALS: u64 = 100_000;

impl Ledgers {
    /// Opens that of a new account.
    pub fn of(&mut self, appid: &str) -> &mut Ledger {
        let first = SERIALS * self.0.len() as u64;
        self.0.entry(appid.to_owned()).or_insert_with(|| Ledger {
            appid: appid.to_owned(),
            serial: first,
            ..Ledger::default()
        })
    }

    /// The account that has this token.
    pub fn of_token(&mut self, value: &str, now: i64) -> Result<&mut Ledger, TokenState> {
        for ledger in self.0.values_mut() {
            match ledger.token_state(value, now) {
                TokenState::Good => return Ok(ledger),
                TokenState::Expired => return Err(TokenState::Expired),
                TokenState::Unknown => {}
            }
        }
        Err(TokenState::Unknown)
    }

    pub fn all(&mut self) -> impl Iterator<Item = &mut Ledger> {
        self.0.values_mut()
    }

    /// Of all accounts, the oldest first.
    pub fn sent(&self) -> Vec<Sent> {
        let mut sent: Vec<Sent> = self.0.values().flat_map(|ledger| ledger.sent.iter().cloned()).collect();
        sent.sort_by_key(|sent| sent.at);
        sent
    }
}

/// Everything that is counted of one account.
#[derive(Default)]
pub(super) struct Ledger {
    pub appid: String,
    /// By kind, the newest last; at most two each.
    tokens: BTreeMap<TokenKind, Vec<Token>>,
    serial: u64,
    limits: BTreeMap<String, u64>,
    /// By path, in the day of [`Ledger::day`].
    used: BTreeMap<String, u64>,
    day: i64,
    followers: BTreeMap<String, Follower>,
    sent: VecDeque<Sent>,
    /// With the moment at which it is forgotten.
    media: VecDeque<(String, i64)>,
    pub menu: Option<Value>,
    /// With their ids.
    pub conditional_menus: Vec<(u64, Value)>,
}

/// What WeChat says of an access token.
pub(super) enum TokenState {
    Good,
    Unknown,
    Expired,
}

impl Ledger {
    /// A token and the seconds it has left: the stable one there is, unless it is about to end, or a new one.
    pub fn token(&mut self, kind: TokenKind, is_forced: bool, now: i64) -> (String, i64) {
        self.serial += 1;
        let value = format!("{:_<136}", format!("FAKE_ACCESS_TOKEN_{kind:?}_{}", self.serial));
        let tokens = self.tokens.entry(kind).or_default();
        if let Some(token) = tokens.last()
            && kind == TokenKind::Stable
            && !is_forced
            && token.ends - now > TOKEN_OVERLAP
        {
            return (token.value.clone(), token.ends - now);
        }
        if is_forced {
            tokens.clear();
        }
        for former in tokens.iter_mut() {
            former.ends = former.ends.min(now + TOKEN_OVERLAP);
        }
        tokens.push(Token {
            value: value.clone(),
            ends: now + TOKEN_LIFE,
        });
        if tokens.len() > 2 {
            tokens.remove(0);
        }
        (value, TOKEN_LIFE)
    }

    pub fn invalidate_tokens(&mut self) {
        self.tokens.clear();
    }

    pub fn token_state(&self, value: &str, now: i64) -> TokenState {
        let token = self.tokens.values().flatten().find(|token| token.value == value);
        match token {
            None => TokenState::Unknown,
            Some(token) if token.ends <= now => TokenState::Expired,
            Some(_) => TokenState::Good,
        }
    }

    pub fn limit(&mut self, path: &str, daily: u64) {
        self.limits.insert(path.to_owned(), daily);
    }

    /// How often `path` may be called in a day.
    pub fn limit_of(&self, path: &str) -> u64 {
        let known = self.limits.get(path).copied();
        known.unwrap_or(match path {
            "/cgi-bin/message/custom/send" | "/cgi-bin/stable_token" => 500_000,
            "/cgi-bin/menu/create" | "/cgi-bin/menu/delete" => 1_000,
            "/cgi-bin/menu/get" => 10_000,
            "/cgi-bin/user/info" => 5_000_000,
            "/cgi-bin/token" => 2_000,
            _ => 100_000,
        })
    }

    /// How often `path` was called today.
    pub fn used(&mut self, path: &str, now: i64) -> u64 {
        self.turn_page(now);
        self.used.get(path).copied().unwrap_or(0)
    }

    /// Counts a call; `false`: it is one too many.
    pub fn count(&mut self, path: &str, now: i64) -> bool {
        let is_left = self.used(path, now) < self.limit_of(path);
        if is_left {
            *self.used.entry(path.to_owned()).or_default() += 1;
        }
        is_left
    }

    pub fn clear_quota(&mut self) {
        self.used.clear();
    }

    fn turn_page(&mut self, now: i64) {
        let day = (now + BEIJING).div_euclid(DAY);
        if day != self.day {
            self.day = day;
            self.used.clear();
        }
    }

    pub fn contact(&mut self, openid: &str, contact: Contact, now: i64) {
        if contact == Contact::Leave {
            self.followers.remove(openid);
            return;
        }
        if self.followers.len() >= MOST_FOLLOWERS && !self.followers.contains_key(openid) {
            self.followers.pop_first();
        }
        let follower = self.followers.entry(openid.to_owned()).or_default();
        let (left, seconds) = contact.allows();
        follower.last_contact = now;
        follower.windows.retain(|window| window.ends > now);
        // A new message begins to count anew; short windows stand beside it.
        if seconds > 60 {
            follower.windows.retain(|window| window.ends <= now + 60);
        }
        if follower.windows.len() < 16 {
            follower.windows.push(Window {
                left,
                ends: now + seconds,
            });
        }
    }

    pub fn knows(&self, openid: &str) -> bool {
        self.followers.contains_key(openid)
    }

    /// Uses up one message to the follower; else the code that says why not.
    pub fn take_message(&mut self, openid: &str, now: i64) -> Result<(), i64> {
        let follower = self.followers.get_mut(openid).ok_or(45_015)?;
        let open = follower.windows.iter_mut().filter(|window| window.ends > now);
        // What ends first is used first.
        let mut open: Vec<&mut Window> = open.collect();
        open.sort_by_key(|window| window.ends);
        if open.is_empty() {
            return Err(45_015);
        }
        let window = open.into_iter().find(|window| window.left > 0).ok_or(45_047)?;
        window.left = window.left.saturating_sub(u32::from(window.left != u32::MAX));
        Ok(())
    }

    pub fn note_sent(&mut self, sent: Sent) {
        if self.sent.len() == MOST_SENT {
            self.sent.pop_front();
        }
        self.sent.push_back(sent);
    }

    /// Shows or hides typing; else the code that says why not.
    pub fn type_to(&mut self, openid: &str, is_shown: bool, now: i64) -> Result<(), i64> {
        let follower = self.followers.get_mut(openid).ok_or(45_080)?;
        if now - follower.last_contact > TYPING_WINDOW {
            return Err(45_080);
        }
        if is_shown && follower.typing_until > now {
            return Err(45_081);
        }
        follower.typing_until = if is_shown { now + TYPING_SHOWN } else { now };
        Ok(())
    }

    pub fn add_media(&mut self, now: i64) -> String {
        self.serial += 1;
        let id = format!("FAKE_MEDIA_{:06}", self.serial);
        if self.media.len() == MOST_MEDIA {
            self.media.pop_front();
        }
        self.media.push_back((id.clone(), now + MEDIA_KEPT));
        id
    }

    pub fn has_media(&self, id: &str, now: i64) -> bool {
        self.media.iter().any(|(known, ends)| known == id && now < *ends)
    }

    pub fn forget_media(&mut self) {
        self.media.clear();
    }

    pub fn next_id(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_follower_who_writes_may_get_five_messages_within_two_days() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.take_message("o", 0), Err(45_015));
        ledger.contact("o", Contact::Message, 0);
        for _ in 0..5 {
            assert_eq!(ledger.take_message("o", 2 * DAY - 1), Ok(()));
        }
        assert_eq!(ledger.take_message("o", 2 * DAY - 1), Err(45_047));
        assert_eq!(ledger.take_message("o", 2 * DAY), Err(45_015));
        ledger.contact("o", Contact::Message, 2 * DAY);
        assert_eq!(ledger.take_message("o", 2 * DAY), Ok(()));
        ledger.contact("o", Contact::Leave, 2 * DAY);
        assert_eq!(ledger.take_message("o", 2 * DAY), Err(45_015));
    }

    #[test]
    fn a_tap_adds_three_messages_for_a_minute() {
        let mut ledger = Ledger::default();
        ledger.contact("o", Contact::Click, 0);
        for _ in 0..3 {
            assert_eq!(ledger.take_message("o", 59), Ok(()));
        }
        assert_eq!(ledger.take_message("o", 59), Err(45_047));
        assert_eq!(ledger.take_message("o", 60), Err(45_015));
        ledger.contact("o", Contact::Message, 100);
        ledger.contact("o", Contact::Scan, 100);
        for _ in 0..8 {
            assert_eq!(ledger.take_message("o", 101), Ok(()));
        }
        assert_eq!(ledger.take_message("o", 101), Err(45_047));
        ledger.contact("o", Contact::Message, 102);
        ledger.contact("o", Contact::Message, 103);
        for _ in 0..5 {
            assert_eq!(ledger.take_message("o", 104), Ok(()));
        }
        assert_eq!(ledger.take_message("o", 104), Err(45_047), "messages do not add up");
    }

    #[test]
    fn a_stable_token_is_the_same_until_five_minutes_before_its_end() {
        let mut ledger = Ledger::default();
        let (first, left) = ledger.token(TokenKind::Stable, false, 0);
        assert_eq!(left, 7_200);
        assert_eq!(ledger.token(TokenKind::Stable, false, 6_899), (first.clone(), 301));
        let (second, _) = ledger.token(TokenKind::Stable, false, 6_900);
        assert_ne!(first, second);
        assert!(matches!(ledger.token_state(&first, 7_199), TokenState::Good));
        assert!(matches!(ledger.token_state(&first, 7_200), TokenState::Expired));
        let (third, _) = ledger.token(TokenKind::Stable, true, 7_000);
        assert!(matches!(ledger.token_state(&second, 7_000), TokenState::Unknown));
        let (_, _) = ledger.token(TokenKind::Classic, false, 7_000);
        assert!(
            matches!(ledger.token_state(&third, 7_000), TokenState::Good),
            "the kinds are apart"
        );
    }

    #[test]
    fn quotas_begin_anew_at_midnight_in_beijing() {
        let mut ledger = Ledger::default();
        ledger.limit("/p", 2);
        let midnight = 1_795_449_600;
        assert!(ledger.count("/p", midnight - 2) && ledger.count("/p", midnight - 1));
        assert!(!ledger.count("/p", midnight - 1));
        assert!(ledger.count("/p", midnight));
        assert_eq!(ledger.used("/p", midnight), 1);
    }

    #[test]
    fn typing_needs_a_contact_just_now() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.type_to("o", true, 0), Err(45_080));
        ledger.contact("o", Contact::Message, 0);
        assert_eq!(ledger.type_to("o", true, 30), Ok(()));
        assert_eq!(ledger.type_to("o", true, 30), Err(45_081));
        assert_eq!(ledger.type_to("o", false, 30), Ok(()));
        assert_eq!(ledger.type_to("o", true, 31), Err(45_080));
    }
}
