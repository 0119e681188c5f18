//! The protocol's vectors through HTTP: the real accept loop, router and bot, with a clock that shows what a vector says.
//!
//! What a message holds is compared at the library's surface (`vectors`); here it counts whether anybody acted on it, and
//! what the follower, or WeChat, gets to see.

use crate::support::bot::{Counted, parts};
use crate::support::vectors::{self, Vector};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use wxfaq::bot::{Bot, Clock, Parts};
use wxfaq::config::Api;
use wxfaq::store::conversations::Lifetimes;
use wxfaq::store::memory::{Bounds, MemoryConversations};
use wxfaq::web::listener::{Limits, Socket, serve};
use wxfaq::web::{Gate, Policy, Web, router};
use wxfaq::wechat::platform::{self, Answer};
use wxfaq::wechat::xml::Fields;
use wxfaq::wechat::{CredentialParts, Credentials, Mode};

/// Vectors in a format that official accounts do not use: JSON.
const OTHER_FORMATS: [&str; 1] = ["s-enc-official-json"];

/// The clock of everything in the server; seconds for the wall clock, milliseconds for lifetimes.
#[derive(Default)]
struct Hands {
    unix_seconds: AtomicI64,
    milliseconds: AtomicI64,
}

impl Clock for Hands {
    fn now(&self) -> i64 {
        self.unix_seconds.load(Ordering::Relaxed)
    }
}

/// A server with an account for each vector.
struct Door {
    address: SocketAddr,
    hands: Arc<Hands>,
    conversations: Arc<Counted<MemoryConversations>>,
    stop: CancellationToken,
}

/// A response: status, head, body.
struct Response {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Door {
    async fn open(vectors: &[Vector]) -> Self {
        let hands = Arc::new(Hands::default());
        let monotonic = hands.clone();
        let since = move || Duration::from_millis(monotonic.milliseconds.load(Ordering::Relaxed).cast_unsigned());
        let lifetimes = Lifetimes {
            lease: Duration::from_secs(5),
            signature: Duration::from_secs(615),
            record: Duration::from_secs(60),
            session: Duration::from_secs(1_800),
        };
        let memory = MemoryConversations::new(lifetimes, Bounds::default(), Arc::new(since));
        let conversations = Arc::new(Counted::new(memory));
        let bot = Bot::new(Parts {
            lease: lifetimes.lease,
            ..parts(Vec::new(), conversations.clone(), hands.clone())
        });
        let gate = |vector: &Vector| {
            let credentials = vector.credentials().ok()?;
            let gate = Gate {
                credentials,
                addresses: None,
            };
            Some((vector.id.clone(), gate))
        };
        let policy = Policy {
            timestamp_window: 300,
            api: Api {
                ask_per_minute: 1,
                ask_address_per_minute: 1,
                public: false,
                public_per_minute: 1,
                cors_origins: vec![],
            },
            trusted_proxies: vec![],
            body_timeout: Duration::from_secs(10),
        };
        let web = Web::new(bot, vectors.iter().filter_map(gate).collect(), decoy(), policy);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let limits = Limits {
            connections: 64,
            head: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            grace: Duration::from_secs(1),
        };
        let stop = CancellationToken::new();
        tokio::spawn(serve(
            Socket::own("public", listener),
            router(web),
            limits,
            stop.clone(),
        ));
        Self {
            address,
            hands,
            conversations,
            stop,
        }
    }

