//! What each API answers.

use super::ledger::{Contact, Ledger, Ledgers, Sent, TokenKind, TokenState};
use super::{Failure, Settings};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const LONGEST_TEXT: usize = 2_048;

/// A request.
pub(super) struct Asked<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub query: &'a BTreeMap<String, String>,
    pub content_type: &'a str,
    pub body: &'a [u8],
}

impl Asked<'_> {
    fn parameter(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }
}

/// What goes back.
pub(super) enum Answer {
    Json(Value),
    /// The operator asked wrongly; how it is done.
    Usage(&'static str),
    Status(u16, Option<String>),
    Bytes(Vec<u8>),
    Silence,
}

impl Answer {
    pub fn ok() -> Self {
        Self::Json(json!({ "errcode": 0, "errmsg": "ok" }))
    }

    pub fn usage(text: &'static str) -> Self {
        Self::Usage(text)
    }

    pub fn of_failure(failure: Failure) -> Self {
        match failure {
            Failure::Code(code, errmsg) => Self::Json(json!({ "errcode": code, "errmsg": errmsg })),
            Failure::Status(status, location) => Self::Status(status, location),
            Failure::Bytes(bytes) => Self::Bytes(bytes),
            Failure::Silence => Self::Silence,
        }
    }
}

/// An `errcode`, with WeChat's words where somebody reads them.
type Refused = i64;

/// What WeChat would say.
pub(super) fn answer(asked: &Asked<'_>, ledgers: &mut Ledgers, settings: &Settings, now: i64) -> Answer {
    let answered = match (asked.method, asked.path) {
        ("POST", "/cgi-bin/stable_token") => stable_token(asked, ledgers, settings, now),
        ("GET", "/cgi-bin/token") => classic_token(asked, ledgers, settings, now),
        _ => caller(asked, ledgers, now).and_then(|ledger| call(asked, ledger, settings, now)),
    };
    match answered {
        Ok(value) => Answer::Json(value),
        Err(code) => Answer::Json(
            json!({ "errcode": code, "errmsg": format!("{} rid: 00000000-00000000-{code:08}", words(code)) }),
        ),
    }
}

fn words(code: Refused) -> &'static str {
    match code {
        40_001 => "invalid credential, access_token is invalid or not latest",
        40_013 => "invalid appid",
        40_125 => "invalid appsecret",
        41_001 => "access_token missing",
        42_001 => "access_token expired",
        43_002 => "require POST method",
        45_009 => "reach max api daily quota limit",
        45_015 => "response out of time limit or subscription is canceled",
        45_047 => "out of response count limit",
        46_003 => "menu no exist",
        _ => "refused",
    }
}

fn check_account(settings: &Settings, appid: &str, secret: &str) -> Result<(), Refused> {
    if appid.is_empty() || secret.is_empty() {
        return Err(41_002);
    }
    match settings.accounts.iter().find(|(known, _)| known == appid) {
        None if !settings.accounts.is_empty() => Err(40_013),
        Some((_, known)) if known != secret => Err(40_125),
        _ => Ok(()),
    }
}

fn stable_token(asked: &Asked<'_>, ledgers: &mut Ledgers, settings: &Settings, now: i64) -> Result<Value, Refused> {
    let body = body(asked)?;
    let text = |name: &str| body[name].as_str().unwrap_or_default();
    if text("grant_type") != "client_credential" {
        return Err(40_002);
    }
    check_account(settings, text("appid"), text("secret"))?;
    let ledger = ledgers.of(text("appid"));
    count(asked.path, ledger, now)?;
    let is_forced = body["force_refresh"] == json!(true);
    let (access_token, expires_in) = ledger.token(TokenKind::Stable, is_forced, now);
    Ok(json!({ "access_token": access_token, "expires_in": expires_in }))
}

fn classic_token(asked: &Asked<'_>, ledgers: &mut Ledgers, settings: &Settings, now: i64) -> Result<Value, Refused> {
    let appid = asked.parameter("appid");
    check_account(settings, appid, asked.parameter("secret"))?;
    let ledger = ledgers.of(appid);
    count(asked.path, ledger, now)?;
    let (access_token, expires_in) = ledger.token(TokenKind::Classic, false, now);
    Ok(json!({ "access_token": access_token, "expires_in": expires_in }))
}

