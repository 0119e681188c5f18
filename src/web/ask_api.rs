//! `POST /api/v1/ask` and `POST /api/v1/feedback`: the conversation of WeChat for pages, apps and mini-programs.
//!
//! What a follower would tap comes as `choices`; the numbers are typed as in WeChat. The server makes the session's id.

use super::description::Refusals;
use super::keys::Caller;
use super::{ApiError, Web};
use crate::bank::{Entry, EntryId};
use crate::bot::{Conversed, Words};
use crate::dialog::Verdict;
use crate::dialog::link::without_taps;
use crate::wechat::Reply;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::{Extension, Json};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;
use utoipa::ToSchema;

/// Longest body, in bytes.
const MAX_BODY_BYTES: usize = 16 * 1024;
/// Longest text, in characters; WeChat's own are shorter.
const MAX_TEXT_CHARS: usize = 500;

/// What is asked.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Question {
    /// As the answer before had it; absent or empty: a new one.
    #[serde(default)]
    session: String,
    text: String,
    /// Default: the only one.
    #[serde(default)]
    account: String,
}

/// What is thought of an answer.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Judgement {
    session: String,
    /// The entry that was answered with.
    entry: String,
    helpful: bool,
    /// What was wrong; may be left out.
    #[serde(default)]
    text: String,
    #[serde(default)]
    account: String,
}

/// The answer to a question.
#[derive(Serialize, ToSchema)]
#[schema(as = Answer)]
pub struct AskBody {
    /// Goes with the next text.
    session: String,
    /// What the text got: `answer`, `suggest` (a list), `choice` (from a list), `more` (the next part), `none` (the bank does not
    /// know), `rule`, `refused` (a sensitive word), `human`, `feedback` (thanks for a verdict), `hint` (how to go on), `source`
    /// and `late` (from a slow source, in time or after it), `searching` (still being looked for).
    decision: &'static str,
    /// `kind` and, by kind, `text` or WeChat's field names.
    reply: Value,
    /// The entry of a direct answer or a choice, as feedback names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    entry: Option<EntryId>,
    /// What the reply lists, by number.
    choices: Vec<ChoiceBody>,
    /// Whether 更多 goes on.
    more: bool,
}

/// The answer to a verdict.
#[derive(Serialize, ToSchema)]
#[schema(as = Thanks)]
pub struct ThanksBody {
    session: String,
    /// As of an answer.
    reply: Value,
}

/// What can be chosen by number, or by its question.
#[derive(Serialize, ToSchema)]
#[schema(as = Choice)]
struct ChoiceBody {
    n: usize,
    #[schema(value_type = String)]
    id: EntryId,
    question: String,
}

