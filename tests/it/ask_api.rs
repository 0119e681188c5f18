//! The conversation of pages and apps, over HTTP with the real binary.

use crate::api::make_key;
use crate::support::daemon::{Daemon, client, run};
use serde_json::{Value, json};

/// Posts JSON with a key; status and body.
fn post(daemon: &Daemon, path: &str, key: Option<&str>, body: &Value) -> (u16, Value) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let url = format!("http://127.0.0.1:{}/api/v1/{path}", daemon.port);
        let mut request = client().post(url).body(body.to_string());
        if let Some(key) = key {
            request = request.header("Authorization", format!("Bearer {key}"));
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (
            status,
            serde_json::from_slice(&response.bytes().await.unwrap()).unwrap(),
        )
    })
}

/// One page with its key and, after the first answer, its session.
struct Page<'a> {
    daemon: &'a Daemon,
    key: String,
    session: String,
}

impl Page<'_> {
    fn ask(&mut self, text: &str) -> Value {
        let body = json!({ "session": self.session, "text": text, "account": "plain" });
        let (status, answer) = post(self.daemon, "ask", Some(&self.key), &body);
        assert_eq!(status, 200, "{text}: {answer}");
        answer["session"].as_str().unwrap().clone_into(&mut self.session);
        answer
    }
}

#[test]
fn a_page_holds_the_conversation_of_wechat() {
    let daemon = Daemon::start("[database]\npoll_ms = 100");
    let (_, key) = make_key(&daemon, &["--scope", "ask,feedback"]);
    let mut page = Page {
        daemon: &daemon,
        key,
        session: String::new(),
    };
    let list = page.ask("基金赎回");
    let session = page.session.clone();
    assert!(session.len() > 40, "{session}");
    assert_eq!((&list["decision"], &list["more"]), (&"suggest".into(), &true.into()));
    let shown = list["choices"].as_array().unwrap();
    assert_eq!((shown.len(), &shown[1]["n"]), (5, &2.into()));
    let text = list["reply"]["text"].as_str().unwrap();
    assert!(
        list["reply"]["kind"] == "text" && text.contains("\n2. ") && !text.contains("weixin://"),
        "{text}"
    );

    let chosen = page.ask("２");
    assert_eq!(
        (&chosen["decision"], &chosen["entry"]),
        (&"choice".into(), &shown[1]["id"])
    );
    let more = page.ask("更多");
    assert_eq!(more["choices"][0]["n"], 6);
    assert_eq!(page.session, session, "one session");
    assert_eq!(
        page.ask("人工")["reply"],
        json!({ "kind": "handoff", "kf_account": null })
    );
    assert_eq!(page.ask("今天天气怎么样")["decision"], "none");
    let answer = page.ask("科创板开户要什么条件");
    assert_eq!(
        (&answer["decision"], &answer["entry"]),
        (&"answer".into(), &"sec-001".into())
    );

    let judged =
        json!({ "session": session, "entry": "sec-001", "helpful": false, "text": "不是我要的", "account": "plain" });
    let (status, thanked) = post(&daemon, "feedback", Some(&page.key), &judged);
    assert_eq!((status, &thanked["reply"]["kind"]), (200, &"text".into()));
    let list = || {
        let arguments = [
            "--config",
            "wxfaq.toml",
            "feedback",
            "list",
            "--entry",
            "sec-001",
            "--json",
        ];
        let output = run(daemon.folder.path(), &arguments);
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    daemon.wait_until("the comment is kept", || list()["words"][0]["comment"] == "不是我要的");
    assert_eq!(
        (&list()["entries"][0]["useless"], &list()["entries"][0]["useful"]),
        (&1.into(), &0.into())
    );
    assert!(
        list()["words"][0]["score"].as_f64().unwrap() > 0.8,
        "it is about the answer before"
    );
    let words = thanked["reply"]["text"].as_str().unwrap();
    assert!(words.starts_with("谢谢"), "nothing more is asked: {words}");
    assert_eq!(
        page.ask("明天会不会下雨")["decision"],
        "none",
        "a question, no second comment"
    );
    assert_eq!(list()["words"][0]["comment"], "不是我要的");
}

#[test]
fn a_session_belongs_to_its_key_and_cannot_be_made_up() {
    let daemon = Daemon::start("[database]\npoll_ms = 100");
    let (_, key) = make_key(&daemon, &["--scope", "ask"]);
    let (_, other) = make_key(&daemon, &["--scope", "ask"]);
    let mut page = Page {
        daemon: &daemon,
        key: key.clone(),
        session: String::new(),
    };
    page.ask("基金赎回");
    let session = page.session.clone();
    let code = |key: Option<&str>, path: &str, body: Value| {
        let (status, body) = post(&daemon, path, key, &body);
        (status, body["error"]["code"].as_str().unwrap_or_default().to_owned())
    };
    let question = |session: &str, text: &str| json!({ "session": session, "text": text, "account": "plain" });
    let bad = (400, "bad_parameter".to_owned());
    assert_eq!(code(Some(&other), "ask", question(&session, "2")), bad);
    let forged = format!("{}{}", if session.starts_with('A') { "B" } else { "A" }, &session[1..]);
    for made_up in [&*forged, "1", "..", "a b"] {
        assert_eq!(code(Some(&key), "ask", question(made_up, "2")), bad, "{made_up}");
    }
    for text in ["", "  ", &"很".repeat(501)] {
        assert_eq!(code(Some(&key), "ask", question(&session, text)), bad);
    }
    for body in [
        json!([]),
        json!({ "text": "好" }),
        json!({ "text": "好", "account": "plain", "x": 1 }),
    ] {
        assert_eq!(code(Some(&key), "ask", body.clone()), bad, "{body}");
    }
    assert_eq!(code(Some(&key), "ask", json!({ "text": "很".repeat(20_000) })), bad);
    assert_eq!(code(None, "ask", question("", "好")).0, 401);
    let judged = json!({ "session": session, "entry": "sec-001", "helpful": true, "account": "plain" });
    assert_eq!(code(Some(&key), "feedback", judged).0, 403);
    // None of it has moved the conversation.
    assert_eq!(page.ask("2")["decision"], "choice");
}

#[test]
fn choices_are_what_the_reply_has_just_shown() {
    let daemon = Daemon::start("[database]\npoll_ms = 100");
    let (_, key) = make_key(&daemon, &["--scope", "ask"]);
    let mut page = Page {
        daemon: &daemon,
        key,
        session: String::new(),
    };
    page.ask("科创板开户要什么条件");
    page.ask("今天天气怎么样");
    let help = page.ask("明天天气怎么样");
    let text = help["reply"]["text"].as_str().unwrap();
    assert!(text.contains("\n1. "), "{text}");
    let choices = help["choices"].as_array().unwrap();
    assert_eq!(
        (choices.len(), &choices[0]["n"], &choices[0]["id"]),
        (1, &1.into(), &"sec-001".into())
    );

    assert_eq!(page.ask("基金赎回")["choices"].as_array().unwrap().len(), 5);
    for aside in ["谢谢", "人工"] {
        assert_eq!(page.ask(aside)["choices"], json!([]), "{aside} shows no list");
    }
}
