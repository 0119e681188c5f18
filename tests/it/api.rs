//! The JSON API of the real binary, over HTTP: who may call it, how often, from which pages, and what it says.

use crate::support::daemon::{Daemon, client, configuration, run, simulate};
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use std::fs;

const SEARCH: &str = "/api/v1/search?account=plain&q=%E7%A7%91%E5%88%9B%E6%9D%BF%E5%BC%80%E6%88%B7";

/// What the API said.
pub struct Said {
    pub status: u16,
    headers: HeaderMap,
    pub body: Value,
}

impl Said {
    fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }
}

/// One request; `headers` by name.
pub fn call(daemon: &Daemon, method: Method, path: &str, headers: &[(&str, &str)]) -> Said {
    call_with_body(daemon, method, path, headers, "")
}

/// As [`call`], with a body.
pub fn call_with_body(daemon: &Daemon, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Said {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let url = format!("http://127.0.0.1:{}{path}", daemon.port);
        let mut request = client().request(method, url).body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.unwrap();
        let body = match body.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&body).unwrap(),
        };
        Said {
            status: StatusCode::as_u16(&status),
            headers,
            body,
        }
    })
}

pub fn get(daemon: &Daemon, path: &str, key: Option<&str>) -> Said {
    let bearer = key.map(|key| format!("Bearer {key}"));
    let headers: Vec<(&str, &str)> = bearer.iter().map(|bearer| ("Authorization", bearer.as_str())).collect();
    call(daemon, Method::GET, path, &headers)
}

fn apikey(daemon: &Daemon, arguments: &[&str]) -> (Option<i32>, String) {
    let all = [&["--config", "wxfaq.toml", "apikey"], arguments].concat();
    let output = run(daemon.folder.path(), &all);
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code(), text)
}

/// Makes a key, waits until it is taken over, and returns its id and the key.
pub fn make_key(daemon: &Daemon, options: &[&str]) -> (String, String) {
    let (status, said) = apikey(daemon, &[&["add", "tests", "--json"], options].concat());
    assert_eq!(status, Some(0), "{said}");
    let made: Value = serde_json::from_str(&said).unwrap();
    let [id, key] = ["id", "key"].map(|name| made[name].as_str().unwrap().to_owned());
    daemon.wait_until("the key is known", || get(daemon, SEARCH, Some(&key)).status != 401);
    (id, key)
}

#[test]
fn a_key_opens_the_api_until_it_is_revoked() {
    let daemon = Daemon::start("[database]\npoll_ms = 100");
    let without = get(&daemon, SEARCH, None);
    assert_eq!((without.status, without.code()), (401, "unauthorized"));
    assert_eq!(without.headers["www-authenticate"], "Bearer");
    let (id, key) = make_key(&daemon, &[]);
    let found = get(&daemon, SEARCH, Some(&key));
    assert_eq!(found.status, 200);
    assert!(found.body["hits"][0]["question"].as_str().unwrap().contains("科创板"));
    let first = if key.as_bytes()[4] == b'A' { "B" } else { "A" };
    let other = format!("wxk_{first}{}", &key[5..]);
    for unknown in [&*other, "wxk_", "x", &key[1..]] {
        let refused = get(&daemon, SEARCH, Some(unknown));
        assert_eq!((refused.status, refused.code()), (401, "unauthorized"), "{unknown}");
    }

    let listed = apikey(&daemon, &["list"]).1;
    assert!(
        listed.contains(&id) && listed.contains("good") && !listed.contains(&key),
        "{listed}"
    );
    assert_eq!(apikey(&daemon, &["revoke", &id]), (Some(0), format!("{id}: revoked\n")));
    daemon.wait_until("the key is refused", || get(&daemon, SEARCH, Some(&key)).status == 401);
    assert_eq!(
        apikey(&daemon, &["revoke", &id]),
        (Some(0), format!("{id}: was revoked before\n"))
    );
    assert_eq!(apikey(&daemon, &["revoke", "k0"]).0, Some(65));
    assert!(apikey(&daemon, &["list"]).1.contains("revoked 20"));
    assert!(!daemon.log().contains(&key));
    // Not even in the database.
    for file in ["data/wxfaq.db", "data/wxfaq.db-wal"] {
        let bytes = fs::read(daemon.path(file)).unwrap_or_default();
        assert!(!bytes.windows(key.len()).any(|part| part == key.as_bytes()), "{file}");
    }
}