/// The account that calls, by its token.
fn caller<'a>(asked: &Asked<'_>, ledgers: &'a mut Ledgers, now: i64) -> Result<&'a mut Ledger, Refused> {
    match asked.parameter("access_token") {
        "" => Err(41_001),
        token => ledgers.of_token(token, now).map_err(|state| match state {
            TokenState::Expired => 42_001,
            TokenState::Unknown | TokenState::Good => 40_001,
        }),
    }
}

fn count(path: &str, ledger: &mut Ledger, now: i64) -> Result<(), Refused> {
    if ledger.count(path, now) { Ok(()) } else { Err(45_009) }
}

/// The JSON body, which holds no `\u` escapes.
fn body(asked: &Asked<'_>) -> Result<Value, Refused> {
    if asked.body.is_empty() {
        return Err(44_002);
    }
    if asked.body.windows(2).any(|pair| pair == b"\\u") {
        return Err(40_033);
    }
    serde_json::from_slice(asked.body).map_err(|_| 47_001)
}

fn done() -> Value {
    json!({ "errcode": 0, "errmsg": "ok" })
}

fn call(asked: &Asked<'_>, ledger: &mut Ledger, settings: &Settings, now: i64) -> Result<Value, Refused> {
    if asked.path != "/cgi-bin/clear_quota" {
        count(asked.path, ledger, now)?;
    }
    match (asked.method, asked.path) {
        ("POST", "/cgi-bin/message/custom/send") => send(&body(asked)?, ledger, settings, now),
        ("POST", "/cgi-bin/message/custom/typing") => typing(&body(asked)?, ledger, settings, now),
        ("POST", "/cgi-bin/message/template/send") => template(&body(asked)?, ledger, now),
        ("POST", "/cgi-bin/media/upload") => upload(asked, ledger, now),
        ("POST", "/cgi-bin/qrcode/create") => qr_code(&body(asked)?),
        ("GET", "/cgi-bin/user/info") => user_info(asked.parameter("openid"), ledger, now),
        ("GET", "/cgi-bin/getcallbackip") => Ok(json!({ "ip_list": ["127.0.0.1", "101.226.103.0/25"] })),
        ("GET", "/cgi-bin/get_api_domain_ip") => Ok(json!({ "ip_list": ["127.0.0.1"] })),
        ("GET", "/cgi-bin/get_current_autoreply_info") => Ok(auto_replies()),
        ("GET", "/cgi-bin/customservice/getonlinekflist") => Ok(json!({ "kf_online_list": [] })),
        ("POST", "/customservice/kfsession/create" | "/customservice/kfsession/close") => Err(65_400),
        ("GET", "/customservice/kfsession/getsession") => Ok(json!({ "kf_account": "", "createtime": 0 })),
        ("GET", "/customservice/kfsession/getwaitcase") => Ok(json!({ "count": 0, "waitcaselist": [] })),
        ("POST", "/cgi-bin/openapi/quota/get") => {
            let body = body(asked)?;
            let path = body["cgi_path"]
                .as_str()
                .filter(|path| path.starts_with('/'))
                .ok_or(76_021)?;
            let (limit, used) = (ledger.limit_of(path), ledger.used(path, now));
            let quota = json!({ "daily_limit": limit, "used": used, "remain": limit.saturating_sub(used) });
            Ok(json!({ "errcode": 0, "errmsg": "ok", "quota": quota }))
        }
        ("POST", "/cgi-bin/clear_quota") => {
            ledger.clear_quota();
            Ok(done())
        }
        (method, path) if path.starts_with("/cgi-bin/menu/") || path == "/cgi-bin/get_current_selfmenu_info" => {
            menu(method, path, asked, ledger)
        }
        _ => Err(40_066),
    }
}

/// What each kind of message must hold; media ids among them must have been uploaded.
const MESSAGES: &[(&str, &[&str])] = &[
    ("text", &["content"]),
    ("image", &["media_id"]),
    ("voice", &["media_id"]),
    ("video", &["media_id"]),
    ("music", &["musicurl", "thumb_media_id"]),
    ("news", &[]),
    ("mpnews", &["media_id"]),
    ("mpnewsarticle", &["article_id"]),
    ("msgmenu", &["head_content"]),
    ("wxcard", &["card_id"]),
    ("miniprogrampage", &["title", "appid", "pagepath", "thumb_media_id"]),
];

