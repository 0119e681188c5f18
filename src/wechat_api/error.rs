//! What goes wrong with a call, what an error code of WeChat means, and what to do about it.
//!
//! [`Refusal::new`] reads `errcode` and `errmsg`. WeChat's own words are shown only where we have none, and then without
//! anything that could be a token, a secret or an openid. Follows 公众号开发文档 › 全局返回码说明.

use std::fmt;
use std::net::IpAddr;

/// Why a call did not do what was asked.
///
/// Cheap to clone: a token's refresh fails for everybody who waits for it. Its text never holds a secret or an openid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// Nothing was sent: no connection to any host.
    #[error("WeChat cannot be reached: {reason}")]
    Unreachable {
        #[expect(missing_docs, reason = "the name says it")]
        reason: String,
    },
    /// Sent, but the answer did not come in time or broke off: it may have been carried out.
    #[error("WeChat gave no answer to {path}: {reason}")]
    NoAnswer {
        /// Of the API.
        path: &'static str,
        #[expect(missing_docs, reason = "the name says it")]
        reason: String,
    },
    /// What answers is not WeChat, or speaks differently: a redirect, no JSON, too much of it.
    #[error("what answers to {path} does not speak as WeChat does: {reason}")]
    Stranger {
        /// Of the API.
        path: &'static str,
        #[expect(missing_docs, reason = "the name says it")]
        reason: String,
    },
    /// WeChat said no.
    #[error("{0}")]
    Refused(Refusal),
    /// Nothing was sent: WeChat said before that the quota of this API is used up for the day.
    #[error("not sent: the quota of {path} is used up until midnight in Beijing")]
    QuotaUsedUp {
        /// Of the API.
        path: &'static str,
    },
    /// Nothing was sent: too many calls are under way, or none ended in time.
    #[error("not sent: too many calls to WeChat are under way")]
    Busy,
    /// Nothing was sent: there is no access token to be had.
    #[error("no access token: {reason}")]
    NoAccessToken {
        #[expect(missing_docs, reason = "the name says it")]
        reason: String,
    },
    /// Nothing was sent: WeChat would not take it.
    #[error("{0}")]
    Unacceptable(String),
}

impl ApiError {
    /// WeChat's answer, if it gave one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Whether the call certainly had no effect, so that repeating it cannot do it twice.
    pub fn had_no_effect(&self) -> bool {
        !matches!(self, Self::NoAnswer { .. } | Self::Stranger { .. })
    }

    /// What to do, if WeChat's answer says.
    pub fn remedy(&self) -> Option<Remedy> {
        self.refusal().map(|refusal| refusal.remedy)
    }
}

/// What to do about a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Remedy {
    /// Try again, later and later. Done by the client before the caller sees it.
    BackOff,
    /// Fetch another access token and try once more. Done by the client before the caller sees it.
    RefreshToken,
    /// This follower cannot be written to: forget the message.
    Drop,
    /// The media id is of no use any more: upload the file again.
    Upload,
    /// Send it in parts.
    Split,
    /// Send fewer articles.
    Cut,
    /// Nothing until midnight in Beijing. The client refuses by itself until then.
    StopForToday,
    /// The time in which this follower may be written to is over, or the messages for it are used up: give up until the
    /// follower writes again.
    GiveUp,
    /// The account may not do this at all: do without.
    SwitchOff,
    /// Nothing is lost.
    Ignore,
    /// There is none: take it as empty.
    TakeAsEmpty,
    /// The operator must act.
    Report,
    /// We must act: it is a mistake in this program.
    ReportBug,
}

/// WeChat's no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Of the API.
    pub path: &'static str,
    /// `errcode`
    pub code: i64,
    #[expect(missing_docs, reason = "the type says it")]
    pub remedy: Remedy,
    /// The address WeChat sees us under, when that is what it does not like.
    pub address: Option<IpAddr>,
    /// By which WeChat finds the call again.
    pub rid: Option<String>,
    meaning: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WeChat refused {} with {}: {}", self.path, self.code, self.meaning)?;
        match &self.rid {
            Some(rid) => write!(f, " (rid {rid})"),
            None => Ok(()),
        }
    }
}

