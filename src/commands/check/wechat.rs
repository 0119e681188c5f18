//! What an account may do at WeChat, found out by asking once: nothing is changed, and no follower sees anything.

use super::{Finding, Verdict, finding, good, wrong};
use crate::app;
use crate::commands::Exit;
use crate::commands::menu::unanswered;
use crate::config::{Account, Config};
use crate::store::access_tokens::AccessTokens;
use crate::wechat_api::{self, ApiError, Client, Menus, Quota, Remedy, Typing};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::task::TaskTracker;

/// What an account may or may not do, and the API that tells.
const ABILITIES: [(&str, &str); 6] = [
    (MENU, "/cgi-bin/menu/create"),
    (CUSTOMER_SERVICE, "/cgi-bin/message/custom/send"),
    ("media upload", "/cgi-bin/media/upload"),
    ("follower info", "/cgi-bin/user/info"),
    ("template messages", "/cgi-bin/message/template/send"),
    ("QR codes with a scene", "/cgi-bin/qrcode/create"),
];
const MENU: &str = "menu";
const CUSTOMER_SERVICE: &str = "customer-service messages";
/// Nobody's: WeChat looks at the permission first.
const NO_OPENID: &str = "oCheckOfPermissionNoFollower";

/// For an API nobody needs.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was found out about one ability.
enum Answer {
    May(Quota),
    MayNot,
    Unknown(ApiError),
}

/// What all accounts may do.
pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let access_tokens = match app::access_tokens(config).await {
        Ok(access_tokens) => access_tokens,
        Err(error) => return vec![wrong("WeChat API", error.to_string(), Exit::from(&error))],
    };
    let (calling, passive): (Vec<_>, Vec<_>) = config
        .accounts
        .iter()
        .partition(|account| !account.app_secret.is_empty());
    let mut findings = Vec::new();
    for account in calling {
        findings.extend(check_account(config, account, access_tokens.clone()).await);
    }
    let bases: BTreeSet<&str> = passive.iter().map(|account| account.api_base.as_str()).collect();
    for base in bases {
        let of_base = passive.iter().filter(|account| account.api_base == base);
        let ids: Vec<&str> = of_base.map(|account| account.id.as_str()).collect();
        findings.push(check_passive(base, &ids.join(", ")).await);
    }
    findings
}

/// Accounts without a secret: whether a secret would be of use from here. No secret is sent.
async fn check_passive(base: &str, ids: &str) -> Finding {
    let subject = format!("WeChat API of {ids}");
    let uses = "not used without app_secret: passive replies only";
    match wechat_api::reach(base, PATIENCE).await {
        Ok(()) => good(subject, format!("{base} can be reached; {uses}")),
        // Nothing depends on it.
        Err(error) => {
            let detail = format!("{error}; {uses}");
            finding(subject, Verdict::Warning { detail })
        }
    }
}

async fn check_account(config: &Config, account: &Account, access_tokens: Arc<dyn AccessTokens>) -> Vec<Finding> {
    let subject = format!("WeChat API of {}", account.id);
    let failed = |error: &ApiError| vec![wrong(subject.clone(), error.to_string(), Exit::from(error))];
    let client = match app::wechat_client(account, access_tokens, TaskTracker::new()) {
        Ok(Some(client)) => client,
        Ok(None) => return Vec::new(),
        Err(error) => return failed(&error),
    };
    if let Err(error) = client.sign_in().await {
        return failed(&error);
    }
    let granted = good(subject, format!("{} gives an access token", account.api_base));
    let mut findings = vec![granted, permissions(&account.id, &ask(&client).await)];
    if account.check_source {
        findings.push(callback_addresses(&account.id, &client).await);
    }
    // Whether it may have one has been said.
    if let Ok(Some(menu)) = client.menus().await
        && let Ok(menus) = Menus::parse(&menu)
    {
        findings.extend(check_menu(config, &account.id, &menus).await);
    }
    findings
}

/// Whom deliveries are taken from.
async fn callback_addresses(id: &str, client: &Client) -> Finding {
    let subject = format!("callback addresses of {id}");
    match client.callback_addresses().await {
        Ok(listed) if listed.is_empty() => {
            let detail = "WeChat names none: deliveries are taken from anywhere".to_owned();
            finding(subject, Verdict::Warning { detail })
        }
        Ok(listed) => good(subject, format!("{} addresses and networks", listed.len())),
        Err(error) => wrong(subject, error.to_string(), Exit::from(&error)),
    }
}

/// What followers tap in vain.
async fn check_menu(config: &Config, id: &str, menus: &Menus) -> Vec<Finding> {
    let subject = format!("menu of {id}");
    match unanswered(config, id, menus).await {
        Ok(warnings) if warnings.is_empty() => vec![good(subject, "every key is answered")],
        Ok(warnings) => {
            let warning = |detail| finding(subject.clone(), Verdict::Warning { detail });
            warnings.into_iter().map(warning).collect()
        }
        Err(error) => vec![wrong(subject, error.to_string(), error.exit())],
    }
}

async fn ask(client: &Client) -> Vec<(&'static str, Answer)> {
    let mut answers = Vec::new();
    for (name, path) in ABILITIES {
        let mut answer = match client.quota(path).await {
            Ok(quota) => Answer::May(quota),
            Err(error) => refused(error),
        };
        // A quota may be told of what the account must not use: what can be tried without harm is tried.
        let tried = match name {
            MENU => client.menus().await.err(),
            CUSTOMER_SERVICE => client.show_typing(NO_OPENID, Typing::Hidden).await.err(),
            _ => None,
        };
        if tried.is_some_and(|error| error.remedy() == Some(Remedy::SwitchOff)) {
            answer = Answer::MayNot;
        }
        answers.push((name, answer));
    }
    answers
}

fn refused(error: ApiError) -> Answer {
    match error.remedy() {
        Some(Remedy::SwitchOff) => Answer::MayNot,
        _ => Answer::Unknown(error),
    }
}

fn permissions(id: &str, answers: &[(&str, Answer)]) -> Finding {
    let (mut may, mut may_not, mut used_up, mut unknown) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (name, answer) in answers {
        match answer {
            Answer::May(quota) if quota.remain <= 0 => used_up.push((*name).to_owned()),
            Answer::May(quota) => may.push(format!(
                "{name} ({} of {} calls left today)",
                quota.remain, quota.daily_limit
            )),
            Answer::MayNot => may_not.push((*name).to_owned()),
            Answer::Unknown(error) => unknown.push(format!("{name} ({error})")),
        }
    }
    let is_doubtful = !used_up.is_empty() || !unknown.is_empty();
    let cannot_answer_late = may_not.iter().any(|name| name == CUSTOMER_SERVICE);
    let said = [
        ("may", may),
        ("used up for today", used_up),
        ("unknown", unknown),
        ("may not", may_not),
    ];
    let mut detail = said
        .iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(word, names)| format!("{word}: {}", names.join(", ")))
        .collect::<Vec<_>>()
        .join("; ");
    if cannot_answer_late {
        detail.push_str(" (an answer after five seconds must wait for the follower's next message)");
    }
    let subject = format!("permissions of {id}");
    if is_doubtful {
        finding(subject, Verdict::Warning { detail })
    } else {
        good(subject, detail)
    }
}