fn send(body: &Value, ledger: &mut Ledger, settings: &Settings, now: i64) -> Result<Value, Refused> {
    let openid = openid(body)?;
    let kind = body["msgtype"].as_str().unwrap_or_default();
    let (kind, needed) = MESSAGES.iter().find(|(name, _)| *name == kind).ok_or(40_008)?;
    let message = &body[*kind];
    for field in *needed {
        let text = message[*field].as_str().unwrap_or_default();
        if text.is_empty() {
            return Err(44_004);
        }
        // Permanent media are not known here.
        if field.ends_with("media_id") && *kind != "mpnews" && !ledger.has_media(text, now) {
            return Err(40_007);
        }
    }
    let has_all = |item: &Value, fields: &[&str]| {
        let is_there = |field: &&str| item[*field].as_str().is_some_and(|text| !text.is_empty());
        fields.iter().all(is_there)
    };
    match *kind {
        "video" if !message["thumb_media_id"].is_null() => {
            let thumb = message["thumb_media_id"].as_str().unwrap_or_default();
            if !ledger.has_media(thumb, now) {
                return Err(40_007);
            }
        }
        "msgmenu" => {
            let lines = message["list"].as_array().map_or(&[][..], Vec::as_slice);
            if lines.is_empty() || !lines.iter().all(|line| has_all(line, &["id", "content"])) {
                return Err(44_004);
            }
        }
        "text" if message["content"].as_str().map_or(0, str::len) > LONGEST_TEXT => return Err(45_002),
        "news" => match message["articles"].as_array().map(Vec::len) {
            Some(1) if !has_all(&message["articles"][0], &["title", "url"]) => return Err(44_003),
            Some(1) => {}
            Some(0) | None => return Err(44_003),
            Some(_) => return Err(45_008),
        },
        _ => {}
    }
    greet(openid, ledger, settings, now);
    ledger.take_message(openid, now)?;
    ledger.note_sent(Sent {
        appid: ledger.appid.clone(),
        at: now,
        openid: openid.to_owned(),
        kind: (*kind).to_owned(),
        message: message.clone(),
        kf_account: body["customservice"]["kf_account"].as_str().map(str::to_owned),
    });
    Ok(done())
}

fn greet(openid: &str, ledger: &mut Ledger, settings: &Settings, now: i64) {
    if settings.welcomes_strangers && !ledger.knows(openid) {
        ledger.contact(openid, Contact::Message, now);
    }
}

fn openid(body: &Value) -> Result<&str, Refused> {
    let openid = body["touser"].as_str().unwrap_or_default();
    match openid.len() {
        0 => Err(41_009),
        1..=64 if openid.is_ascii() => Ok(openid),
        _ => Err(40_003),
    }
}

fn typing(body: &Value, ledger: &mut Ledger, settings: &Settings, now: i64) -> Result<Value, Refused> {
    let openid = openid(body)?;
    greet(openid, ledger, settings, now);
    let is_shown = match body["command"].as_str() {
        Some("Typing") => true,
        Some("CancelTyping") => false,
        _ => return Err(45_072),
    };
    ledger.type_to(openid, is_shown, now).map(|()| done())
}

fn template(body: &Value, ledger: &mut Ledger, now: i64) -> Result<Value, Refused> {
    let openid = openid(body)?;
    if body["template_id"].as_str().is_none_or(str::is_empty) {
        return Err(40_037);
    }
    if !body["data"].is_object() {
        return Err(47_003);
    }
    ledger.note_sent(Sent {
        appid: ledger.appid.clone(),
        at: now,
        openid: openid.to_owned(),
        kind: "template".to_owned(),
        message: body.clone(),
        kf_account: None,
    });
    Ok(json!({ "errcode": 0, "errmsg": "ok", "msgid": ledger.next_id() }))
}

fn upload(asked: &Asked<'_>, ledger: &mut Ledger, now: i64) -> Result<Value, Refused> {
    let kind = asked.parameter("type");
    let most = match kind {
        "image" | "video" => 10 * 1024 * 1024,
        "voice" => 2 * 1024 * 1024,
        "thumb" => 64 * 1024,
        _ => return Err(40_004),
    };
    let boundary = asked
        .content_type
        .strip_prefix("multipart/form-data; boundary=")
        .ok_or(41_005)?;
    let file = part(asked.body, boundary).ok_or(41_005)?;
    match file.len() {
        0 => return Err(44_001),
        size if size > most => return Err(40_009),
        _ => {}
    }
    let id = ledger.add_media(now);
    let name = if kind == "thumb" { "thumb_media_id" } else { "media_id" };
    Ok(json!({ "type": kind, name: id, "created_at": now }))
}