/// First and last code, what to do, what it means; an empty meaning is WeChat's own text.
type Row = (i64, i64, Remedy, &'static str);

const CODES: &[Row] = &[
    (-1, -1, Remedy::BackOff, "it is busy"),
    (
        40_001,
        40_001,
        Remedy::RefreshToken,
        "the AppSecret is wrong, or the access token was replaced",
    ),
    (
        40_003,
        40_003,
        Remedy::Drop,
        "the openid is wrong, or of another account",
    ),
    (40_004, 40_004, Remedy::Upload, "this kind of media is not accepted"),
    (40_007, 40_007, Remedy::Upload, "the media id is unknown or has expired"),
    (40_009, 40_009, Remedy::Upload, "the file is too large"),
    (40_013, 40_013, Remedy::Report, "the AppID is wrong"),
    (40_014, 40_014, Remedy::RefreshToken, "the access token is not valid"),
    (40_016, 40_027, Remedy::Report, ""),
    (40_033, 40_033, Remedy::ReportBug, "the body holds \\u escapes"),
    (40_037, 40_037, Remedy::Report, "the template id is unknown"),
    (40_054, 40_055, Remedy::Report, "a button's URL is not accepted"),
    (
        40_125,
        40_125,
        Remedy::Report,
        "AppID and AppSecret do not belong together: compare app_secret with 基本配置 in WeChat's console",
    ),
    (40_164, 40_164, Remedy::Report, NOT_ALLOWED),
    (40_200, 40_200, Remedy::SwitchOff, "this kind of account may not do it"),
    (
        40_243,
        40_243,
        Remedy::Report,
        "the AppSecret is frozen: unfreeze it in WeChat's console",
    ),
    (41_001, 41_009, Remedy::ReportBug, "a parameter is missing"),
    (42_001, 42_001, Remedy::RefreshToken, "the access token has expired"),
    (43_004, 43_004, Remedy::Drop, "the user does not follow the account"),
    (43_019, 43_019, Remedy::Drop, "the account has blocked the user"),
    (43_101, 43_101, Remedy::Drop, "the user does not want such messages"),
    (
        44_002,
        44_004,
        Remedy::ReportBug,
        "the body, or what it is to hold, is empty",
    ),
    (45_002, 45_002, Remedy::Split, "the text is too long"),
    (45_008, 45_008, Remedy::Cut, "there are too many articles"),
    (45_009, 45_009, Remedy::StopForToday, "its quota is used up for today"),
    (45_011, 45_011, Remedy::BackOff, "too many calls within a minute"),
    (
        45_015,
        45_015,
        Remedy::GiveUp,
        "the time for an answer is over: the user has not written lately, or has left",
    ),
    (
        45_047,
        45_047,
        Remedy::GiveUp,
        "the user has got as many messages as are allowed without an answer",
    ),
    (45_072, 45_072, Remedy::Ignore, "the typing command is wrong"),
    (
        45_080,
        45_081,
        Remedy::Ignore,
        "typing is shown already, or the user has not written lately",
    ),
    (46_003, 46_003, Remedy::TakeAsEmpty, "there is no menu"),
    (47_001, 47_001, Remedy::ReportBug, "the body cannot be read"),
    (47_003, 47_003, Remedy::Report, "the template's data are not accepted"),
    (48_001, 48_001, Remedy::SwitchOff, "the account may not call it"),
    (
        48_002,
        48_002,
        Remedy::Drop,
        "the user has blocked the account's messages",
    ),
    (
        48_004,
        48_004,
        Remedy::Report,
        "WeChat has banned the account from this: see the console's notices",
    ),
    (
        50_002,
        50_002,
        Remedy::Report,
        "WeChat has restricted the account: see the console's notices",
    ),
    (61_004, 61_004, Remedy::Report, NOT_ALLOWED),
    (61_451, 61_457, Remedy::Report, ""),
    (65_301, 65_317, Remedy::Report, ""),
    (
        65_400,
        65_400,
        Remedy::Report,
        "the customer-service desk is not switched on",
    ),
    (65_401, 65_401, Remedy::Report, "there is no such agent"),
    (65_414, 65_414, Remedy::Report, "another agent serves the user"),
    (65_402, 65_416, Remedy::Report, ""),
    (76_021, 76_021, Remedy::ReportBug, "there is no such API to ask about"),
    (76_022, 76_022, Remedy::SwitchOff, "the account may not call that API"),
    (
        89_501,
        89_501,
        Remedy::Report,
        "the administrator has not yet approved this machine's address",
    ),
    (
        89_503,
        89_503,
        Remedy::Report,
        "the administrator must approve this machine's address",
    ),
    (
        89_506,
        89_506,
        Remedy::Report,
        "the administrator has refused this machine's address for 24 hours",
    ),
    (
        89_507,
        89_507,
        Remedy::Report,
        "the administrator has refused this machine's address for an hour",
    ),
];

const NOT_ALLOWED: &str = "this machine's address is not allowed";

/// Beginnings of paths, and who may call what lies under them.
const WHO_MAY: &[(&str, &str)] = &[
    (
        "/cgi-bin/menu/",
        "every account but a subscription account without verification (未认证订阅号)",
    ),
    ("/cgi-bin/message/custom/", VERIFIED),
    ("/cgi-bin/user/", VERIFIED),
    ("/cgi-bin/media/", VERIFIED),
    ("/cgi-bin/message/template/", VERIFIED_SERVICE),
    ("/cgi-bin/qrcode/", VERIFIED_SERVICE),
    ("/customservice/", VERIFIED_SERVICE),
];

const VERIFIED: &str = "a verified account (认证)";
const VERIFIED_SERVICE: &str = "a verified service account (认证服务号)";

impl Refusal {
    /// Reads `errcode`, which is not 0, and `errmsg`.
    pub fn new(path: &'static str, code: i64, errmsg: &str) -> Self {
        let row = CODES.iter().find(|(first, last, ..)| (*first..=*last).contains(&code));
        let (remedy, known) = row.map_or((Remedy::Report, ""), |(_, _, remedy, meaning)| (*remedy, *meaning));
        let address = matches!(code, 40_164 | 61_004).then(|| address_in(errmsg)).flatten();
        let meaning = match (known, address) {
            ("", _) => scrubbed(errmsg),
            (NOT_ALLOWED, Some(address)) => format!(
                "{address}, the address WeChat sees this machine under, is not in the IP allowlist: add it to IP白名单 of \
                 基本配置 in WeChat's console"
            ),
            (NOT_ALLOWED, None) => format!("{known}: add it to IP白名单 of 基本配置 in WeChat's console"),
            _ => match who_may(path).filter(|_| code == 48_001) {
                Some(who) => format!("{known}, only {who} may"),
                None => known.to_owned(),
            },
        };
        Self {
            path,
            code,
            remedy,
            address,
            rid: rid_in(errmsg),
            meaning,
        }
    }
}

/// Who may call `path`, if not everybody.
fn who_may(path: &str) -> Option<&'static str> {
    let entry = WHO_MAY.iter().find(|(begin, _)| path.starts_with(begin));
    entry.map(|(_, who)| *who)
}

