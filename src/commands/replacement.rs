//! A file that takes the place of another: after a crash the old content is there or the new one, whole.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A file being written beside the one it is to replace; what is not [finished](Replacement::finish) goes.
pub struct Replacement {
    /// Where the content goes.
    pub out: BufWriter<File>,
    temporary: PathBuf,
    path: PathBuf,
    is_finished: bool,
}

/// Who may read a file that is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Whom the umask lets.
    Usual,
    /// The owner only.
    Owner,
}

impl Replacement {
    /// Begins a file beside `path`.
    pub fn begin(path: &Path, readers: Readers) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "not the name of a file"));
        };
        let mut temporary_name = OsString::from(".");
        temporary_name.push(name);
        temporary_name.push(format!(".{}.tmp", std::process::id()));
        let temporary = folder.join(temporary_name);
        let mode = match readers {
            Readers::Usual => 0o666,
            Readers::Owner => 0o600,
        };
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(mode);
        let out = BufWriter::new(options.open(&temporary)?);
        Ok(Self {
            out,
            temporary,
            path,
            is_finished: false,
        })
    }

    /// Puts it in its place, to stay.
    pub fn finish(mut self) -> io::Result<()> {
        io::Write::flush(&mut self.out)?;
        self.out.get_ref().sync_all()?;
        fs::rename(&self.temporary, &self.path)?;
        self.is_finished = true;
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        File::open(folder)?.sync_all()
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.is_finished {
            // There is an error that counts more.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}
