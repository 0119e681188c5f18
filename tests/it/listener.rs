//! The accept loop under clients that mean no good, and at a stop: with routers of the tests' own, on one thread, so that
//! what the server has seen at each moment is certain.

use axum::Router;
use axum::routing::{get, post};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wxfaq::web::listener::{Limits, Socket, serve};

/// How long anything may take before the test counts it as never; any limit that must not matter is longer.
const PATIENCE: Duration = Duration::from_secs(30);
const NEVER: Duration = Duration::from_secs(3_600);
const LIMITS: Limits = Limits {
    connections: 64,
    head: NEVER,
    idle: NEVER,
    grace: NEVER,
};

/// A server, and what its handlers tell and wait for.
struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    ended: JoinHandle<()>,
    /// A permit for each request whose head has reached a handler.
    entered: Arc<Semaphore>,
    /// `/held` takes a permit before it answers.
    release: Arc<Semaphore>,
}

impl Server {
    async fn start(limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self::on(Socket::own("tests", listener), address, limits)
    }

    fn on(socket: Socket, address: SocketAddr, limits: Limits) -> Self {
        let (entered, release) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let (held, read) = ((entered.clone(), release.clone()), entered.clone());
        let router = Router::new()
            .route("/", get(|| async { "ok" }))
            .route("/large", get(|| async { "x".repeat(64 << 20) }))
            .route(
                "/held",
                get(async move || {
                    held.0.add_permits(1);
                    held.1.acquire().await.unwrap().forget();
                    "held"
                }),
            )
            .route(
                "/read",
                post(async move |body: axum::body::Body| {
                    read.add_permits(1);
                    axum::body::to_bytes(body, 1 << 20).await.map_or("broken", |_| "read")
                }),
            );
        let stop = CancellationToken::new();
        Self {
            address,
            ended: tokio::spawn(serve(socket, router, limits, stop.clone())),
            stop,
            entered,
            release,
        }
    }

    async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.address).await.unwrap())
    }

    /// A new connection that has sent `text`.
    async fn with(&self, text: &str) -> Client {
        let mut client = self.connect().await;
        client.send(text).await;
        client
    }

    /// Waits until `count` more requests have reached a handler.
    async fn entered(&self, count: u32) {
        in_time(self.entered.acquire_many(count)).await.unwrap().forget();
    }

    /// Stops it; returns when it has ended.
    async fn stopped(self) {
        self.stop.cancel();
        in_time(self.ended).await.unwrap();
    }
}

struct Client(TcpStream);

const ASK: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const ASK_HELD: &str = "GET /held HTTP/1.1\r\nHost: h\r\n\r\n";
const HALF_HEAD: &str = "GET / HTTP/1.1\r\nHo";
const HALF_BODY: &str = "POST /read HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\nhalf";

impl Client {
    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Sends while nothing else runs on this thread, the server included.
    fn send_at_once(&self, text: &str) {
        assert_eq!(self.0.try_write(text.as_bytes()).unwrap(), text.len());
    }

    /// The next response, head and body; empty when the connection ends without one.
    async fn response(&mut self) -> String {
        in_time(async {
            let mut bytes = Vec::new();
            loop {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                if let Some((head, body)) = text.split_once("\r\n\r\n") {
                    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                    if length.is_some_and(|length| length == body.len().to_string()) {
                        return text;
                    }
                }
                match self.0.read_buf(&mut bytes).await {
                    Ok(0) | Err(_) => return String::new(),
                    Ok(_) => {}
                }
            }
        })
        .await
    }

    async fn answer(&mut self) -> String {
        let response = self.response().await;
        response
            .split_once("\r\n\r\n")
            .map(|(_, body)| body.to_owned())
            .unwrap_or_default()
    }

    /// Waits for the server to close the connection without another word.
    async fn closed(&mut self) {
        assert_eq!(self.response().await, "");
    }
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it comes in the end")
}

fn up_to(connections: usize) -> Limits {
    Limits { connections, ..LIMITS }
}

#[tokio::test]
async fn half_bodies_make_room_for_whole_requests() {
    let server = Server::start(up_to(8)).await;
    let mut slow = Vec::new();
    for _ in 0..8 {
        slow.push(server.with(HALF_BODY).await);
    }
    server.entered(8).await;
    for _ in 0..8 {
        assert_eq!(server.with(ASK).await.answer().await, "ok");
    }
    slow[0].closed().await;
}

#[tokio::test]
async fn requests_at_work_are_never_closed_and_idle_connections_are_found_among_many() {
    let server = Server::start(up_to(300)).await;
    let mut working = Vec::new();
    for _ in 0..280 {
        working.push(server.with(ASK_HELD).await);
    }
    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.push(server.connect().await);
    }
    server.entered(280).await;
    for _ in 0..20 {
        working.push(server.with(ASK_HELD).await);
        server.entered(1).await;
    }
    // Now all are at work, and one more is too many.
    server.with(ASK).await.closed().await;
    server.release.add_permits(300);
    for client in &mut working {
        assert_eq!(client.answer().await, "held");
    }
    for client in &mut idle {
        client.closed().await;
    }
}

