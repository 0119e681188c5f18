//! The real binary as a daemon, in a folder and on ports of its own, and WeChat at its door.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;
use wxfaq::wechat::platform::{self, Answer};
use wxfaq::wechat::xml::Fields;
use wxfaq::wechat::{CredentialParts, Credentials, Head, Mode};

/// The program as it was built with the tests.
pub const BINARY: &str = env!("CARGO_BIN_EXE_wxfaq");
/// How long a start, a stop or a change may take before the test counts it as never.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What daemons and commands are started from: [`BINARY`], or the build that the variable `WXFAQ` names, so that figures can
/// be a release build's.
pub fn program() -> PathBuf {
    let named = std::env::var_os("WXFAQ").map_or_else(|| BINARY.into(), PathBuf::from);
    named
        .canonicalize()
        .unwrap_or_else(|error| panic!("{}: {error}", named.display()))
}

const APPID: &str = "wx1a2b3c4d5e6f7081";
pub const KEY: &str = "Zm9vYmFyYmF6cXV4MDEyMzQ1Njc4OWFiY2RlZmdoaWq";
/// In every [`configuration`].
pub const INSTALL_KEY: &str = "one-key-for-all-instances-0001";

/// A running daemon; killed when dropped.
pub struct Daemon {
    pub folder: TempDir,
    pub port: u16,
    pub ops_port: u16,
    child: Child,
}

