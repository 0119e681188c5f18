//! The account's menu (自定义菜单): what it may be, and the calls that read and change it.
//!
//! [`Menus::parse`] reads what an operator wrote, or what WeChat gives back, and names everything WeChat would refuse;
//! [`Client::set_menus`] puts it in place. Follows 公众号开发文档 › 自定义菜单, 个性化菜单接口.

use super::client::Client;
use super::error::{ApiError, Remedy};
use super::http::Request;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::fmt;

const MOST_BUTTONS: usize = 3;
const MOST_SUB_BUTTONS: usize = 5;
/// Counted as WeChat shows them: a Chinese character is two wide, a Latin letter one.
const WIDEST_NAME: usize = 8;
const WIDEST_SUB_NAME: usize = 16;
const LONGEST_KEY: usize = 128;
const LONGEST_URL: usize = 1_024;

/// Types of buttons, with the fields each needs.
const TYPES: &[(&str, &[&str])] = &[
    ("click", &["key"]),
    ("view", &["url"]),
    ("miniprogram", &["url", "appid", "pagepath"]),
    ("scancode_push", &["key"]),
    ("scancode_waitmsg", &["key"]),
    ("pic_sysphoto", &["key"]),
    ("pic_photo_or_album", &["key"]),
    ("pic_weixin", &["key"]),
    ("location_select", &["key"]),
    ("media_id", &["media_id"]),
    ("view_limited", &["media_id"]),
    ("article_id", &["article_id"]),
    ("article_view_limited", &["article_id"]),
];

/// What a rule for a conditional menu may ask for.
const MATCH_RULES: [&str; 7] = [
    "tag_id",
    "client_platform_type",
    "sex",
    "country",
    "province",
    "city",
    "language",
];

/// Everything that is in a menu file: the menu for everybody, and menus for some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Menus {
    /// For everybody.
    pub menu: Menu,
    /// For those a rule fits; the last one that fits is shown. `None`: they are left as they are.
    pub conditional: Option<Vec<ConditionalMenu>>,
}

/// One to three buttons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Menu {
    button: Vec<Button>,
}

/// A button with its own action or with up to five others under it; holds nothing WeChat would refuse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Button {
    name: String,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    /// The fields its type needs.
    #[serde(flatten)]
    fields: Map<String, Value>,
    #[serde(rename = "sub_button", skip_serializing_if = "Vec::is_empty")]
    under: Vec<Button>,
}

/// A menu with the rule that says who sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConditionalMenu {
    #[serde(flatten)]
    menu: Menu,
    matchrule: Map<String, Value>,
}

/// What WeChat would refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MenuProblem {
    /// Such as `button[1].sub_button[0].name`, counted from 0 as programs do; empty: the whole file.
    pub place: String,
    /// What is there, and what is accepted.
    pub text: String,
}

impl fmt::Display for MenuProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place.as_str() {
            "" => f.write_str(&self.text),
            place => write!(f, "{place}: {}", self.text),
        }
    }
}

impl Menus {
    /// Reads `{"button": […], "conditionalmenu": [{"button": […], "matchrule": {…}}, …]}`, the second being optional, or
    /// what `menu/get` answers.
    ///
    /// # Errors
    /// Everything WeChat would refuse; at least one problem.
    pub fn parse(file: &Value) -> Result<Self, Vec<MenuProblem>> {
        let mut reader = Reader::default();
        let menus = reader.menus(file);
        if reader.problems.is_empty() {
            Ok(menus)
        } else {
            Err(reader.problems)
        }
    }

    /// As [`Menus::parse`] reads it.
    pub fn to_value(&self) -> Value {
        let mut value = json!(self.menu);
        if let Some(conditional) = &self.conditional {
            value["conditionalmenu"] = json!(conditional);
        }
        value
    }
}

impl Menus {
    /// The keys of buttons of type `click`, which come back in CLICK events; of all menus, in order, each once.
    pub fn click_keys(&self) -> BTreeSet<&str> {
        let conditional = self.conditional.iter().flatten().map(|conditional| &conditional.menu);
        let buttons = std::iter::once(&self.menu)
            .chain(conditional)
            .flat_map(|menu| &menu.button);
        let all = buttons.flat_map(|button| std::iter::once(button).chain(&button.under));
        let clicked = all.filter(|button| button.kind.as_deref() == Some("click"));
        clicked
            .filter_map(|button| button.fields.get("key").and_then(Value::as_str))
            .collect()
    }
}

impl Menu {
    /// How many buttons do something.
    pub fn actions(&self) -> usize {
        let all = self
            .button
            .iter()
            .flat_map(|button| std::iter::once(button).chain(&button.under));
        all.filter(|button| button.kind.is_some()).count()
    }
}

/// Goes on after a problem, so that all of them are reported at once.
#[derive(Default)]
struct Reader {
    problems: Vec<MenuProblem>,
}

impl Reader {
    fn problem(&mut self, place: &str, text: impl Into<String>) {
        self.problems.push(MenuProblem {
            place: place.to_owned(),
            text: text.into(),
        });
    }