/// The bytes of the form's field `media`, which must have a file name and a content type.
fn part<'a>(body: &'a [u8], boundary: &str) -> Option<&'a [u8]> {
    let find = |text: &[u8], within: &[u8]| within.windows(text.len()).position(|part| part == text);
    let body = body.strip_prefix(format!("--{boundary}\r\n").as_bytes())?;
    let end = find(format!("\r\n--{boundary}--").as_bytes(), body)?;
    let begin = find(b"\r\n\r\n", body)?;
    let head = std::str::from_utf8(&body[..begin]).ok()?.to_lowercase();
    let is_file = ["name=\"media\"", "filename=\"", "content-type:"]
        .iter()
        .all(|needed| head.contains(needed));
    body.get(begin + 4..end).filter(|_| is_file)
}

fn qr_code(body: &Value) -> Result<Value, Refused> {
    let scene = &body["action_info"]["scene"];
    let seconds = body["expire_seconds"].as_i64().unwrap_or(30);
    let is_fine = match body["action_name"].as_str() {
        Some("QR_SCENE") => scene["scene_id"].as_u64().is_some_and(|id| id > 0) && (1..=2_592_000).contains(&seconds),
        Some("QR_STR_SCENE") => is_scene(scene) && (1..=2_592_000).contains(&seconds),
        Some("QR_LIMIT_SCENE") => scene["scene_id"].as_u64().is_some_and(|id| (1..=100_000).contains(&id)),
        Some("QR_LIMIT_STR_SCENE") => is_scene(scene),
        _ => false,
    };
    if !is_fine {
        return Err(40_053);
    }
    let mut answer = json!({ "ticket": "gQFake+Ticket/==", "url": "http://weixin.qq.com/q/fake" });
    if body["action_name"].as_str().is_some_and(|name| !name.contains("LIMIT")) {
        answer["expire_seconds"] = json!(seconds);
    }
    Ok(answer)
}

fn is_scene(scene: &Value) -> bool {
    scene["scene_str"]
        .as_str()
        .is_some_and(|text| (1..=64).contains(&text.chars().count()))
}

fn user_info(openid: &str, ledger: &Ledger, now: i64) -> Result<Value, Refused> {
    match openid {
        "" => Err(41_009),
        openid if !ledger.knows(openid) => Ok(json!({ "subscribe": 0, "openid": openid })),
        openid => Ok(json!({
            "subscribe": 1, "openid": openid, "language": "zh_CN", "subscribe_time": now - 60, "remark": "",
            "groupid": 0, "tagid_list": [], "subscribe_scene": "ADD_SCENE_QR_CODE", "qr_scene": 0, "qr_scene_str": "faq"
        })),
    }
}

/// Rules as somebody has made them in the console.
fn auto_replies() -> Value {
    let text = |content: &str| json!({ "type": "text", "content": content });
    json!({
        "is_add_friend_reply_open": 1, "is_autoreply_open": 1,
        "add_friend_autoreply_info": text("谢谢关注！"),
        "message_default_autoreply_info": text("您好，稍后回复您。"),
        "keyword_autoreply_info": { "list": [
            { "rule_name": "营业时间", "create_time": 1_423_028_166, "reply_mode": "reply_all",
              "keyword_list_info": [
                { "type": "text", "match_mode": "equal", "content": "营业时间" },
                { "type": "text", "match_mode": "contain", "content": "几点开门" } ],
              "reply_list_info": [ text("周一至周五 9:00–17:00。") ] },
            { "rule_name": "海报", "create_time": 1_423_028_166, "reply_mode": "random_one",
              "keyword_list_info": [ { "type": "text", "match_mode": "contain", "content": "海报" } ],
              "reply_list_info": [ { "type": "img", "content": "FAKE_CONSOLE_MEDIA" }, text("请看海报") ] }
        ] }
    })
}

