//! `wxfaq fake-wechat`: WeChat's API on this machine, for trials without an account.
//!
//! Takes any AppID and AppSecret, so it listens on the loopback address only. What it does is `fake_wechat`'s.

use super::{Exit, Failure};
use crate::bot::{Clock, SystemClock};
use crate::fake_wechat::{Fake, Settings, router};
use crate::lifecycle;
use crate::web::listener::{Limits, Listener, Socket, serve};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Where to listen.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Args {
    /// address:port of this machine's loopback interface; port 0: any.
    #[arg(long, default_value = "127.0.0.1:8200", value_name = "ADDRESS")]
    pub listen: SocketAddr,
}

/// Runs until stopped.
pub async fn run(args: Args) -> Result<Exit, Failure> {
    if !args.listen.ip().is_loopback() {
        let text = "--listen: it takes any secret and shows what was sent, so only a loopback address such as 127.0.0.1 will do";
        return Err(Failure::report(Exit::Usage, text));
    }
    let unavailable = |error: std::io::Error| Failure::report(Exit::Unavailable, format!("{}: {error}", args.listen));
    let listener = TcpListener::bind(args.listen).await.map_err(unavailable)?;
    let address = listener.local_addr().map_err(unavailable)?;
    let stop = CancellationToken::new();
    lifecycle::stop_on_signals(stop.clone()).map_err(unavailable)?;
    let settings = Settings {
        accounts: Vec::new(),
        welcomes_strangers: true,
    };
    let fake = Fake::new(settings, Arc::new(|| SystemClock.now()));
    say!(
        "WeChat, as far as wxfaq needs it, on http://{address}; of an account, set:\n  api_base = \"http://{address}\"\n  \
         app_secret = \"anything\"\nWhat was sent:         curl http://{address}/fake/sent\nA follower writes:     curl \
         http://{address}/fake/contact -d '{{\"openid\":\"o…\",\"kind\":\"message\"}}'\nThe next call fails:   curl \
         http://{address}/fake/fail -d '{{\"path\":\"/cgi-bin/message/custom/send\",\"errcode\":45009}}'\nUploads take longer:   curl \
         http://{address}/fake/slow -d '{{\"path\":\"/cgi-bin/media/upload\",\"seconds\":6}}'\nTokens die:            curl \
         -X POST http://{address}/fake/invalidate"
    );
    let limits = Limits {
        connections: 256,
        head: Duration::from_secs(5),
        idle: Duration::from_secs(60),
        grace: Duration::from_secs(1),
    };
    serve(Socket::own("fake", Listener::Tcp(listener)), router(fake), limits, stop).await;
    Ok(Exit::Ok)
}