#[test]
fn a_key_opens_what_its_scopes_say() {
    let daemon = Daemon::start("[database]\npoll_ms = 100");
    let (_, key) = make_key(&daemon, &["--scope", "ask,feedback"]);
    let refused = get(&daemon, SEARCH, Some(&key));
    assert_eq!((refused.status, refused.code()), (403, "forbidden"));
    for wrong in [
        &["add", "x", "--scope", "everything"][..],
        &["add", "x", "--per-minute", "0"],
        &["add", " "],
    ] {
        assert_eq!(apikey(&daemon, wrong).0, Some(64), "{wrong:?}");
    }
}

#[test]
fn a_trace_is_shown_to_keys_that_may_see_it() {
    let daemon = Daemon::start("[api]\npublic = true\n[database]\npoll_ms = 100");
    let traced = format!("{SEARCH}&trace=1&top=3");
    let (_, plain) = make_key(&daemon, &[]);
    for key in [None, Some(&*plain)] {
        let refused = get(&daemon, &traced, key);
        assert_eq!((refused.status, refused.code()), (403, "forbidden"), "{key:?}");
    }
    let (_, key) = make_key(&daemon, &["--scope", "search,trace"]);
    let untraced = get(&daemon, &format!("{SEARCH}&top=3"), Some(&key)).body;
    assert!(untraced.get("trace").is_none());
    let said = get(&daemon, &traced, Some(&key)).body;
    for field in ["hits", "decision", "normalized"] {
        assert_eq!(said[field], untraced[field], "{field}");
    }
    assert_eq!(said["trace"]["candidates"].as_array().unwrap().len(), 3);
    for (hit, candidate) in said["hits"]
        .as_array()
        .unwrap()
        .iter()
        .zip(said["trace"]["candidates"].as_array().unwrap())
    {
        assert_eq!(
            (&hit["id"], &hit["score"]),
            (&candidate["id"], &candidate["confidence"])
        );
    }
    // The same object as the command's: there the entries of the channel wechat, which are the same here.
    let asked = [
        "--config",
        "wxfaq.toml",
        "ask",
        "科创板开户",
        "--account",
        "plain",
        "--trace",
        "--json",
    ];
    let mut printed: Value = serde_json::from_slice(&run(daemon.folder.path(), &asked).stdout).unwrap();
    // Neither a rule nor a category speaks in a search.
    for what in ["rule", "category"] {
        assert_eq!(
            printed.as_object_mut().unwrap().remove(what),
            Some(Value::Null),
            "{what}"
        );
    }
    let said = get(&daemon, &format!("{SEARCH}&trace=1&top=5"), Some(&key)).body;
    assert!(said["trace"] == printed, "the API's trace differs from the command's");
    assert_eq!(get(&daemon, &format!("{SEARCH}&trace=yes"), Some(&key)).status, 400);
}

#[test]
fn each_key_has_a_rate_of_its_own() {
    let daemon = Daemon::start("[database]\npoll_ms = 100");
    let (_, slow) = make_key(&daemon, &["--per-minute", "3"]);
    let (_, fast) = make_key(&daemon, &[]);
    let statuses: Vec<u16> = (0..4).map(|_| get(&daemon, SEARCH, Some(&slow)).status).collect();
    assert_eq!(statuses.last(), Some(&429), "{statuses:?}");
    let refused = get(&daemon, SEARCH, Some(&slow));
    assert_eq!(refused.code(), "too_many_requests");
    let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=20).contains(&wait), "{wait}");
    assert_eq!(get(&daemon, SEARCH, Some(&fast)).status, 200);
}

/// Has the daemon, on these settings, take this machine for a proxy.
fn believe_proxies(daemon: &Daemon, settings: &str) {
    let trusting = configuration(daemon.port, daemon.ops_port, settings);
    let trusting = trusting.replace("[server]\n", "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n");
    fs::write(daemon.path("wxfaq.toml"), trusting).unwrap();
    daemon.signal("HUP");
    daemon.wait_until("it is reloaded", || daemon.log().contains("configuration reloaded"));
}