fn menu(method: &str, path: &str, asked: &Asked<'_>, ledger: &mut Ledger) -> Result<Value, Refused> {
    match (method, path) {
        ("POST", "/cgi-bin/menu/create") => {
            let body = body(asked)?;
            check_menu(&body)?;
            ledger.menu = Some(body["button"].clone());
            Ok(done())
        }
        ("GET", "/cgi-bin/menu/get") => {
            let button = ledger.menu.clone().ok_or(46_003)?;
            let mut answer = json!({ "menu": { "button": with_sub_buttons(button), "menuid": 1 } });
            let conditional: Vec<Value> = ledger
                .conditional_menus
                .iter()
                .map(|(id, menu)| {
                    let mut menu = menu.clone();
                    menu["menuid"] = json!(id);
                    menu
                })
                .collect();
            if !conditional.is_empty() {
                answer["conditionalmenu"] = json!(conditional);
            }
            Ok(answer)
        }
        ("GET", "/cgi-bin/menu/delete") => {
            ledger.menu = None;
            ledger.conditional_menus.clear();
            Ok(done())
        }
        ("POST", "/cgi-bin/menu/addconditional") => {
            let body = body(asked)?;
            check_menu(&body)?;
            if ledger.menu.is_none() {
                return Err(65_303);
            }
            if body["matchrule"].as_object().is_none_or(serde_json::Map::is_empty) {
                return Err(65_305);
            }
            let id = ledger.next_id();
            ledger.conditional_menus.push((id, body));
            Ok(json!({ "menuid": id.to_string() }))
        }
        ("POST", "/cgi-bin/menu/delconditional") => {
            let body = body(asked)?;
            let id = &body["menuid"];
            let id = id.as_u64().or_else(|| id.as_str()?.parse().ok()).ok_or(65_301)?;
            let before = ledger.conditional_menus.len();
            ledger.conditional_menus.retain(|(known, _)| *known != id);
            if ledger.conditional_menus.len() == before {
                Err(65_301)
            } else {
                Ok(done())
            }
        }
        ("POST", "/cgi-bin/menu/trymatch") => Ok(json!({ "button": ledger.menu.clone().ok_or(46_003)? })),
        ("GET", "/cgi-bin/get_current_selfmenu_info") => Ok(json!({
            "is_menu_open": u8::from(ledger.menu.is_some()),
            "selfmenu_info": { "button": ledger.menu.clone().unwrap_or_else(|| json!([])) }
        })),
        _ => Err(40_066),
    }
}

/// As WeChat gives menus back: every button has a list of those under it.
fn with_sub_buttons(mut button: Value) -> Value {
    for button in button.as_array_mut().into_iter().flatten() {
        let under = button["sub_button"].take();
        button["sub_button"] = if under.is_null() {
            json!([])
        } else {
            with_sub_buttons(under)
        };
    }
    button
}

fn check_menu(menu: &Value) -> Result<(), Refused> {
    let buttons = menu["button"].as_array().ok_or(40_016)?;
    if !(1..=3).contains(&buttons.len()) {
        return Err(40_016);
    }
    for button in buttons {
        check_button(button, [16, 40_018, 40_019, 40_020])?;
        let under = button["sub_button"].as_array().map_or(&[][..], Vec::as_slice);
        if under.len() > 5 {
            return Err(40_023);
        }
        for button in under {
            check_button(button, [60, 40_025, 40_026, 40_027])?;
        }
    }
    Ok(())
}

/// `limits`: bytes of a name, and the codes for name, key and URL.
fn check_button(button: &Value, limits: [i64; 4]) -> Result<(), Refused> {
    let [most, name, key, url] = limits;
    let length = |field: &str| {
        button[field]
            .as_str()
            .map_or(0, |text| i64::try_from(text.len()).unwrap_or(i64::MAX))
    };
    if !(1..=most).contains(&length("name")) {
        return Err(name);
    }
    match button["type"].as_str() {
        None if button["sub_button"].as_array().is_some_and(|under| !under.is_empty()) => Ok(()),
        Some("view" | "miniprogram") if !(1..=1_024).contains(&length("url")) => Err(url),
        Some("view" | "miniprogram" | "media_id" | "view_limited" | "article_id" | "article_view_limited") => Ok(()),
        Some(
            "click" | "scancode_push" | "scancode_waitmsg" | "pic_sysphoto" | "pic_photo_or_album" | "pic_weixin"
            | "location_select",
        ) if (1..=128).contains(&length("key")) => Ok(()),
        Some("click") => Err(key),
        _ => Err(40_017),
    }
}