    fn menus(&mut self, file: &Value) -> Menus {
        let empty = Map::new();
        let fields = file.as_object().unwrap_or(&empty);
        if !file.is_object() {
            self.problem("", "expected an object with `button`");
        }
        // What `menu/get` answers has the menu one step further down.
        let (menu, place) = match fields.get("menu").and_then(Value::as_object) {
            Some(menu) => (menu, "menu."),
            None => (fields, ""),
        };
        for name in fields
            .keys()
            .filter(|name| !matches!(name.as_str(), "button" | "conditionalmenu" | "menu"))
        {
            self.problem(name, "unknown; there are button and conditionalmenu");
        }
        let conditional = fields.get("conditionalmenu").map(|list| self.conditionals(list));
        Menus {
            menu: self.menu(menu, place),
            conditional,
        }
    }

    fn conditionals(&mut self, list: &Value) -> Vec<ConditionalMenu> {
        let Some(list) = list.as_array() else {
            self.problem("conditionalmenu", "expected a list");
            return Vec::new();
        };
        let mut menus = Vec::new();
        for (n, item) in list.iter().enumerate() {
            let place = format!("conditionalmenu[{n}]");
            let empty = Map::new();
            let fields = item.as_object().unwrap_or(&empty);
            let known = ["button", "matchrule", "menuid"];
            for name in fields.keys().filter(|name| !known.contains(&name.as_str())) {
                self.problem(&format!("{place}.{name}"), "unknown; there are button and matchrule");
            }
            let matchrule = self.match_rule(fields.get("matchrule"), &format!("{place}.matchrule"));
            let menu = self.menu(fields, &format!("{place}."));
            menus.push(ConditionalMenu { menu, matchrule });
        }
        menus
    }

    fn match_rule(&mut self, rule: Option<&Value>, place: &str) -> Map<String, Value> {
        let mut kept = Map::new();
        for (name, value) in rule.and_then(Value::as_object).into_iter().flatten() {
            // WeChat gives groups as `group_id` in old answers, and tags as numbers.
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                _ => String::new(),
            };
            if !MATCH_RULES.contains(&name.as_str()) {
                self.problem(
                    &format!("{place}.{name}"),
                    format!("unknown; there are {}", MATCH_RULES.join(", ")),
                );
            } else if !text.is_empty() {
                kept.insert(name.clone(), Value::String(text));
            }
        }
        if kept.is_empty() {
            self.problem(place, format!("at least one of {} is needed", MATCH_RULES.join(", ")));
        }
        kept
    }

    fn menu(&mut self, fields: &Map<String, Value>, place: &str) -> Menu {
        let place = format!("{place}button");
        let button = self.buttons(fields.get("button"), &place, MOST_BUTTONS, WIDEST_NAME);
        if button.is_empty() && self.problems.is_empty() {
            self.problem(&place, format!("1–{MOST_BUTTONS} buttons are needed"));
        }
        Menu { button }
    }

    fn buttons(&mut self, list: Option<&Value>, place: &str, most: usize, widest: usize) -> Vec<Button> {
        let Some(list) = list else { return Vec::new() };
        let Some(list) = list.as_array() else {
            self.problem(place, "expected a list of buttons");
            return Vec::new();
        };
        if list.len() > most {
            self.problem(place, format!("{} buttons; accepted: at most {most}", list.len()));
        }
        let button = |(n, item): (usize, &Value)| self.button(item, &format!("{place}[{n}]"), widest);
        list.iter().enumerate().map(button).collect()
    }

    fn button(&mut self, item: &Value, place: &str, widest: usize) -> Button {
        let empty = Map::new();
        let fields = item.as_object().unwrap_or(&empty);
        let name = self.name(fields.get("name"), &format!("{place}.name"), widest);
        let place_under = format!("{place}.sub_button");
        let under = match fields.get("sub_button") {
            // A third level would be a sub-button of a sub-button.
            Some(Value::Array(list)) if !list.is_empty() && widest == WIDEST_SUB_NAME => {
                self.problem(&place_under, "there are only two levels");
                Vec::new()
            }
            list => self.buttons(list, &place_under, MOST_SUB_BUTTONS, WIDEST_SUB_NAME),
        };
        let kind = fields.get("type").filter(|kind| **kind != json!(""));
        if !under.is_empty() {
            for field in fields
                .keys()
                .filter(|field| !matches!(field.as_str(), "name" | "sub_button"))
            {
                self.problem(
                    &format!("{place}.{field}"),
                    "a button with others under it has only a name",
                );
            }
            return Button {
                name,
                kind: None,
                fields: Map::new(),
                under,
            };
        }
        let names: Vec<&str> = TYPES.iter().map(|(name, _)| *name).collect();
        let needed = TYPES
            .iter()
            .find(|(name, _)| kind.and_then(Value::as_str) == Some(*name));
        let Some((kind, needed)) = needed else {
            let text = match kind {
                Some(kind) => format!("{kind} is no type; there are {}", names.join(", ")),
                None => format!("needed, one of {}; or sub_button", names.join(", ")),
            };
            self.problem(&format!("{place}.type"), text);
            return Button {
                name,
                kind: None,
                fields: Map::new(),
                under,
            };
        };
        let mut kept = Map::new();
        for field in *needed {
            let text = self.field(kind, field, fields.get(*field), &format!("{place}.{field}"));
            kept.insert((*field).to_owned(), Value::String(text));
        }
        for field in fields.keys().filter(|field| !kept.contains_key(*field)) {
            let is_form = matches!(field.as_str(), "name" | "type" | "sub_button");
            if !is_form && fields[field] != json!("") {
                self.problem(
                    &format!("{place}.{field}"),
                    format!("a button of type {kind} has only name, type, {}", needed.join(", ")),
                );
            }
        }
        Button {
            name,
            kind: Some((*kind).to_owned()),
            fields: kept,
            under,
        }
    }

    fn name(&mut self, name: Option<&Value>, place: &str, widest: usize) -> String {
        let name = name.and_then(Value::as_str).unwrap_or_default();
        let width: usize = name.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum();
        if name.trim().is_empty() || name.chars().any(char::is_control) {
            self.problem(place, "a name is needed, in one line");
        } else if width > widest {
            self.problem(
                place,
                format!(
                    "{name:?} is too long; accepted: {} Chinese characters, or {widest} letters",
                    widest / 2
                ),
            );
        }
        name.to_owned()
    }

    fn field(&mut self, kind: &str, field: &str, value: Option<&Value>, place: &str) -> String {
        let text = value.and_then(Value::as_str).unwrap_or_default();
        if text.trim().is_empty() {
            self.problem(place, format!("needed by a button of type {kind}"));
        } else if text.chars().any(char::is_control) {
            self.problem(place, "holds a line break or another control character");
        } else if field == "key" && text.len() > LONGEST_KEY {
            self.problem(
                place,
                format!("{} bytes; accepted: at most {LONGEST_KEY} bytes of UTF-8", text.len()),
            );
        } else if field == "url" && text.len() > LONGEST_URL {
            self.problem(
                place,
                format!("{} bytes; accepted: at most {LONGEST_URL} bytes of UTF-8", text.len()),
            );
        } else if field == "url" && !["http://", "https://"].iter().any(|scheme| text.starts_with(scheme)) {
            self.problem(place, format!("{text:?} is no http(s):// address"));
        }
        text.to_owned()
    }
}