/// A port nobody listens on.
pub fn free_port() -> u16 {
    /// Below those that a connection is given to go out by: one of these would be taken before it is listened on.
    const FIRST: u32 = 18_000;
    const PORTS: u32 = 14_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        // Two runs at a time begin at different places.
        let next = NEXT
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_add(std::process::id().wrapping_mul(97));
        let port = (FIRST + next % PORTS) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The credentials of the account `safe`, `compatible` or `plain` that [`configuration`] writes.
pub fn credentials(mode: Mode) -> Credentials {
    let parts = CredentialParts {
        appid: APPID,
        mode,
        token: match mode {
            Mode::Safe => "TokenOfTestsSafe",
            Mode::Compatible => "TokenOfTestsCompatible",
            Mode::Plain => "TokenOfTestsPlain",
        },
        previous_token: None,
        encoding_aes_key: (mode != Mode::Plain).then_some(KEY),
        previous_encoding_aes_key: None,
    };
    Credentials::new(parts).unwrap()
}

/// A configuration with one account in each mode; `more` are further lines, sections first.
pub fn configuration(port: u16, ops_port: u16, more: &str) -> String {
    let account = |mode: &str, key: &str| {
        let token = format!("TokenOfTests{}{}", mode[..1].to_uppercase(), &mode[1..]);
        format!("[[account]]\nid = \"{mode}\"\nappid = \"{APPID}\"\ntoken = \"{token}\"\nmode = \"{mode}\"\n{key}\n")
    };
    let key = format!("encoding_aes_key = \"{KEY}\"");
    format!(
        "[server]\nlisten = \"127.0.0.1:{port}\"\nops_listen = \"127.0.0.1:{ops_port}\"\n\
         [security]\ninstall_key = \"{INSTALL_KEY}\"\n{more}\n{}{}{}",
        account("safe", &key),
        account("compatible", &key),
        account("plain", "")
    )
}

impl Daemon {
    /// Starts with [`configuration`] on the sample bank.
    pub fn start(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (port, ops_port) = (free_port(), free_port());
        std::fs::write(folder.path().join("wxfaq.toml"), configuration(port, ops_port, more)).unwrap();
        let bank = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/sample-bank.jsonl");
        let imported = run(
            folder.path(),
            &["--config", "wxfaq.toml", "import", bank.to_str().unwrap()],
        );
        assert!(imported.status.success(), "{imported:?}");
        Self::start_in(folder, port, ops_port)
    }

    /// Starts on the configuration in `folder`.
    pub fn start_in(folder: TempDir, port: u16, ops_port: u16) -> Self {
        let log = File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new(program());
        command
            .args(["--config", "wxfaq.toml", "serve"])
            .current_dir(folder.path());
        let configured = std::fs::read_to_string(folder.path().join("wxfaq.toml")).unwrap();
        if !configured.contains("\nper_minute") {
            // Who waits for an answer to change asks often.
            command.env("WXFAQ__REPLY__PER_MINUTE", "0");
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let daemon = Self {
            folder,
            port,
            ops_port,
            child,
        };
        daemon.wait_until("it is ready", || {
            daemon
                .ops("/readyz")
                .is_some_and(|body| body.contains("\"ready\":true"))
        });
        daemon
    }

    /// Starts without a configuration file, with `folder` as the working directory.
    pub fn first_day(folder: &Path) -> Self {
        Self::first_day_with(folder, &[])
    }

    /// As [`Daemon::first_day`], with these variables.
    pub fn first_day_with(folder: &Path, variables: &[(&str, &str)]) -> Self {
        let (port, ops_port) = (free_port(), free_port());
        let own = tempfile::tempdir().unwrap();
        let log = File::create(own.path().join("log")).unwrap();
        let mut command = Command::new(program());
        command
            .arg("serve")
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        command.envs(variables.iter().copied());
        command.env("WXFAQ__SERVER__LISTEN", format!("127.0.0.1:{port}"));
        command.env("WXFAQ__SERVER__OPS_LISTEN", format!("127.0.0.1:{ops_port}"));
        let daemon = Self {
            folder: own,
            port,
            ops_port,
            child: command.spawn().unwrap(),
        };
        daemon.wait_until("it is ready", || {
            daemon
                .ops("/readyz")
                .is_some_and(|body| body.contains("\"ready\":true"))
        });
        daemon
    }

    /// What `simulate` prints for a text, without a configuration file.
    pub fn simulate_first_day(&self, folder: &Path, text: &str) -> String {
        let output = run(
            folder,
            &["simulate", text, "--url", &format!("http://127.0.0.1:{}", self.port)],
        );
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Waits until `holds`, at most [`PATIENCE`].
    pub fn wait_until(&self, what: &str, holds: impl Fn() -> bool) {
        let begin = Instant::now();
        while !holds() {
            assert!(
                begin.elapsed() < PATIENCE,
                "waited in vain until {what}; log:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// A path in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The body of an ops page; `None` when nobody answers.
    pub fn ops(&self, page: &str) -> Option<String> {
        let output = Command::new("curl")
            .args(["-s", &format!("http://127.0.0.1:{}{page}", self.ops_port)])
            .output();
        output
            .ok()
            .filter(|output| output.status.success())
            .map(|output| String::from_utf8_lossy(&output.stdout).into())
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        assert!(
            Command::new("kill")
                .args([&format!("-{name}"), &self.child.id().to_string()])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits for the end and returns the exit code.
    pub fn exit_code(&mut self) -> Option<i32> {
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("it does not end; log:\n{}", self.log());
    }
}

impl Daemon {
    /// Kills it without a word.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Kills it without a word, and starts it on what it left.
    pub fn killed_and_started_again(mut self) -> Self {
        self.kill();
        let (port, ops_port) = (self.port, self.ops_port);
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        Self::start_in(folder, port, ops_port)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the binary to its end in `folder`.
pub fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(program())
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// What `simulate` prints of a running daemon.
pub fn simulate(daemon: &Daemon, arguments: &[&str]) -> String {
    let all = [&["--config", "wxfaq.toml", "simulate"], arguments].concat();
    let output = run(daemon.folder.path(), &all);
    assert!(output.status.success(), "{output:?}\n{}", daemon.log());
    String::from_utf8(output.stdout).unwrap()
}

/// One message, deliverable many times, to any instance.
#[derive(Clone)]
pub struct Message {
    xml: String,
    mode: Mode,
}

impl Message {
    /// A text nobody has sent before.
    pub fn text(openid: &str, text: &str, mode: Mode) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(6_000_000_000_000_000_000);
        let head = Head {
            account: "gh_tests".into(),
            openid: openid.into(),
            create_time: now(),
        };
        let id = NEXT.fetch_add(1, Ordering::Relaxed).to_string();
        Self {
            xml: platform::text_xml(&head, &id, text),
            mode,
        }
    }

    /// Delivers it to the daemon on `port` and returns the clear XML of the reply, empty for `success`.
    pub async fn deliver(&self, client: &reqwest::Client, port: u16) -> String {
        static NONCE: AtomicU64 = AtomicU64::new(1);
        let credentials = credentials(self.mode);
        let nonce = NONCE.fetch_add(1, Ordering::Relaxed).to_string();
        let request = platform::deliver(&credentials, &self.xml, now(), &nonce, [7; 16]);
        let account = format!("{:?}", self.mode).to_lowercase();
        let url = format!("http://127.0.0.1:{port}/wechat/{account}?{}", request.query);
        let response = client.post(url).body(request.body).send().await.unwrap();
        assert_eq!(response.status(), 200);
        match platform::open_reply(&credentials, &response.bytes().await.unwrap()).unwrap() {
            Answer::Silence => String::new(),
            Answer::Reply(xml) => xml,
        }
    }
}

/// The `Content` of a reply's clear XML.
pub fn content(xml: &str) -> String {
    Fields::parse(xml.as_bytes())
        .unwrap()
        .text("Content")
        .unwrap()
        .unwrap_or_default()
        .to_owned()
}

/// A client as WeChat's: it keeps its connections.
pub fn client() -> reqwest::Client {
    // An error means that another test was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}
