//! `wxfaq simulate`: plays WeChat against a running daemon.
//!
//! Signs, encrypts and sends as the account's mode says, and prints what the follower would see. With `--retries` the
//! same message is delivered three times, as WeChat does when no answer comes; all replies must be the same. With
//! `--script` it plays whole conversations from files and holds the replies against what the files expect; there a
//! message is delivered until it is answered, at most as often as WeChat does.

use super::script::{self, Cast, Played, Said, Script, ScriptError, Stage};
use super::{Exit, Failure, account_named};
use crate::app::{self, Missing};
use crate::bank::terminal::lines;
use crate::config::{Account, Config, Listen};
use crate::wechat::Head;
use crate::wechat::platform::{self, Answer};
use crate::wechat::xml::Fields;
use async_trait::async_trait;
use serde::Serialize;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// WeChat hangs up after five seconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// So often WeChat delivers a message that is not answered.
const DELIVERIES: usize = 3;
/// The account's original id; the daemon does not look at it.
const ORIGINAL_ID: &str = "gh_simulated0001";

/// What to send.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = script::FORMAT)]
pub struct Args {
    /// The text; with --event the event's key.
    #[arg(default_value = "")]
    pub text: String,
    /// Send this event instead of a text: subscribe, unsubscribe, CLICK, SCAN, VIEW, LOCATION, …
    #[arg(long, value_name = "EVENT")]
    pub event: Option<String>,
    /// Send a message of this kind instead: image, voice (the text is what WeChat heard), video, location, link, file.
    #[arg(long, value_name = "KIND", conflicts_with_all = ["event", "tap"])]
    pub kind: Option<String>,
    /// The text is a tapped line with this `bizmsgmenuid`.
    #[arg(long, value_name = "ID", conflicts_with = "event")]
    pub tap: Option<String>,
    /// Who sends it.
    #[arg(long, default_value = "oSimulatedFollower0000000001")]
    pub openid: String,
    /// Deliver it three times, as WeChat does when no answer comes within five seconds; the replies must be the same.
    #[arg(long)]
    pub retries: bool,
    /// Play the conversations in these files and fail when a reply is not as expected; the long help describes the form.
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["text", "event", "kind", "tap", "retries", "openid"])]
    pub script: Vec<PathBuf>,
    /// The account; may be left out when there is one.
    #[arg(long, value_name = "ID")]
    pub account: Option<String>,
    /// Where the daemon is; default: the address it listens on.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// For programs.
    #[arg(long)]
    pub json: bool,
}

/// One delivery's outcome.
#[derive(Debug, Clone, Serialize)]
struct Delivered {
    elapsed_ms: u64,
    /// Nothing came within [`PATIENCE`].
    hung_up: bool,
    /// `None`: WeChat was only told `success`, or hung up.
    reply: Option<Shown>,
}

/// What the follower sees.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Shown {
    kind: String,
    /// The text, for a text.
    text: Option<String>,
    /// The clear XML.
    xml: String,
}

/// Sends the message and prints the reply.
pub async fn run(file: Option<PathBuf>, args: Args) -> Result<Exit, Failure> {
    let config = app::configure(file, Missing::Leave)?.config;
    let account = account_named(&config, args.account.as_deref())?;
    let url = format!("{}/wechat/{}", base(&config, args.url.as_deref())?, account.id);
    let client = reqwest::Client::builder()
        .timeout(PATIENCE)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .map_err(|error| Failure::report(Exit::Unavailable, error))?;
    let mut door = Door {
        client,
        url,
        account,
        failure: None,
    };
    if !args.script.is_empty() {
        return play(&args, &mut door).await;
    }
    let xml = message(&args)?;
    let mut delivered = Vec::new();
    for _ in 0..if args.retries { DELIVERIES } else { 1 } {
        delivered.push(door.deliver_once(&xml).await?);
    }
    print(&delivered, args.json);
    let answered: Vec<_> = delivered.iter().filter(|delivery| !delivery.hung_up).collect();
    if answered.is_empty() && args.retries {
        return Err(door.unanswered());
    }
    let same = answered.windows(2).all(|pair| pair[0].reply == pair[1].reply);
    if answered.is_empty() {
        let text = "WeChat would hang up and deliver the message again: --retries plays that";
        return Err(Failure::report(Exit::Unavailable, text));
    }
    if !same {
        return Err(Failure::report(
            Exit::BadData,
            "the deliveries of one message got different replies",
        ));
    }
    Ok(Exit::Ok)
}