#[derive(Deserialize)]
struct Answer {
    menu: Value,
    #[serde(default)]
    conditionalmenu: Vec<Value>,
}

impl Client {
    /// The menus made through the API, as WeChat gives them; `None`: there are none. Menus made in the console are
    /// [`Client::console_menu`]'s.
    pub async fn menus(&self) -> Result<Option<Value>, ApiError> {
        let answer: Answer = match self.call(&Request::get("/cgi-bin/menu/get")).await {
            Ok(answer) => answer,
            Err(error) if error.remedy() == Some(Remedy::TakeAsEmpty) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut menus = json!({ "button": answer.menu["button"] });
        if !answer.conditionalmenu.is_empty() {
            menus["conditionalmenu"] = Value::Array(answer.conditionalmenu);
        }
        Ok(Some(menus))
    }

    /// What followers see now, however it was made, in WeChat's own form.
    pub async fn console_menu(&self) -> Result<Value, ApiError> {
        self.call(&Request::get("/cgi-bin/get_current_selfmenu_info")).await
    }

    /// Puts `menus` in the place of those that are there; conditional ones only if it names any, or an empty list.
    ///
    /// Several calls: when one fails, those before it have taken effect, and doing it again is right.
    pub async fn set_menus(&self, menus: &Menus) -> Result<(), ApiError> {
        self.order(&Request::post("/cgi-bin/menu/create", &menus.menu)).await?;
        let Some(conditional) = &menus.conditional else {
            return Ok(());
        };
        let present = self.menus().await?.unwrap_or_default();
        let former = present["conditionalmenu"].as_array().cloned().unwrap_or_default();
        for id in former.iter().map(|menu| &menu["menuid"]).filter(|id| !id.is_null()) {
            let body = json!({ "menuid": id });
            self.order(&Request::post("/cgi-bin/menu/delconditional", &body))
                .await?;
        }
        for menu in conditional {
            self.order(&Request::post("/cgi-bin/menu/addconditional", menu)).await?;
        }
        Ok(())
    }

    /// Removes every menu, conditional ones too. There being none is no error.
    pub async fn delete_menus(&self) -> Result<(), ApiError> {
        match self.order(&Request::get("/cgi-bin/menu/delete")).await {
            Err(error) if error.remedy() == Some(Remedy::TakeAsEmpty) => Ok(()),
            other => other,
        }
    }

    /// The buttons that the follower, by openid or WeChat name, sees.
    pub async fn menu_of(&self, user_id: &str) -> Result<Value, ApiError> {
        let request = Request::post("/cgi-bin/menu/trymatch", &json!({ "user_id": user_id }));
        self.call(&request).await
    }
}

#[cfg(test)]
mod tests;