    /// Sends one request at `unix_seconds`; returns what came back and how many messages were acted on.
    async fn ask(&self, request: Request, unix_seconds: i64) -> (Response, usize) {
        self.hands.unix_seconds.store(unix_seconds, Ordering::Relaxed);
        let before = self.conversations.claimed();
        let address = self.address;
        let response = tokio::task::spawn_blocking(move || request.send(address))
            .await
            .unwrap();
        (response, self.conversations.claimed() - before)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn decoy() -> Gate {
    let credentials = Credentials::new(CredentialParts {
        appid: "decoy",
        mode: Mode::Plain,
        token: "nobody-has-this-token",
        previous_token: None,
        encoding_aes_key: None,
        previous_encoding_aes_key: None,
    });
    Gate {
        credentials: credentials.unwrap(),
        addresses: None,
    }
}

/// A request to the byte: clients would correct what some vectors are about.
struct Request {
    method: String,
    account: String,
    query: String,
    content_type: String,
    body: Vec<u8>,
}

impl Request {
    fn of(vector: &Vector, method: &str) -> Self {
        let or = |name, default: &str| match vector.text(name) {
            "" => default.to_owned(),
            text => text.to_owned(),
        };
        Self {
            method: or("method", method),
            account: vector.id.clone(),
            query: vector.raw_query(),
            content_type: or("content_type", "text/xml"),
            body: vector.body(),
        }
    }

    fn send(&self, address: SocketAddr) -> Response {
        self.send_part(address, self.body.len())
    }

    /// Sends `length` bytes of the body, and then nothing more.
    fn send_part(&self, address: SocketAddr, length: usize) -> Response {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let head = format!(
            "{} /wechat/{}?{} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.method,
            self.account,
            self.query,
            self.content_type,
            self.body.len()
        );
        // A server that has seen enough need not read the rest.
        let _ = stream.write_all(&[head.as_bytes(), &self.body[..length]].concat());
        if length < self.body.len() {
            stream.shutdown(Shutdown::Write).unwrap();
        }
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("{}: no response: {bytes:?}", self.account));
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let without_date = head.lines().filter(|line| !line.to_lowercase().starts_with("date:"));
        Response {
            status: head[9..12].parse().unwrap(),
            head: without_date.collect::<Vec<_>>().join("\n"),
            body: bytes[end + 4..].to_vec(),
        }
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = &self.body[..self.body.len().min(200)];
        write!(f, "{} with {:?}", self.status, String::from_utf8_lossy(start))
    }
}

impl Response {
    fn is_success(&self) -> bool {
        self.status == 200 && self.body == b"success"
    }