/// Plays every script, and shows what went otherwise than expected.
async fn play(args: &Args, door: &mut Door<'_>) -> Result<Exit, Failure> {
    let mut scripts = Vec::new();
    for path in &args.script {
        let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| Failure::report(Exit::NoInput, named(&error)))?;
        let place = |error: ScriptError| format!("{}:{}: {}", path.display(), error.line, error.reason);
        scripts.push(Script::parse(&text).map_err(|error| Failure::report(Exit::BadData, place(error)))?);
    }
    let now = now();
    let mut all = Vec::new();
    for (n, script) in scripts.iter().enumerate() {
        let cast = Cast {
            account: ORIGINAL_ID.to_owned(),
            openid: format!("oScript{:x}x{n}x", now.as_nanos()),
            now: i64::try_from(now.as_secs()).unwrap_or_default(),
        };
        all.push(script::play(script, &cast, door).await);
        if let Some(failure) = door.failure.take() {
            return Err(failure);
        }
    }
    let is_as_expected = all.iter().all(|played| played.mismatches.is_empty());
    print_played(&args.script, &all, args.json);
    Ok(if is_as_expected { Exit::Ok } else { Exit::BadData })
}

fn print_played(files: &[PathBuf], all: &[Played], json: bool) {
    if json {
        let file = |(path, played): (&PathBuf, &Played)| {
            let mut value = serde_json::json!(played);
            value["file"] = path.display().to_string().into();
            value
        };
        let files: Vec<_> = files.iter().zip(all).map(file).collect();
        return say!("{}", serde_json::to_string_pretty(&files).unwrap_or_default());
    }
    for (path, played) in files.iter().zip(all) {
        for mismatch in &played.mismatches {
            say!("{}:{}: {}", path.display(), mismatch.line, lines(&mismatch.to_string()));
        }
    }
    let sum = |count: fn(&Played) -> usize| all.iter().map(count).sum::<usize>();
    say!(
        "{} conversations, {} messages, {} not as expected",
        sum(|played| played.conversations),
        sum(|played| played.messages),
        sum(|played| played.mismatches.len())
    );
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn base(config: &Config, url: Option<&str>) -> Result<String, Failure> {
    match (url, &config.server.listen) {
        (Some(url), _) => Ok(url.trim_end_matches('/').to_owned()),
        (None, Listen::Tcp(address)) if address.ip().is_unspecified() => {
            Ok(format!("http://127.0.0.1:{}", address.port()))
        }
        (None, Listen::Tcp(address)) => Ok(format!("http://{address}")),
        (None, Listen::Unix(_)) if !config.server.public_url.is_empty() => Ok(config.server.public_url.clone()),
        (None, Listen::Unix(_)) => Err(Failure::report(
            Exit::Usage,
            "the daemon listens on a Unix socket: name the proxy in front with --url",
        )),
    }
}

/// The clear XML of what is to be sent.
fn message(args: &Args) -> Result<String, Failure> {
    let now = now();
    let head = Head {
        account: ORIGINAL_ID.to_owned(),
        openid: args.openid.clone(),
        create_time: i64::try_from(now.as_secs()).unwrap_or_default(),
    };
    // Unique among the messages of one follower, and 64 bits long as WeChat's are.
    let msg_id = (now.as_nanos() & u128::from(u64::MAX >> 1)).to_string();
    let said = match (&args.event, &args.kind) {
        (Some(event), _) => Said::Event(event.clone(), args.text.clone()),
        (None, None) => Said::Text(args.text.clone(), args.tap.clone()),
        (None, Some(kind)) => Said::of_kind(kind, &args.text)
            .ok_or_else(|| Failure::report(Exit::Usage, format!("--kind {kind}: there are {}", Said::kinds())))?,
    };
    Ok(said.xml(&head, &msg_id))
}

/// A daemon's door, as WeChat sees it.
struct Door<'a> {
    client: reqwest::Client,
    url: String,
    account: &'a Account,
    /// Why nobody answers.
    failure: Option<Failure>,
}

