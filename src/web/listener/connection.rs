//! One connection: HTTP/1.1 over a stream that is watched, until it has had its time.
//!
//! [`Connection::run`] is the entry point. hyper's own timer for request heads also runs between requests, where the
//! idle limit is meant to hold, so the times are kept here: see [`Activity::due`].

use super::activity::{Activity, Worth};
use super::{Limits, Router};
use crate::web::client::Peer;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Longest request head; a search query may have 500 characters, nine bytes each when percent-encoded.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// One connection.
pub(super) struct Connection {
    pub router: Router,
    pub limits: Limits,
    pub activity: Arc<Activity>,
    pub address: Option<IpAddr>,
    pub stop: CancellationToken,
}

/// A connected client.
pub(super) enum Stream {
    Tcp(tokio::net::TcpStream),
    Unix(tokio::net::UnixStream),
}

impl Stream {
    pub fn tcp(stream: tokio::net::TcpStream) -> io::Result<Self> {
        // Replies are one small packet; waiting to fill it only delays them.
        stream.set_nodelay(true)?;
        Ok(Self::Tcp(stream))
    }
}

impl Connection {
    /// Answers requests until the client goes, a limit is reached, or a stop leaves nothing to answer.
    pub async fn run(self, stream: Stream) {
        let activity = &self.activity;
        let watched = TokioIo::new(Watched {
            stream,
            activity: activity.clone(),
        });
        let mut builder = http1::Builder::new();
        builder.header_read_timeout(None).max_buf_size(MAX_HEAD_BYTES);
        let mut http = pin!(builder.serve_connection(watched, service_fn(|request| self.answer(request))));
        let mut alarm = pin!(tokio::time::sleep(self.limits.idle));
        let mut stopped = None;
        loop {
            let since = stopped;
            let ended = poll_fn(|cx| {
                // Whether it ended well or badly is the client's business.
                if http.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
                // Only now: what has just been read or answered may have moved it.
                poll_due(alarm.as_mut(), activity.due(self.limits, since), cx)
            });
            tokio::select! {
                biased;
                () = ended => return,
                () = activity.closed.cancelled() => return,
                () = self.stop.cancelled(), if stopped.is_none() => stopped = Some(Instant::now()),
            }
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, std::convert::Infallible> {
        self.activity.head_arrived();
        let mut request = request.map(|body| Body::new(Arriving::new(body, self.activity.clone())));
        request.extensions_mut().insert(Peer(self.address));
        let mut response = self.router.clone().oneshot(request).await?;
        let is_refusal = |status: StatusCode| status.is_client_error() || status.is_server_error();
        let worth = match is_refusal(response.status()) {
            true => Worth::Nothing,
            false => Worth::Useful,
        };
        self.activity.answered(worth);
        if self.stop.is_cancelled() {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        Ok(response)
    }
}

/// Ready when `due` has come; `alarm` is set anew only where it would ring too late, or has rung.
fn poll_due(mut alarm: Pin<&mut Sleep>, due: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
    let Some(due) = due else {
        return Poll::Pending;
    };
    if due < alarm.deadline() {
        alarm.as_mut().reset(due);
    }
    loop {
        ready!(alarm.as_mut().poll(cx));
        if Instant::now() >= due {
            return Poll::Ready(());
        }
        alarm.as_mut().reset(due);
    }
}

/// A body that tells when it is whole.
struct Arriving {
    body: Incoming,
    activity: Arc<Activity>,
}

impl Arriving {
    fn new(body: Incoming, activity: Arc<Activity>) -> Self {
        if body.is_end_stream() {
            activity.body_arrived();
        }
        Self { body, activity }
    }
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() || self.body.is_end_stream() {
            self.activity.body_arrived();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream that notes when bytes pass.
struct Watched {
    stream: Stream,
    activity: Arc<Activity>,
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        if buf.filled().len() > before {
            self.activity.read();
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        };
        if matches!(polled, Poll::Ready(Ok(1..))) {
            self.activity.wrote();
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