/// One turn of the conversation of WeChat: numbers, 更多, 人工 and verdicts are understood as there.
///
/// `decision` says what happened; `searching`: the answer is still being looked for, and comes with the session's next text.
/// Where the API is open to the public no key is needed. One session, and one address with a key or without, may ask so
/// often a minute (`[api] ask_per_minute`, `ask_address_per_minute`).
#[utoipa::path(
    post,
    path = "/api/v1/ask",
    request_body = Question,
    responses((status = 200, description = "the reply, with the session to go on in", body = AskBody), Refusals),
    security(("key" = ["ask"]))
)]
pub async fn ask(
    State(web): State<Arc<Web>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<AskBody>, ApiError> {
    let question: Question = body(&web, request.into_body()).await?;
    let text = question.text.trim();
    if !(1..=MAX_TEXT_CHARS).contains(&text.chars().count()) {
        return Err(refused("text", format!("1–{MAX_TEXT_CHARS} characters are accepted")));
    }
    let account = account(&web, &question.account)?;
    let session = match question.session.as_str() {
        "" => web.bot.new_session(caller.id()).map_err(|_| ApiError::Overloaded)?,
        session => known(&web, &caller, session)?.to_owned(),
    };
    limit(&web, &session)?;
    let words = Words::Text(text.to_owned());
    let searching = web.clone();
    let turn = async move { searching.searches.turn().await.ok() };
    let conversed = web.bot.converse(&account, &session, words, turn).await;
    let Conversed {
        decision,
        reply,
        choices,
        more,
        entry,
    } = conversed.map_err(|_| ApiError::Overloaded)?;
    let choice = |(n, entry): (usize, Arc<Entry>)| ChoiceBody {
        n,
        id: entry.id.clone(),
        question: entry.question.clone(),
    };
    Ok(Json(AskBody {
        session,
        decision,
        reply: reply_body(&reply),
        entry,
        choices: choices.into_iter().map(choice).collect(),
        more,
    }))
}

/// Keeps what is thought of an answer.
#[utoipa::path(
    post,
    path = "/api/v1/feedback",
    request_body = Judgement,
    responses((status = 200, description = "thanks", body = ThanksBody), Refusals),
    security(("key" = ["feedback"]))
)]
pub async fn feedback(
    State(web): State<Arc<Web>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<ThanksBody>, ApiError> {
    let judgement: Judgement = body(&web, request.into_body()).await?;
    if judgement.text.chars().count() > MAX_TEXT_CHARS {
        return Err(refused(
            "text",
            format!("at most {MAX_TEXT_CHARS} characters are accepted"),
        ));
    }
    let account = account(&web, &judgement.account)?;
    let session = known(&web, &caller, &judgement.session)?;
    let entry = EntryId::parse(&judgement.entry).ok();
    let entry = entry.filter(|entry| web.bot.offers(&account, entry));
    let entry = entry.ok_or_else(|| refused("entry", "is not known"))?;
    let verdict = if judgement.helpful {
        Verdict::Useful
    } else {
        Verdict::Useless
    };
    let words = Words::Verdict(verdict, entry, judgement.text.trim().to_owned());
    limit(&web, session)?;
    let conversed = web.bot.converse(&account, session, words, async { Some(()) }).await;
    let conversed = conversed.map_err(|_| ApiError::Overloaded)?;
    Ok(Json(ThanksBody {
        session: session.to_owned(),
        reply: reply_body(&conversed.reply),
    }))
}

async fn body<T: DeserializeOwned>(web: &Web, body: Body) -> Result<T, ApiError> {
    let patience = web.policy.load().body_timeout;
    let read = tokio::time::timeout(patience, to_bytes(body, MAX_BODY_BYTES)).await;
    let bytes = read.ok().and_then(Result::ok);
    let bytes = bytes.ok_or_else(|| refused("body", format!("at most {MAX_BODY_BYTES} bytes, in time")))?;
    serde_json::from_slice(&bytes).map_err(|error| refused("body", error.to_string()))
}

/// The account of that id, or the only one.
fn account(web: &Web, id: &str) -> Result<String, ApiError> {
    let gates = web.gates.load();
    match id {
        "" if gates.len() == 1 => Ok(gates.keys().next().cloned().unwrap_or_default()),
        "" => Err(refused("account", "is needed: there are several")),
        id if gates.contains_key(id) => Ok(id.to_owned()),
        _ => Err(refused("account", "is not known")),
    }
}

/// The session, if it was made for this caller.
fn known<'a>(web: &Web, caller: &Caller, session: &'a str) -> Result<&'a str, ApiError> {
    if web.bot.is_session(caller.id(), session) {
        return Ok(session);
    }
    Err(refused(
        "session",
        "is none of this key's; leave it out to begin a new one",
    ))
}

/// One session talks as often as one person does.
fn limit(web: &Web, session: &str) -> Result<(), ApiError> {
    let most = web.policy.load().api.ask_per_minute;
    let taken = web.sessions.take(session, Instant::now(), most);
    taken.map_err(|wait| {
        metrics::counter!("wxfaq_api_refused_total", "code" => "too_many_requests").increment(1);
        ApiError::TooOften { wait }
    })
}

fn reply_body(reply: &Reply) -> Value {
    match reply {
        Reply::Text { content } => json!({ "kind": "text", "text": without_taps(content) }),
        Reply::Transfer { kf_account } => json!({ "kind": "handoff", "kf_account": kf_account }),
        other => json!(other),
    }
}

fn refused(name: &'static str, reason: impl Into<String>) -> ApiError {
    ApiError::BadParameter {
        name,
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bank::Answer;

    /// A page reads the answer of `search` and the reply of `ask` with one piece of code.
    #[test]
    fn a_reply_has_the_field_names_of_the_bank() {
        let article =
            |pic: &str| json!({ "title": "t", "description": "d", pic: "https://e.com/p.png", "url": "https://e.com" });
        let music = ["title", "description", "musicurl", "hqmusicurl", "thumb_media_id"];
        let music = json!(
            music
                .map(|name| (name, "x"))
                .into_iter()
                .collect::<std::collections::BTreeMap<_, _>>()
        );
        for (kind, answer) in [("news", json!({ "articles": [article("picurl")] })), ("music", music)] {
            let content = answer.to_string();
            let answer_of_bank = Answer::parse(kind, &content).unwrap();
            let reply = match answer_of_bank {
                Answer::News { articles } => Reply::News {
                    articles: articles
                        .into_iter()
                        .map(|article| crate::wechat::reply::NewsArticle {
                            title: article.title,
                            description: article.description,
                            pic_url: article.picurl,
                            url: article.url,
                        })
                        .collect(),
                },
                Answer::Music(music) => Reply::Music {
                    title: music.title,
                    description: music.description,
                    music_url: music.musicurl,
                    hq_music_url: music.hqmusicurl,
                    thumb_media_id: music.thumb_media_id,
                },
                other => panic!("{other:?}"),
            };
            let mut body = reply_body(&reply);
            assert_eq!(body["kind"], kind);
            body.as_object_mut().unwrap().remove("kind");
            assert_eq!(body, answer);
        }
    }
}