#[test]
fn the_public_is_limited_by_address_and_follows_a_reload() {
    let daemon = Daemon::start("[api]\npublic = true\npublic_per_minute = 5\n[database]\npoll_ms = 100");
    let from = |address: &str| call(&daemon, Method::GET, SEARCH, &[("X-Forwarded-For", address)]).status;
    // Nobody is believed who is not a trusted proxy: all of this is one address.
    let statuses: Vec<u16> = (0..6).map(|n| from(&format!("203.0.113.{n}"))).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429]);
    // A key has its own rate, and one that is not known does not become the public.
    let (_, key) = make_key(&daemon, &[]);
    assert_eq!(get(&daemon, SEARCH, Some(&key)).status, 200);
    assert_eq!(get(&daemon, SEARCH, Some("wxk_unknown")).status, 401);

    believe_proxies(
        &daemon,
        "[api]\npublic = true\npublic_per_minute = 5\n[database]\npoll_ms = 100",
    );
    let statuses: Vec<u16> = (0..6).map(|n| from(&format!("203.0.113.{n}"))).collect();
    assert_eq!(statuses, [200; 6]);
    let statuses: Vec<u16> = (0..5).map(|_| from("203.0.113.1")).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 429]);

    let closed = configuration(daemon.port, daemon.ops_port, "");
    fs::write(daemon.path("wxfaq.toml"), closed).unwrap();
    daemon.signal("HUP");
    daemon.wait_until("it is closed", || get(&daemon, SEARCH, None).status == 401);
}

#[test]
fn pages_of_the_configured_origins_may_read_the_api() {
    let daemon = Daemon::start("[api]\npublic = true\ncors_origins = [\"https://m.example.com\"]");
    let asked = |method: Method, origin: &str, more: &[(&str, &str)]| {
        call(&daemon, method, SEARCH, &[&[("Origin", origin)], more].concat())
    };
    let said = asked(Method::GET, "https://m.example.com", &[]);
    assert_eq!(said.status, 200);
    assert_eq!(said.headers["access-control-allow-origin"], "https://m.example.com");
    assert_eq!(said.headers["vary"], "Origin");
    let wanted = [
        ("Access-Control-Request-Method", "GET"),
        ("Access-Control-Request-Headers", "authorization"),
    ];
    let said = asked(Method::OPTIONS, "https://m.example.com", &wanted);
    assert_eq!(said.status, 204);
    assert_eq!(
        said.headers["access-control-allow-headers"],
        "Authorization, Content-Type"
    );
    for other in ["https://m.example.com.evil.example", "http://m.example.com", "null"] {
        let said = asked(Method::GET, other, &[]);
        assert!(!said.headers.contains_key("access-control-allow-origin"), "{other}");
        let said = asked(Method::OPTIONS, other, &wanted);
        assert!(!said.headers.contains_key("access-control-allow-origin"), "{other}");
    }
    // An error can be read as well.
    let refused = call(
        &daemon,
        Method::GET,
        SEARCH,
        &[("Origin", "https://m.example.com"), ("Authorization", "Bearer x")],
    );
    assert_eq!(refused.status, 401);
    assert_eq!(refused.headers["access-control-allow-origin"], "https://m.example.com");
    let wrong = call(&daemon, Method::POST, SEARCH, &[]);
    assert_eq!((wrong.status, wrong.code()), (405, "method_not_allowed"));
}

#[test]
fn origins_are_exact() {
    let folder = tempfile::tempdir().unwrap();
    for origin in [
        "*",
        "https://m.example.com/",
        "m.example.com",
        "https://m.example.com:443",
        "https://M.example.com",
    ] {
        let more = format!("[api]\ncors_origins = [\"{origin}\"]");
        fs::write(folder.path().join("wxfaq.toml"), configuration(1, 2, &more)).unwrap();
        let output = run(folder.path(), &["--config", "wxfaq.toml", "check", "--offline"]);
        assert_eq!(output.status.code(), Some(78), "{origin}");
    }
}

