//! Beginning and end of the daemon: signals, the service manager, descriptors.
//!
//! SIGTERM or SIGINT begins a stop, a second one exits at once; SIGHUP asks for a reload. Under systemd the listening
//! socket may be handed over, so that a restart refuses nobody; `READY=1`, `STOPPING=1` and the watchdog are spoken.

use crate::config::Listen;
use crate::web::listener::{Listener, Socket};
use futures_util::FutureExt;
use listenfd::ListenFd;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sd_notify::NotifyState;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit status after a second SIGTERM or SIGINT.
const IMPATIENT_EXIT: i32 = 130;
/// Before a background task that has panicked begins anew.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// Descriptors systemd holds for us. Taken before threads start, since it clears the environment.
pub struct Inherited(ListenFd);

impl Inherited {
    /// Takes what is there.
    pub fn take() -> Self {
        Self(ListenFd::from_env())
    }

    /// The first inherited socket, of either kind.
    fn listener(&mut self) -> io::Result<Option<Listener>> {
        if let Ok(Some(listener)) = self.0.take_tcp_listener(0) {
            listener.set_nonblocking(true)?;
            return Ok(Some(TcpListener::from_std(listener)?.into()));
        }
        if let Ok(Some(listener)) = self.0.take_unix_listener(0) {
            listener.set_nonblocking(true)?;
            return Ok(Some(UnixListener::from_std(listener)?.into()));
        }
        Ok(None)
    }
}

/// The socket for `listen`, or the inherited one when there is one. `name` is its label in the metrics.
///
/// # Errors
/// The address is taken, not ours, or not permitted.
pub async fn open_socket(name: &'static str, listen: &Listen, inherited: Option<&mut Inherited>) -> io::Result<Socket> {
    if let Some(inherited) = inherited
        && let Some(listener) = inherited.listener()?
    {
        return Ok(Socket::inherited(name, listener));
    }
    match listen {
        Listen::Tcp(address) => Ok(Socket::own(name, TcpListener::bind(address).await?)),
        Listen::Unix(path) => {
            if is_stale(path).await {
                std::fs::remove_file(path)?;
            }
            let listener = UnixListener::bind(path)?;
            // The proxy in front runs as another user; the folder decides who gets this far.
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
            Ok(Socket::own(name, listener))
        }
    }
}

/// Whether `path` is a socket nobody listens on any more.
async fn is_stale(path: &std::path::Path) -> bool {
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    tokio::net::UnixStream::connect(path).await.err().is_some_and(refused)
}

/// Allows as many descriptors as this process may have, for shells commonly give 1024, and returns how many that is.
pub fn raise_descriptor_limit() -> usize {
    let limits = getrlimit(Resource::RLIMIT_NOFILE);
    let raised = limits.and_then(|(soft, hard)| {
        if soft < hard {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        }
        Ok(hard)
    });
    if let Err(error) = &raised {
        tracing::warn!(%error, "limit of open descriptors not raised");
    }
    let limit = raised.or(limits.map(|(soft, _)| soft));
    limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Cancels `stop` at the first SIGTERM or SIGINT and exits at the second.
///
/// # Errors
/// The system refuses to tell us of signals.
pub fn stop_on_signals(stop: CancellationToken) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        let mut next = async || tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () };
        next().await;
        tracing::info!("stopping; a second signal exits at once");
        notify(&[NotifyState::Stopping]);
        stop.cancel();
        next().await;
        std::process::exit(IMPATIENT_EXIT);
    });
    Ok(())
}

/// Requests to reload, from this call on: before it SIGHUP ends the process.
pub struct Hangups(Signal);

impl Hangups {
    /// Begins to note them.
    ///
    /// # Errors
    /// The system refuses to tell us of signals.
    pub fn note() -> io::Result<Self> {
        Ok(Self(signal(SignalKind::hangup())?))
    }

    /// Waits for the next; those that come together are one.
    pub async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

/// Runs `task` to its end; when it panics, begins it anew after a pause.
pub async fn keep_running(name: &'static str, mut task: impl AsyncFnMut()) {
    // What a panic leaves half done stays behind in the task itself, which is dropped.
    while AssertUnwindSafe(task()).catch_unwind().await.is_err() {
        tracing::error!(task = name, "background task has panicked; it begins anew");
        metrics::counter!("wxfaq_background_panics_total", "task" => name).increment(1);
        tokio::time::sleep(RESTART_PAUSE).await;
    }
}

/// Tells the service manager that messages are answered from now on.
pub fn ready() {
    notify(&[NotifyState::Ready]);
}

/// Without a service manager nothing happens.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "service manager not notified");
    }
}

/// Feeds the watchdog while `is_well` says so, twice as often as asked for; returns at once when nobody asks.
pub async fn feed_watchdog(is_well: impl AsyncFn() -> bool) {
    let Some(period) = sd_notify::watchdog_enabled().filter(|period| *period > Duration::ZERO) else {
        return;
    };
    let mut every = tokio::time::interval(period / 2);
    loop {
        every.tick().await;
        if is_well().await {
            notify(&[NotifyState::Watchdog]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn a_background_task_that_panics_begins_anew() {
        let begun = AtomicUsize::new(0);
        keep_running("test", async || {
            assert!(begun.fetch_add(1, Ordering::Relaxed) > 0, "the first time");
        })
        .await;
        assert_eq!(begun.load(Ordering::Relaxed), 2);
    }
}
