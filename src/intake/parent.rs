//! The parent's side: starts the child, collects its rows, and says what became of it.
//!
//! [`read`] is the entry point. Nothing the child says is taken on trust: frames have a length, all of them together too,
//! and what they hold is parsed into types. The child gets the file as its standard input and nothing else: no
//! environment, no other descriptor.

use super::frame::{Frame, MAX_BYTES};
use super::{Event, Limits, Listener, Sheet, child};
use crate::bank::format::{Format, Refusal};
use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::Mutex;

/// Rows between two events.
const EVENT_ROWS: usize = 1_000;
/// One file at a time: what each may take would otherwise add up.
static TURN: Mutex<()> = Mutex::const_new(());

/// Why there are no rows.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The file is not one we take.
    #[error("the file {0}")]
    Refused(#[from] Refusal),
    /// The child could not be started or not be heard; not the file's fault.
    #[error("the process that reads files: {0}")]
    Broken(#[from] io::Error),
}

/// The rows of `file`, read from its beginning by a child of `program`, which is a copy of this program.
///
/// # Errors
/// The reason for which the file is refused completes “the file …”.
pub async fn read(program: &Path, file: File, limits: &Limits, listener: Listener<'_>) -> Result<Sheet, IntakeError> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Refusal::new("is none, but a folder, a pipe or a device").into());
    }
    if metadata.len() > limits.file_bytes {
        let (bytes, most) = (metadata.len(), limits.file_bytes);
        return Err(Refusal::new(format!("has {bytes} bytes, at most {most} are read")).into());
    }
    let _turn = TURN.lock().await;
    let mut child = start(program, file, limits)?;
    let out = child
        .stdout
        .take()
        .ok_or_else(|| io::Error::other("it has no standard output"))?;
    let rows = tokio::time::timeout(limits.patience, collect(out, &mut child, limits, listener)).await;
    // Dead or not by now, nobody listens to it any more.
    let _ = child.kill().await;
    rows.unwrap_or_else(|_| {
        let seconds = limits.patience.as_secs();
        Err(Refusal::new(format!("takes more than {seconds} s to be read")).into())
    })
}

fn start(program: &Path, file: File, limits: &Limits) -> io::Result<Child> {
    let limits = serde_json::to_string(limits).expect("numbers can be written as JSON");
    Command::new(program)
        .arg0("wxfaq")
        .args([child::COMMAND, &limits])
        .env_clear()
        .current_dir("/")
        .stdin(file)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
}

async fn collect(
    out: ChildStdout,
    child: &mut Child,
    limits: &Limits,
    listener: Listener<'_>,
) -> Result<Sheet, IntakeError> {
    let mut out = BufReader::with_capacity(1 << 16, out);
    let mut line = Vec::new();
    let mut bytes = 0;
    let mut sheet = Sheet {
        format: Format::Jsonl,
        notices: Vec::new(),
        others: Vec::new(),
        rows: Vec::new(),
    };
    loop {
        line.clear();
        (&mut out).take(MAX_BYTES as u64).read_until(b'\n', &mut line).await?;
        bytes += line.len() as u64;
        if bytes > limits.frames_bytes {
            let most = limits.frames_bytes >> 20;
            return Err(Refusal::new(format!("comes to more than {most} MiB of rows")).into());
        }
        if line.last() != Some(&b'\n') {
            return Err(obituary(child.wait().await?, limits).into());
        }
        match serde_json::from_slice(&line).map_err(io::Error::from)? {
            Frame::Item(item) => sheet.add(item),
            Frame::Refused(reason) => return Err(Refusal::new(reason).into()),
            Frame::End => break,
        }
        if sheet.rows.len() % EVENT_ROWS == 1 {
            listener(Event::Reading {
                rows: sheet.rows.len() as u64,
            });
        }
    }
    listener(Event::Reading {
        rows: sheet.rows.len() as u64,
    });
    Ok(sheet)
}

/// What a child died of that had not come to the end.
fn obituary(status: ExitStatus, limits: &Limits) -> Refusal {
    use nix::libc::{SIGABRT, SIGKILL, SIGXCPU};
    const OUT_OF_MEMORY: i32 = child::OUT_OF_MEMORY as i32;
    let memory = limits.memory_bytes >> 20;
    Refusal::new(match (status.signal(), status.code()) {
        (Some(SIGABRT), _) | (_, Some(OUT_OF_MEMORY)) => format!("takes more than {memory} MiB of memory to be read"),
        (Some(SIGXCPU), _) => format!("takes more than {} s of processor time to be read", limits.cpu_seconds),
        (Some(SIGKILL), _) => {
            "could not be read: the system ended the reader, most likely for want of memory".to_owned()
        }
        _ => format!("is one the reader breaks down on ({status})"),
    })
}