/// The texts at `field` of every element of the list at `list`.
fn texts(body: &Value, list: &str, field: &str) -> Vec<String> {
    let elements = body[list].as_array().unwrap().iter();
    elements
        .map(|element| element[field].as_str().unwrap().to_owned())
        .collect()
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[test]
fn questions_are_suggested_while_typing() {
    let daemon = Daemon::start("[api]\npublic = true");
    let suggest = |typed: &str| {
        get(
            &daemon,
            &format!("/api/v1/suggest?account=plain&q={}", encoded(typed)),
            None,
        )
        .body
    };
    for typed in [
        "科创",
        "kcb",
        "kechuangban",
        "kecb",
        "科创b",
        "科创ban",
        "kechu",
        "KECHU",
        "科創",
    ] {
        let said = suggest(typed);
        assert_eq!(said["query"], typed);
        let questions = texts(&said, "suggestions", "question");
        assert!(!questions.is_empty() && questions.len() <= 8, "{typed}: {questions:?}");
        let matched = texts(&said, "suggestions", "matched");
        assert!(matched[0].contains("科创板"), "{typed}: {matched:?}");
        let ids = texts(&said, "suggestions", "id");
        assert!(
            ids.iter()
                .all(|id| ids.iter().filter(|other| *other == id).count() == 1),
            "{ids:?}"
        );
    }
    assert!(texts(&suggest("火星移民"), "suggestions", "id").is_empty());
    let few = get(&daemon, "/api/v1/suggest?account=plain&q=k&top=2", None).body;
    assert_eq!(few["suggestions"].as_array().unwrap().len(), 2);
    for wrong in ["q=", "q=k&top=0", "q=k&top=51", "q=k&account=nobody"] {
        let refused = get(&daemon, &format!("/api/v1/suggest?account=plain&{wrong}"), None);
        assert_eq!((refused.status, refused.code()), (400, "bad_parameter"), "{wrong}");
    }
}

#[test]
fn what_followers_ask_becomes_hot_and_is_suggested_first() {
    let daemon = Daemon::start("[api]\npublic = true");
    let hot = |top: usize| {
        texts(
            &get(&daemon, &format!("/api/v1/hot?account=plain&top={top}"), None).body,
            "questions",
            "id",
        )
    };
    let suggested = || {
        texts(
            &get(&daemon, "/api/v1/suggest?account=plain&q=kcb", None).body,
            "suggestions",
            "id",
        )
    };
    let (before, first) = (hot(50), suggested());
    assert_eq!(before.len(), 50);
    assert!(first.len() > 1, "{first:?}");
    // An entry that neither list has first.
    let search = get(
        &daemon,
        &format!("/api/v1/search?account=plain&q={}", encoded("科创板涨跌幅是多少")),
        None,
    )
    .body;
    let asked = search["hits"][0]["id"].as_str().unwrap().to_owned();
    assert!(before[0] != asked && first[0] != asked);
    for openid in ["one", "two"] {
        simulate(
            &daemon,
            &["--account", "plain", "--openid", openid, "科创板涨跌幅是多少"],
        );
    }
    assert_eq!(hot(1), std::slice::from_ref(&asked));
    assert_eq!(hot(50).len(), 50);
    assert_eq!(suggested()[0], asked);
    // A search of the API is nobody's question.
    get(&daemon, SEARCH, None);
    assert_eq!(hot(1), [asked]);
}

#[test]
fn the_published_bank_can_be_read_entry_by_entry() {
    let daemon = Daemon::start("[api]\npublic = true\n[database]\npoll_ms = 100");
    fs::write(
        daemon.path("more.csv"),
        "id,question,answer,state,accounts,category\nd1,草稿问题,a,draft,,测试\nd2,别的账号,a,published,safe,测试\nd3,可见问题,看得见,published,,测试\n",
    )
    .unwrap();
    let imported = run(daemon.folder.path(), &["--config", "wxfaq.toml", "import", "more.csv"]);
    assert!(imported.status.success(), "{imported:?}");
    let question = |id: &str, account: &str| get(&daemon, &format!("/api/v1/questions/{id}?account={account}"), None);
    daemon.wait_until("the new entries are there", || question("d3", "plain").status == 200);
    let said = question("d3", "plain").body;
    assert_eq!(
        (&said["question"], &said["answer"], &said["kind"]),
        (&"可见问题".into(), &"看得见".into(), &"text".into())
    );
    for (id, account, status) in [
        ("d1", "plain", 404),
        ("d2", "plain", 404),
        ("d2", "safe", 200),
        ("none", "plain", 404),
    ] {
        assert_eq!(question(id, account).status, status, "{id} {account}");
    }
    assert_eq!(question("%FF", "plain").code(), "not_found");

    let count = |account: &str| {
        let said = get(&daemon, &format!("/api/v1/categories?account={account}"), None).body;
        let categories = said["categories"].as_array().unwrap().clone();
        let found = categories
            .into_iter()
            .find(|category| category["category"] == "测试")
            .unwrap();
        found["count"].as_u64()
    };
    assert_eq!((count("plain"), count("safe")), (Some(1), Some(2)));
}

#[test]
fn every_path_asks_for_a_key_unless_it_is_public() {
    let daemon = Daemon::start("");
    for path in ["search?q=a", "suggest?q=a", "hot", "categories", "questions/sec-001"] {
        let refused = get(&daemon, &format!("/api/v1/{path}"), None);
        assert_eq!((refused.status, refused.code()), (401, "unauthorized"), "{path}");
    }
    assert_eq!(get(&daemon, "/api/v1/nothing", None).status, 404);
}

/// One question; with a key or none, from the address a proxy names.
fn ask(daemon: &Daemon, key: Option<&str>, address: &str, session: &str) -> Said {
    let bearer = key.map(|key| format!("Bearer {key}"));
    let mut headers = vec![("X-Forwarded-For", address)];
    headers.extend(bearer.iter().map(|bearer| ("Authorization", bearer.as_str())));
    let body = serde_json::json!({ "session": session, "text": "你好", "account": "plain" });
    call_with_body(daemon, Method::POST, "/api/v1/ask", &headers, &body.to_string())
}

#[test]
fn asking_is_open_to_the_public_and_limited_by_session_and_address() {
    let settings = "[api]\npublic = true\nask_per_minute = 3\nask_address_per_minute = 5\n[database]\npoll_ms = 100";
    let daemon = Daemon::start(settings);
    believe_proxies(&daemon, settings);
    let (_, key) = make_key(&daemon, &["--scope", "ask"]);
    for (key, network) in [(None, "203.0.113"), (Some(key.as_str()), "198.51.100")] {
        let from = |n: u8| format!("{network}.{n}");
        let first = ask(&daemon, key, &from(1), "");
        assert_eq!(first.status, 200, "{}", first.body);
        let session = first.body["session"].as_str().unwrap();
        // One session from many addresses.
        let statuses: Vec<u16> = (2..6).map(|n| ask(&daemon, key, &from(n), session).status).collect();
        assert_eq!(statuses, [200, 200, 429, 429]);
        // Many sessions from one address.
        let statuses: Vec<u16> = (0..5).map(|_| ask(&daemon, key, &from(9), "").status).collect();
        assert_eq!(statuses, [200; 5]);
        let refused = ask(&daemon, key, &from(9), "");
        assert_eq!((refused.status, refused.code()), (429, "too_many_requests"));
        let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
        assert_eq!(ask(&daemon, key, &from(10), "").status, 200);
    }
    let judged = serde_json::json!({ "session": "x", "entry": "sec-001", "helpful": true, "account": "plain" });
    let feedback = call_with_body(&daemon, Method::POST, "/api/v1/feedback", &[], &judged.to_string());
    assert_eq!(feedback.status, 401, "verdicts are not for everybody");
}

#[test]
fn verdicts_are_taken_on_what_the_caller_can_see_alone() {
    let daemon = Daemon::start("[database]\npoll_ms = 100");
    let hidden = [
        r#"{"id":"other-1","question":"别的账号的问题","answer":"A","accounts":["safe"]}"#,
        r#"{"id":"draft-1","question":"还没发布的问题","answer":"A","state":"draft"}"#,
    ];
    std::fs::write(daemon.path("more.jsonl"), hidden.join("\n")).unwrap();
    let imported = run(
        daemon.folder.path(),
        &["--config", "wxfaq.toml", "import", "more.jsonl"],
    );
    assert!(imported.status.success(), "{imported:?}");
    let (_, key) = make_key(&daemon, &["--scope", "ask", "--scope", "feedback"]);
    let first = ask(&daemon, Some(&key), "203.0.113.1", "");
    let session = first.body["session"].as_str().unwrap();
    let judge = |account: &str, entry: &str| {
        let words = serde_json::json!({ "session": session, "entry": entry, "helpful": false, "account": account });
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", bearer.as_str())];
        call_with_body(&daemon, Method::POST, "/api/v1/feedback", &headers, &words.to_string()).status
    };
    daemon.wait_until("the entry is there for its account", || judge("safe", "other-1") == 200);
    assert_eq!(judge("plain", "sec-001"), 200);
    for entry in ["other-1", "draft-1", "nobody-1"] {
        assert_eq!(judge("plain", entry), 400, "{entry}");
    }
}
