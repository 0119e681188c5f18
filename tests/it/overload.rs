//! The real binary with too many clients, too few descriptors, and signals at the wrong time.

use crate::support::daemon::{BINARY, Daemon, Message, PATIENCE, client, configuration, content, free_port};
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use wxfaq::wechat::Mode;

/// WeChat's patience, less what the network needs.
const IN_TIME: Duration = Duration::from_millis(4_500);

/// Delivers one message of a new follower and expects the answer within WeChat's patience.
fn answered(daemon: &Daemon, openid: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let message = Message::text(openid, "科创板开户要什么条件", Mode::Plain);
    let begin = Instant::now();
    let reply = runtime.block_on(async { message.deliver(&client(), daemon.port).await });
    assert!(content(&reply).contains("50万"), "{reply}");
    assert!(begin.elapsed() < IN_TIME, "{:?}", begin.elapsed());
}

fn connections(daemon: &Daemon, count: usize) -> Vec<TcpStream> {
    let connect = || TcpStream::connect(("127.0.0.1", daemon.port)).unwrap();
    (0..count).map(|_| connect()).collect()
}

fn metric(daemon: &Daemon, line: &str) -> bool {
    let metrics = daemon.ops("/metrics").unwrap_or_default();
    metrics.lines().any(|found| found == line)
}

/// The highest memory use so far, in KiB.
fn peak_kib(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Whether the daemon has read all that was sent to it.
fn has_read_everything(daemon: &Daemon) -> bool {
    let local = format!(":{:04X}", daemon.port);
    let sockets = fs::read_to_string("/proc/net/tcp").unwrap();
    let mut unread = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    unread.all(|fields| !fields[1].ends_with(&local) || fields[3] == "0A" || fields[4].ends_with(":00000000"))
}

#[test]
fn open_connections_are_counted_by_listener_until_they_are_closed() {
    let daemon = Daemon::start("");
    let open = connections(&daemon, 50);
    daemon.wait_until("all are counted", || {
        metric(&daemon, "wxfaq_connections_open{listener=\"public\"} 50")
    });
    drop(open);
    daemon.wait_until("none is counted", || {
        metric(&daemon, "wxfaq_connections_open{listener=\"public\"} 0")
    });
}

#[test]
fn bodies_of_strangers_are_not_kept() {
    const COUNT: usize = 1_000;
    let daemon = Daemon::start("");
    let before = peak_kib(&daemon);
    let mut clients = connections(&daemon, COUNT);
    let body = vec![b'x'; 63 * 1024];
    for client in &mut clients {
        let head = "POST /wechat/nosuch HTTP/1.1\r\nHost: h\r\nContent-Length: 65000\r\n\r\n";
        client.write_all(head.as_bytes()).unwrap();
        client.write_all(&body).unwrap();
    }
    daemon.wait_until("all is read", || has_read_everything(&daemon));
    let grown = peak_kib(&daemon) - before;
    println!("{COUNT} half bodies of 63 KiB: {grown} KiB more");
    assert!(grown < 56 * 1024, "{grown} KiB");
}

#[test]
fn without_descriptors_idle_connections_make_room_and_it_is_said_once() {
    let daemon = Daemon::start("");
    let used = fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    let limited = Command::new("prlimit")
        .args(["--pid", &daemon.pid().to_string(), &format!("--nofile={}", used + 16)])
        .status();
    assert!(limited.unwrap().success());
    let _idle = connections(&daemon, 300);
    for number in 0..5 {
        answered(&daemon, &format!("o{number}"));
    }
    assert_eq!(
        daemon.log().matches("cannot accept connections").count(),
        1,
        "{}",
        daemon.log()
    );
}

#[test]
fn a_hangup_before_it_is_ready_reloads_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let (port, ops_port) = (free_port(), free_port());
    fs::write(folder.path().join("wxfaq.toml"), configuration(port, ops_port, "")).unwrap();
    fs::create_dir(folder.path().join("data")).unwrap();
    // Who opens the database waits until another process has opened it, which may be migrating it.
    let beside = folder.path().join("data/wxfaq.db.lock");
    let lock = fs::File::create(&beside).unwrap();
    lock.lock().unwrap();
    let log = fs::File::create(folder.path().join("log")).unwrap();
    let mut child = Command::new(BINARY)
        .args(["--config", "wxfaq.toml", "serve"])
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let begin = Instant::now();
    let waits_until = |child: &mut Child, what: &dyn Fn() -> bool| {
        while !what() && begin.elapsed() < PATIENCE && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(20));
        }
        what()
    };
    let (beside, open_files) = (fs::canonicalize(&beside).unwrap(), format!("/proc/{}/fd", child.id()));
    let has_opened = || {
        let files = fs::read_dir(&open_files).into_iter().flatten().flatten();
        let mut files = files.filter_map(|file| fs::read_link(file.path()).ok());
        files.any(|file| file == beside)
    };
    let process = child.id().to_string();
    let signal = |name: &str| Command::new("kill").args([name, &process]).status().unwrap().success();
    let log = || fs::read_to_string(folder.path().join("log")).unwrap();

    let is_held = waits_until(&mut child, &has_opened) && !log().contains("ready");
    let is_told = signal("-HUP");
    lock.unlock().unwrap();
    waits_until(&mut child, &|| log().contains("configuration reloaded"));
    let (log, terminated) = (log(), signal("-TERM"));
    let ended = child.wait().unwrap();
    assert!(is_held && is_told, "{log}");
    assert!(log.contains("ready") && log.contains("configuration reloaded"), "{log}");
    assert!(terminated && ended.success(), "{ended}\n{log}");
}

#[test]
fn a_clean_stop_answers_whoever_has_asked() {
    let mut daemon = Daemon::start("");
    let mut asking = connections(&daemon, 100);
    for client in &mut asking {
        client
            .write_all(b"POST /wechat/nosuch HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx")
            .unwrap();
    }
    daemon.signal("TERM");
    for client in &mut asking {
        let mut response = String::new();
        std::io::Read::read_to_string(client, &mut response).unwrap();
        assert!(response.starts_with("HTTP/1.1 403"), "{response:?}\n{}", daemon.log());
    }
    assert_eq!(daemon.exit_code(), Some(0));
}
