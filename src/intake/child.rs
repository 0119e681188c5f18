//! The child: limits itself, reads the file on standard input, writes rows to standard output, ends.
//!
//! [`run`] is the entry point, called before any thread is started. The limits are set before the first byte is read:
//! memory, processor time, no file to write, no descriptor beyond the three it has and so no file to open and no
//! connection to make, no process to start, no core to leave behind.

use super::Limits;
use super::frame::{Frame, MAX_BYTES};
use crate::bank::format::read_file;
use nix::sys::resource::{Resource, setrlimit};
use std::io::{self, BufWriter, Read, Write};
use std::ops::ControlFlow;
use std::os::fd::RawFd;

/// What the hidden command is called.
pub const COMMAND: &str = "intake";

/// The exit code when memory was refused to somebody who asked politely; others abort.
pub const OUT_OF_MEMORY: u8 = 12;

/// Standard input, output and error.
const DESCRIPTORS: RawFd = 3;

/// Reads a file under `limits`, as JSON, and returns the process's exit code: 0 when the last frame has been written.
pub fn run(limits: &str) -> u8 {
    let Ok(limits) = serde_json::from_str::<Limits>(limits) else {
        return 64;
    };
    match restrict(&limits).and_then(|()| work(&limits)) {
        Ok(()) => 0,
        Err(error) if error.kind() == io::ErrorKind::OutOfMemory => OUT_OF_MEMORY,
        Err(_) => 1,
    }
}

fn restrict(limits: &Limits) -> io::Result<()> {
    close_inherited()?;
    for (resource, soft, hard) in [
        (Resource::RLIMIT_AS, limits.memory_bytes, limits.memory_bytes),
        // A second more for the signal that says so: at the hard limit there is only the one that kills.
        (Resource::RLIMIT_CPU, limits.cpu_seconds, limits.cpu_seconds + 1),
        (Resource::RLIMIT_FSIZE, 0, 0),
        (Resource::RLIMIT_NOFILE, DESCRIPTORS as u64, DESCRIPTORS as u64),
        (Resource::RLIMIT_NPROC, 0, 0),
        (Resource::RLIMIT_CORE, 0, 0),
    ] {
        setrlimit(resource, soft, hard)?;
    }
    Ok(())
}

/// Closes what a parent left open for us against its will.
fn close_inherited() -> io::Result<()> {
    let numbers: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for number in numbers.into_iter().filter(|number| *number >= DESCRIPTORS) {
        // One was the list's own, closed by now.
        let _ = nix::unistd::close(number);
    }
    Ok(())
}

fn work(limits: &Limits) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let mut bytes = Vec::new();
    io::stdin().lock().take(limits.file_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limits.file_bytes {
        let reason = format!("has more than {} bytes", limits.file_bytes);
        out.write_all(&Frame::Refused(reason).to_line())?;
        return out.flush();
    }
    let mut written = Ok(());
    let mut is_too_long = false;
    let ended = read_file(&bytes, &limits.content, &mut |item| {
        let line = Frame::Item(item).to_line();
        is_too_long = line.len() > MAX_BYTES;
        if is_too_long {
            return ControlFlow::Break(());
        }
        written = out.write_all(&line);
        match written {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    });
    written?;
    let last = match ended {
        Err(refusal) => Frame::Refused(refusal.to_string()),
        Ok(()) if is_too_long => Frame::Refused(format!("has a row of more than {} MiB", MAX_BYTES >> 20)),
        Ok(()) => Frame::End,
    };
    out.write_all(&last.to_line())?;
    out.flush()
}