#[async_trait]
impl Stage for Door<'_> {
    async fn deliver(&mut self, xml: &str) -> Result<Option<String>, String> {
        match self.deliver_until_answered(xml).await {
            Ok(delivered) => Ok(delivered.reply.map(|shown| shown.xml)),
            Err(failure) => {
                let text = failure.to_string();
                if failure.exit() == Exit::Unavailable {
                    self.failure.get_or_insert(failure);
                }
                Err(text)
            }
        }
    }
}

impl Door<'_> {
    async fn deliver_until_answered(&self, xml: &str) -> Result<Delivered, Failure> {
        for _ in 0..DELIVERIES {
            let delivered = self.deliver_once(xml).await?;
            if !delivered.hung_up {
                return Ok(delivered);
            }
        }
        Err(self.unanswered())
    }

    fn unanswered(&self) -> Failure {
        let seconds = PATIENCE.as_secs();
        let text = format!(
            "{}: none of {DELIVERIES} deliveries was answered within {seconds} seconds",
            self.url
        );
        Failure::report(Exit::Unavailable, text)
    }

    async fn deliver_once(&self, xml: &str) -> Result<Delivered, Failure> {
        let Self {
            client, url, account, ..
        } = self;
        let mut random = [0; 24];
        getrandom::fill(&mut random).map_err(|error| Failure::report(Exit::Unavailable, error))?;
        let (random, nonce) = random.split_at(16);
        let nonce = u64::from_be_bytes(nonce.try_into().unwrap_or_default()).to_string();
        let timestamp = i64::try_from(now().as_secs()).unwrap_or_default();
        let random = random.try_into().unwrap_or_default();
        let request = platform::deliver(&account.credentials, xml, timestamp, &nonce, random);
        let started = Instant::now();
        let sent = client
            .post(format!("{url}?{}", request.query))
            .header("content-type", "text/xml")
            .body(request.body);
        // The address carries the signature, so the error is shown without it.
        let unreachable = |error: reqwest::Error| {
            let hint = if error.is_connect() {
                "; is `wxfaq serve` running?"
            } else {
                ""
            };
            Failure::report(
                Exit::Unavailable,
                format!("{url}: {}{hint}", super::causes(&error.without_url())),
            )
        };
        let answered = async {
            let response = sent.send().await?;
            Ok::<_, reqwest::Error>((response.status(), response.bytes().await?))
        };
        let answered = answered.await;
        let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (status, body) = match answered {
            Err(error) if error.is_timeout() && !error.is_connect() => {
                return Ok(Delivered {
                    elapsed_ms,
                    hung_up: true,
                    reply: None,
                });
            }
            answered => answered.map_err(unreachable)?,
        };
        if !status.is_success() {
            let hint = if status == 403 {
                ": Token, key, mode or clock differ from the daemon's"
            } else {
                ""
            };
            return Err(Failure::report(
                Exit::Unavailable,
                format!("{url} answered {status}{hint}"),
            ));
        }
        let faulty = |error: &dyn std::fmt::Display| {
            Failure::report(Exit::BadData, format!("WeChat would show a fault: {error}"))
        };
        match platform::open_reply(&account.credentials, &body).map_err(|error| faulty(&error))? {
            Answer::Silence => Ok(Delivered {
                elapsed_ms,
                hung_up: false,
                reply: None,
            }),
            Answer::Reply(xml) => {
                let fields = Fields::parse(xml.as_bytes()).map_err(|error| faulty(&error))?;
                let text = |name: &str| fields.text(name).ok().flatten().map(str::to_owned);
                let shown = Shown {
                    kind: text("MsgType").unwrap_or_default(),
                    text: text("Content"),
                    xml: xml.clone(),
                };
                Ok(Delivered {
                    elapsed_ms,
                    hung_up: false,
                    reply: Some(shown),
                })
            }
        }
    }
}

fn print(delivered: &[Delivered], json: bool) {
    if json {
        say!("{}", serde_json::to_string_pretty(delivered).unwrap_or_default());
        return;
    }
    for (n, delivery) in delivered.iter().enumerate() {
        if delivered.len() > 1 {
            say!("-- delivery {}, {} ms", n + 1, delivery.elapsed_ms);
        }
        match &delivery.reply {
            None if delivery.hung_up => say!("(hung up: no answer within {} seconds)", PATIENCE.as_secs()),
            None => say!("(success: the follower sees nothing)"),
            Some(Shown { text: Some(text), .. }) => say!("{}", lines(text)),
            Some(Shown { kind, xml, .. }) => say!("[{kind}] {}", lines(xml)),
        }
    }
}