#[tokio::test]
async fn whoever_was_answered_last_stays_longest_and_refusals_do_not_count() {
    let server = Server::start(up_to(3)).await;
    let mut silent = server.connect().await;
    let mut useful = server.with(ASK).await;
    assert_eq!(useful.answer().await, "ok");
    let mut refused = server.connect().await;
    useful.send(ASK).await;
    assert_eq!(useful.answer().await, "ok");
    refused.send("GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert!(refused.response().await.starts_with("HTTP/1.1 404"));
    let mut first = server.with(ASK).await;
    assert_eq!(first.answer().await, "ok");
    silent.closed().await;
    let mut second = server.with(ASK).await;
    assert_eq!(second.answer().await, "ok");
    refused.closed().await;
    useful.send(ASK).await;
    assert_eq!(useful.answer().await, "ok");
}

#[tokio::test]
async fn a_stop_answers_what_waits_in_a_queue_of_our_own() {
    let server = Server::start(LIMITS).await;
    assert_eq!(server.with(ASK).await.answer().await, "ok");
    let waiting = std::net::TcpStream::connect(server.address).unwrap();
    std::io::Write::write_all(&mut &waiting, ASK.as_bytes()).unwrap();
    waiting.set_nonblocking(true).unwrap();
    let mut waiting = Client(TcpStream::from_std(waiting).unwrap());
    server.stop.cancel();
    let response = waiting.response().await;
    assert!(response.to_lowercase().contains("connection: close"), "{response}");
    in_time(server.ended).await.unwrap();
}

#[tokio::test]
async fn a_stop_answers_what_waits_in_the_buffers_of_open_connections() {
    let server = Server::start(LIMITS).await;
    let mut silent = server.connect().await;
    let mut used = server.with(ASK).await;
    assert_eq!(used.answer().await, "ok");
    // Accepted in order: the silent one is open too.
    let mut body = server.with(HALF_BODY).await;
    server.entered(1).await;
    silent.send_at_once(ASK);
    used.send_at_once(ASK);
    body.send_at_once("more");
    server.stop.cancel();
    for (client, answer) in [(&mut silent, "ok"), (&mut used, "ok"), (&mut body, "read")] {
        let response = client.response().await;
        assert!(response.ends_with(answer), "{response}");
        assert!(response.to_lowercase().contains("connection: close"), "{response}");
    }
    in_time(server.ended).await.unwrap();
}

#[tokio::test]
async fn a_stop_leaves_the_queue_of_an_inherited_socket_to_its_successor() {
    let kept = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    kept.set_nonblocking(true).unwrap();
    let address = kept.local_addr().unwrap();
    let handed = || TcpListener::from_std(kept.try_clone().unwrap()).unwrap();
    let first = Server::on(Socket::inherited("tests", handed()), address, LIMITS);
    assert_eq!(first.with(ASK).await.answer().await, "ok");
    let waiting = std::net::TcpStream::connect(address).unwrap();
    waiting.set_nonblocking(true).unwrap();
    first.stop.cancel();
    in_time(first.ended).await.unwrap();
    let second = Server::on(Socket::inherited("tests", handed()), address, LIMITS);
    let mut waiting = Client(TcpStream::from_std(waiting).unwrap());
    waiting.send(ASK).await;
    assert_eq!(waiting.answer().await, "ok");
    second.stopped().await;
}

#[tokio::test]
async fn a_stop_waits_for_whole_requests_and_for_nobody_else() {
    let server = Server::start(LIMITS).await;
    let mut hindering = vec![
        server.connect().await,
        server.with(HALF_HEAD).await,
        server.with(HALF_BODY).await,
        server.with("GET /large HTTP/1.1\r\nHost: h\r\n\r\n").await,
    ];
    let mut asking = server.with(ASK_HELD).await;
    server.entered(2).await;
    // The head of the answer nobody reads is here: the rest stays in the server.
    let mut start = [0];
    in_time(hindering[3].0.read_exact(&mut start)).await.unwrap();
    server.stop.cancel();
    for client in &mut hindering {
        // Closed, and not by the end of the whole server: the request at work is still there.
        let mut rest = Vec::new();
        let _ = in_time(client.0.read_to_end(&mut rest)).await;
    }
    assert!(!server.ended.is_finished());
    server.release.add_permits(1);
    assert_eq!(asking.answer().await, "held");
    in_time(server.ended).await.unwrap();
}

#[tokio::test]
async fn a_stop_ends_with_the_grace_period() {
    let grace = Duration::from_millis(300);
    let server = Server::start(Limits { grace, ..LIMITS }).await;
    let mut asking = server.with(ASK_HELD).await;
    server.entered(1).await;
    server.stopped().await;
    asking.closed().await;
}

#[tokio::test]
async fn heads_have_a_deadline_that_does_not_run_between_requests() {
    let head = Duration::from_millis(100);
    let server = Server::start(Limits { head, ..LIMITS }).await;
    let mut client = server.connect().await;
    for _ in 0..3 {
        // Longer than a head may take; nothing is to happen meanwhile.
        tokio::time::sleep(3 * head).await;
        client.send(ASK).await;
        assert_eq!(client.answer().await, "ok");
    }
    client.send(HALF_HEAD).await;
    client.closed().await;
}

#[tokio::test]
async fn a_head_that_drips_is_cut_off_and_so_is_silence() {
    let short = Duration::from_millis(200);
    let server = Server::start(Limits { head: short, ..LIMITS }).await;
    let mut client = server.with("GET / HTTP/1.1\r\n").await;
    in_time(async {
        while client.0.write_all(b"A: b\r\n").await.is_ok() {
            tokio::time::sleep(short / 10).await;
        }
    })
    .await;
    let server = Server::start(Limits { idle: short, ..LIMITS }).await;
    server.connect().await.closed().await;
}