/// Whether the meaning of `code` is known here: what may become a metric's label.
pub(super) fn is_known(code: i64) -> bool {
    CODES.iter().any(|(first, last, ..)| (*first..=*last).contains(&code))
}

/// The first address in `text`.
fn address_in(text: &str) -> Option<IpAddr> {
    let is_part = |c: char| c.is_ascii_hexdigit() || matches!(c, '.' | ':');
    text.split(|c| !is_part(c))
        .find_map(|word| word.trim_end_matches(['.', ':']).parse().ok())
}

/// What follows `rid:`.
fn rid_in(text: &str) -> Option<String> {
    let (_, rest) = text.rsplit_once("rid:")?;
    let is_part = |c: &char| c.is_ascii_hexdigit() || *c == '-';
    let rid: String = rest.trim_start().chars().take_while(is_part).take(40).collect();
    (!rid.is_empty()).then_some(rid)
}

/// `text` as it may be shown: short, in one line, without its rid and without any word so long that it could be a token,
/// a secret or an openid.
pub(super) fn scrubbed(text: &str) -> String {
    /// Secrets have 32 characters and openids 28, names of errors fewer than 20.
    const LONGEST_WORD: usize = 19;
    const LONGEST_TEXT: usize = 160;
    let text = text.rsplit_once("rid:").map_or(text, |(before, _)| before);
    let mut shown = String::new();
    let mut word = String::new();
    for c in text.chars().take(4 * LONGEST_TEXT).chain(['\0']) {
        if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') {
            word.push(c);
            continue;
        }
        shown.push_str(if word.len() > LONGEST_WORD { "…" } else { &word });
        word.clear();
        shown.push(if c.is_control() { ' ' } else { c });
    }
    let shown: String = shown.trim().chars().take(LONGEST_TEXT).collect();
    if shown.is_empty() {
        "it gave no reason".to_owned()
    } else {
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEND: &str = "/cgi-bin/message/custom/send";

    #[test]
    fn an_address_that_is_not_allowed_is_named() {
        let errmsg = "invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist rid: 5f2a-1b-3c";
        let refusal = Refusal::new("/cgi-bin/stable_token", 40_164, errmsg);
        assert_eq!(refusal.address, Some("203.0.113.7".parse().unwrap()));
        assert!(refusal.to_string().contains("203.0.113.7"), "{refusal}");
        assert!(refusal.to_string().ends_with("(rid 5f2a-1b-3c)"), "{refusal}");
        let refusal = Refusal::new(
            "/cgi-bin/stable_token",
            40_164,
            "invalid ip 2001:db8::1, not in whitelist",
        );
        assert_eq!(refusal.address, Some("2001:db8::1".parse().unwrap()));
        assert!(Refusal::new(SEND, 40_164, "no").to_string().contains("白名单"));
    }

    #[test]
    fn what_an_account_may_not_do_says_who_may() {
        let refusal = Refusal::new(SEND, 48_001, "api unauthorized");
        assert!(refusal.to_string().contains("only a verified account"), "{refusal}");
        assert_eq!(refusal.remedy, Remedy::SwitchOff);
        let menu = Refusal::new("/cgi-bin/menu/create", 48_001, "api unauthorized");
        assert!(menu.to_string().contains("未认证订阅号"), "{menu}");
        let token = Refusal::new("/cgi-bin/stable_token", 48_001, "api unauthorized");
        assert!(token.to_string().ends_with("may not call it"), "{token}");
    }

    #[test]
    fn unknown_words_of_wechat_are_shown_without_secrets() {
        let errmsg =
            "bad thing\n with oCanaryOpenid00000000000001 and token=0123456789abcdef0123456789abcdef! rid: 1-2";
        let refusal = Refusal::new(SEND, 99_999, errmsg);
        assert_eq!(
            refusal.to_string(),
            "WeChat refused /cgi-bin/message/custom/send with 99999: bad thing  with … and token=…! (rid 1-2)"
        );
        assert_eq!(refusal.remedy, Remedy::Report);
        assert_eq!(Refusal::new(SEND, 99_999, " \u{7} ").meaning, "it gave no reason");
        assert!(Refusal::new(SEND, 99_999, &"字".repeat(10_000)).to_string().len() < 1_000);
    }

    #[test]
    fn only_calls_that_may_have_been_carried_out_are_doubtful() {
        let reason = || "x".to_owned();
        assert!(ApiError::Busy.had_no_effect());
        assert!(ApiError::Unreachable { reason: reason() }.had_no_effect());
        assert!(
            !ApiError::NoAnswer {
                path: SEND,
                reason: reason()
            }
            .had_no_effect()
        );
    }
}
