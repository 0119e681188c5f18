//! The API's description against what the real binary serves and answers.

use crate::api::{call, make_key};
use crate::support::daemon::Daemon;
use reqwest::Method;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Checks `value` against a schema of `api`, as far as its schemas go: types, lists, named fields, references.
fn check(api: &Value, schema: &Value, value: &Value, place: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        let named = &api["components"]["schemas"][reference.rsplit('/').next().unwrap()];
        assert!(named.is_object(), "{place}: {reference} is not described");
        return check(api, named, value, place);
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => return,
    };
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let fits = types.contains(&found) || (found == "integer" && types.contains(&"number"));
    assert!(fits, "{place}: {found}, described as {types:?}");
    for (n, item) in value.as_array().into_iter().flatten().enumerate() {
        check(api, &schema["items"], item, &format!("{place}[{n}]"));
    }
    let none = Map::new();
    let Some(described) = schema["properties"].as_object().filter(|_| value.is_object()) else {
        return;
    };
    let fields = value.as_object().unwrap_or(&none);
    for (name, field) in fields {
        let schema = described.get(name);
        check(
            api,
            schema.unwrap_or_else(|| panic!("{place}.{name} is not described")),
            field,
            name,
        );
    }
    for needed in schema["required"].as_array().into_iter().flatten() {
        assert!(fields.contains_key(needed.as_str().unwrap()), "{place} lacks {needed}");
    }
}

/// The schema of a response, which must be described.
fn response<'a>(api: &'a Value, method: &str, path: &str, status: u16) -> &'a Value {
    let described = &api["paths"][path][method]["responses"][status.to_string()];
    assert!(described.is_object(), "{method} {path} does not describe {status}");
    &described["content"]["application/json"]
}

#[test]
fn every_path_is_described_and_answers_as_described() {
    let daemon = Daemon::start("[database]\npoll_ms = 100");
    let (_, key) = make_key(&daemon, &["--scope", "search,ask,feedback"]);
    let (_, search_only) = make_key(&daemon, &["--scope", "search"]);
    let (_, rare) = make_key(&daemon, &["--scope", "search,ask,feedback", "--per-minute", "1"]);
    let api = call(&daemon, Method::GET, "/api/v1/openapi.json", &[]).body;
    assert!(api["openapi"].as_str().unwrap().starts_with("3."), "{api}");
    let ask = |text: &str| json!({ "text": text, "account": "plain" }).to_string();
    let asked = call_with(&daemon, "/api/v1/ask", &key, &ask("科创板开户要什么条件"));
    let (session, entry) = (&asked.body["session"], &asked.body["entry"]);
    let verdict = json!({ "session": session, "entry": entry, "helpful": true, "account": "plain" }).to_string();
    let id = entry.as_str().unwrap();
    let one = format!("/api/v1/questions/{id}?account=plain");
    // Path, its address, its body; a query and a body that are refused.
    let calls: [(&str, &str, Option<String>, &str); 7] = [
        (
            "/api/v1/search",
            "/api/v1/search?account=plain&q=a",
            None,
            "/api/v1/search",
        ),
        (
            "/api/v1/suggest",
            "/api/v1/suggest?account=plain&q=k",
            None,
            "/api/v1/suggest",
        ),
        ("/api/v1/hot", "/api/v1/hot?account=plain", None, "/api/v1/hot?top=0"),
        (
            "/api/v1/questions/{id}",
            &one,
            None,
            "/api/v1/questions/x?account=nobody",
        ),
        (
            "/api/v1/categories",
            "/api/v1/categories?account=plain",
            None,
            "/api/v1/categories",
        ),
        ("/api/v1/ask", "/api/v1/ask", Some(ask("基金赎回")), "/api/v1/ask"),
        (
            "/api/v1/feedback",
            "/api/v1/feedback",
            Some(verdict),
            "/api/v1/feedback",
        ),
    ];
    let described: BTreeSet<&str> = api["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(described, calls.iter().map(|(path, ..)| *path).collect());
    for (path, address, body, wrong) in &calls {
        let method = if body.is_some() { "post" } else { "get" };
        let send = |address: &str, key: &str, body: Option<&str>| match body {
            Some(body) => call_with(&daemon, address, key, body),
            None => crate::api::get(&daemon, address, Some(key).filter(|key| !key.is_empty())),
        };
        let good = body.as_deref();
        let bad = good.map(|_| "{}");
        let mut answers = vec![
            (200, send(address, &key, good)),
            (400, send(wrong, &key, bad)),
            (401, send(address, "", good)),
        ];
        if good.is_some() {
            answers.push((403, send(address, &search_only, good)));
        }
        while send(address, &rare, good).status != 429 {}
        answers.push((429, send(address, &rare, good)));
        if path.ends_with("{id}") {
            answers.push((404, send("/api/v1/questions/none?account=plain", &key, None)));
        }
        for (status, answer) in answers {
            assert_eq!(answer.status, status, "{path}: {}", answer.body);
            let content = response(&api, method, path, status);
            check(&api, &content["schema"], &answer.body, path);
        }
        let operation = &api["paths"][path][method];
        let scope = operation["security"][0]["key"][0].as_str().unwrap();
        let forbidden = operation["responses"]["403"]["description"].as_str().unwrap();
        assert!(
            forbidden.ends_with(&format!("the scope {scope}")),
            "{path}: {forbidden}"
        );
        for (status, described) in api["paths"][path][method]["responses"].as_object().unwrap() {
            let content = &described["content"]["application/json"];
            assert!(content["schema"].is_object(), "{path} {status}");
            if !content["example"].is_null() {
                check(&api, &content["schema"], &content["example"], path);
            }
        }
    }
}

fn call_with(daemon: &Daemon, address: &str, key: &str, body: &str) -> crate::api::Said {
    let bearer = format!("Bearer {key}");
    let headers: &[(&str, &str)] = if key.is_empty() {
        &[]
    } else {
        &[("Authorization", &bearer)]
    };
    crate::api::call_with_body(daemon, Method::POST, address, headers, body)
}

#[tokio::test]
async fn the_page_for_people_needs_nothing_from_elsewhere_and_runs_no_script() {
    let daemon = tokio::task::spawn_blocking(|| Daemon::start("")).await.unwrap();
    let url = format!("http://127.0.0.1:{}/api/docs", daemon.port);
    let response = crate::support::daemon::client().get(url).send().await.unwrap();
    let policy = response.headers()["content-security-policy"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        policy.starts_with("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    let page = response.text().await.unwrap().replace("&#x2f;", "/");
    for path in [
        "/api/v1/search",
        "/api/v1/questions/{id}",
        "/api/v1/feedback",
        "SearchResult",
    ] {
        assert!(page.contains(path), "{path}: {page}");
    }
    for shown in [
        "name=\"viewport\"",
        "POST /api/v1/ask",
        "<code>searching</code>",
        "Choice[]",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    for raw in ["`", "null"] {
        assert!(!page.contains(raw), "{raw}: {page}");
    }
    for foreign in ["<script", "http://", "https://", "src=", "@import", "style=\""] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    // The hash is that of the style the page holds.
    let style = page.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
    let hash = <base64::engine::GeneralPurpose as base64::Engine>::encode(
        &base64::engine::general_purpose::STANDARD,
        <sha2::Sha256 as sha2::Digest>::digest(style),
    );
    assert!(policy.contains(&format!("'sha256-{hash}'")), "{policy}");
}