    /// Whether WeChat would show the follower nothing, and nobody learns anything.
    fn is_rejection(&self) -> bool {
        self.is_success() || ((400..500).contains(&self.status) && self.body.is_empty())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_vector_that_is_a_request_holds_over_http() {
    let vectors = vectors::all();
    let door = Door::open(&vectors).await;
    let mut failures = Vec::new();
    let mut checked = BTreeMap::<&str, usize>::new();
    let mut refusals = BTreeSet::new();
    for vector in &vectors {
        let outcome = match vector.kind.as_str() {
            "verify_get" => verification(&door, vector).await,
            "plain_message" | "compat_message" | "encrypted_message" => message(&door, vector, &mut refusals).await,
            "method" => method(&door, vector).await,
            "sequence" => sequence(&door, vector).await,
            _ => continue,
        };
        *checked.entry(&vector.kind).or_default() += 1;
        if let Err(failure) = outcome {
            failures.push(format!("{} ({}): {failure}", vector.id, vector.kind));
        }
    }
    println!(
        "vectors over HTTP: checked {} ({checked:?})",
        checked.values().sum::<usize>()
    );
    assert!(failures.is_empty(), "{} fail:\n{}", failures.len(), failures.join("\n"));
    assert!(checked.len() >= 6, "only {checked:?}");
    assert_eq!(refusals.len(), 1, "refusals must not differ: {refusals:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_with_a_post_the_refusal_is_the_same() {
    let vectors = vectors::all();
    let signed = |vector: &&Vector| vector.kind == "plain_message" && !vector.allows_rejection();
    let signed = vectors.iter().find(signed).unwrap();
    let door = Door::open(&vectors).await;
    door.hands.unix_seconds.store(signed.now(), Ordering::Relaxed);
    let unsigned = |account: &str| Request {
        account: account.into(),
        query: String::new(),
        ..Request::of(signed, "POST")
    };
    let (whole, half) = (signed.body().len(), signed.body().len() / 2);
    let requests = [
        (unsigned("nobody"), whole),
        (unsigned("%ff"), whole),
        (unsigned(&signed.id), whole),
        (unsigned("nobody"), half),
        (Request::of(signed, "POST"), half),
    ];
    let mut refusals = BTreeSet::new();
    for (request, length) in requests {
        let address = door.address;
        let send = tokio::task::spawn_blocking(move || request.send_part(address, length));
        let response = send.await.unwrap();
        refusals.insert((response.status, response.head, response.body));
    }
    assert_eq!(refusals.len(), 1, "{refusals:#?}");
    assert_eq!(refusals.first().unwrap().0, 403);
    let large = |request: Request| Request {
        body: vec![b'x'; 64 * 1024 + 1],
        ..request
    };
    for request in [large(unsigned("nobody")), large(Request::of(signed, "POST"))] {
        assert_eq!(door.ask(request, signed.now()).await.0.status, 413);
    }
}

async fn verification(door: &Door, vector: &Vector) -> Result<(), String> {
    let (response, acted) = door.ask(Request::of(vector, "GET"), vector.now()).await;
    if acted != 0 {
        return Err("acted on".into());
    }
    let mut echoes = vector.alternatives().iter().filter_map(|one| one["echo"].as_str());
    if response.status == 200 && echoes.any(|echo| response.body == echo.as_bytes()) {
        return Ok(());
    }
    match vector.allows_rejection() && response.is_rejection() {
        true => Ok(()),
        false => Err(format!("{response:?}")),
    }
}

async fn message(door: &Door, vector: &Vector, refusals: &mut BTreeSet<String>) -> Result<(), String> {
    let (response, acted) = door.ask(Request::of(vector, "POST"), vector.now()).await;
    if response.status == 403 {
        refusals.insert(response.head.clone());
    }
    if OTHER_FORMATS.contains(&vector.id.as_str()) {
        return if acted == 0 && response.is_rejection() {
            Ok(())
        } else {
            Err(format!("{response:?}"))
        };
    }
    match acted {
        0 if vector.allows_rejection() && response.is_rejection() => Ok(()),
        1 if vector.allows_acceptance() => reply(vector, &response),
        _ => Err(format!("acted on {acted} times: {response:?}")),
    }
}

/// What a follower gets is for that follower, sealed as the message was.
fn reply(vector: &Vector, response: &Response) -> Result<(), String> {
    let key = vector.encoding_aes_key();
    let opened = [key, vector.previous_encoding_aes_key()].into_iter().filter_map(|key| {
        let parts = CredentialParts {
            appid: vector.appid(),
            mode: vector.mode(),
            token: vector.token(),
            previous_token: None,
            encoding_aes_key: key,
            previous_encoding_aes_key: None,
        };
        let credentials = Credentials::new(parts).ok()?;
        platform::open_reply(&credentials, &response.body).ok()
    });
    let xml = match opened.into_iter().next() {
        Some(Answer::Silence) => return Ok(()),
        Some(Answer::Reply(xml)) if response.status == 200 => xml,
        _ => return Err(format!("WeChat cannot read {response:?}")),
    };
    let fields = Fields::parse(xml.as_bytes()).map_err(|error| error.to_string())?;
    let to = fields.text("ToUserName").ok().flatten();
    let alternatives = vector.alternatives().iter();
    let mut senders = alternatives
        .filter_map(|one| one["fields"]["FromUserName"].as_str())
        .peekable();
    if senders.peek().is_some() && !senders.any(|sender| to == Some(sender)) {
        return Err(format!("addressed to {to:?}"));
    }
    Ok(())
}

async fn method(door: &Door, vector: &Vector) -> Result<(), String> {
    let (response, acted) = door.ask(Request::of(vector, "POST"), vector.now()).await;
    match (response.status, acted) {
        (405, 0) => Ok(()),
        _ => Err(format!("acted on {acted} times: {response:?}")),
    }
}

async fn sequence(door: &Door, vector: &Vector) -> Result<(), String> {
    let steps = vector.rest["steps"].as_array().unwrap();
    let mut acted = 0;
    let mut replies = Vec::new();
    for step in steps {
        let text = |name: &str| step[name].as_str().unwrap_or_default();
        let request = Request {
            method: "POST".into(),
            account: vector.id.clone(),
            query: format!(
                "signature={}&timestamp={}&nonce={}",
                text("signature"),
                text("timestamp"),
                text("nonce")
            ),
            content_type: "text/xml".into(),
            body: text("body").into(),
        };
        door.hands
            .milliseconds
            .store(step["at_ms"].as_i64().unwrap(), Ordering::Relaxed);
        let (response, newly) = door.ask(request, text("timestamp").parse().unwrap()).await;
        acted += newly;
        replies.push((text("body").to_owned(), response.status, response.body));
    }
    if vector.expected["handler_runs"] != acted {
        return Err(format!("acted on {acted} times"));
    }
    for (body, status, reply) in &replies {
        let of_this_message = replies.iter().filter(|(other, ..)| other == body);
        if *status != 200 || of_this_message.clone().any(|(_, _, other)| other != reply) {
            return Err(format!("a repeat got another reply: {replies:?}"));
        }
    }
    Ok(())
}
