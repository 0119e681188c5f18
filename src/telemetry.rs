//! Logs and metrics: set up once, before anything else happens.
//!
//! Log lines go to standard error through a bounded queue: when whoever reads them is slow or gone, lines are dropped
//! and counted, and no reply waits. Panics are logged there too, by their place alone: their messages quote what the
//! code was working on, which may be a follower's words. Metrics are Prometheus', rendered by the ops listener.

use crate::config::Log;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::io::IsTerminal;
use std::panic::PanicHookInfo;
use std::time::Duration;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

/// Lines that may wait to be written.
const QUEUED_LINES: usize = 8_192;
/// Upper bounds of latency histograms, in seconds: from a cached reply to WeChat's limit.
const SECONDS: [f64; 14] = [
    5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.5, 1.0, 5.0,
];

/// What is wrong with the log settings.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `log.level` is no filter.
    #[error("log.level = {0:?} is not accepted; accepted: error, warn, info, debug, trace, or a filter")]
    Level(String),
    /// Something else has taken the place already.
    #[error("logs or metrics are set up twice")]
    Twice,
}

/// Keeps logs flowing; lines still queued are written when it is dropped.
pub struct Logs {
    _guard: WorkerGuard,
    dropped: ErrorCounter,
}

impl Logs {
    /// Begins to write logs to standard error.
    pub fn start(log: &Log) -> Result<Self, TelemetryError> {
        let filter = filter(&log.level).ok_or_else(|| TelemetryError::Level(log.level.clone()))?;
        let (writer, guard) = NonBlockingBuilder::default()
            .buffered_lines_limit(QUEUED_LINES)
            .lossy(true)
            .finish(std::io::stderr());
        let dropped = writer.error_counter();
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(writer)
            .with_target(false)
            .with_ansi(std::io::stderr().is_terminal());
        let set = match (log.json, std::env::var_os("JOURNAL_STREAM").is_some()) {
            (true, _) => builder.json().flatten_event(true).try_init(),
            // The journal keeps the time itself.
            (false, true) => builder.without_time().try_init(),
            (false, false) => builder.try_init(),
        };
        set.map_err(|_| TelemetryError::Twice)?;
        std::panic::set_hook(Box::new(log_panic));
        Ok(Self { _guard: guard, dropped })
    }

    /// Counts dropped lines.
    pub fn dropped(&self) -> ErrorCounter {
        self.dropped.clone()
    }
}

/// What `level` lets through; `None`: it is no filter.
///
/// The Redis client reports every attempt to reach a node that is away; that the store is away is said once, by us. Who
/// wants to see the attempts names `redis` in the level.
fn filter(level: &str) -> Option<EnvFilter> {
    let filter = EnvFilter::try_new(level).ok()?;
    if level.contains("redis") {
        return Some(filter);
    }
    Some(filter.add_directive("redis=off".parse().ok()?))
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(place, "panicked");
    metrics::counter!("wxfaq_panics_total").increment(1);
}

/// What was recorded.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Begins to record.
    pub fn start() -> Result<Self, TelemetryError> {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
            .map_err(|_| TelemetryError::Twice)?;
        Ok(Self(builder.install_recorder().map_err(|_| TelemetryError::Twice)?))
    }

    /// Prometheus' text form.
    pub fn render(&self) -> String {
        self.0.render()
    }
}

/// Keeps the recorder's memory bounded and the count of dropped lines current; runs until dropped.
pub async fn upkeep(metrics: Metrics, dropped: ErrorCounter) {
    let mut every = tokio::time::interval(Duration::from_secs(5));
    loop {
        every.tick().await;
        metrics.0.run_upkeep();
        metrics::counter!("wxfaq_log_lines_dropped_total").absolute(dropped.dropped_lines() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Set in the process that is to panic: the hook and the logs are one for a process.
    const PANICS: &str = "WXFAQ_TEST_PANICS";

    #[test]
    fn a_panic_is_logged_by_its_place_and_quotes_nothing() {
        if std::env::var_os(PANICS).is_some() {
            let logs = Logs::start(&Log {
                level: "info".into(),
                json: false,
            });
            let text = "我的身份证号".to_owned();
            let panicked = std::panic::catch_unwind(|| text[..1].len());
            drop(logs);
            return assert!(panicked.is_err());
        }
        let output = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "telemetry::tests::a_panic_is_logged_by_its_place_and_quotes_nothing",
            ])
            .arg("--nocapture")
            .env(PANICS, "1")
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(output.status.success() && said.contains("panicked"), "{said}");
        assert!(said.contains("telemetry.rs:"), "{said}");
        assert!(!said.contains("身份证"), "{said}");
    }
}
