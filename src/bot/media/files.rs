//! Files in the folder of media: read only inside of it, and only what WeChat would take.
//!
//! [`look`] is the entry point, [`read`] the second step. Both block for as long as the disk takes.

use crate::bank::media::MediaType;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Why a file cannot be given to WeChat. Names it as the answer does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {reason}")]
pub struct FileProblem {
    /// As the answer has it.
    pub file: String,
    #[expect(missing_docs, reason = "the name says it")]
    pub reason: String,
}

/// A file that may be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Looked {
    /// Without symbolic links.
    pub path: PathBuf,
    pub bytes: u64,
    pub changed: Option<SystemTime>,
}

/// Finds `file` in `folder`, to be used as `kind`.
///
/// # Errors
/// It is not there, lies outside of the folder (a symbolic link counts as where it leads), is no file, or has a size
/// that WeChat refuses.
pub(super) fn look(folder: &Path, kind: MediaType, file: &str) -> Result<Looked, FileProblem> {
    let problem = |reason: String| FileProblem {
        file: file.to_owned(),
        reason,
    };
    let unreadable = |error: io::Error| problem(error.to_string());
    let folder = folder.canonicalize().map_err(unreadable)?;
    let path = folder.join(file).canonicalize().map_err(unreadable)?;
    if !path.starts_with(&folder) {
        return Err(problem("leads out of the folder of media".to_owned()));
    }
    let metadata = path.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(problem("is no file".to_owned()));
    }
    let (bytes, most) = (metadata.len(), kind.max_bytes());
    if bytes == 0 || bytes > most {
        let kind = kind.as_str();
        return Err(problem(format!("has {bytes} bytes; WeChat takes a {kind} of 1–{most}")));
    }
    Ok(Looked {
        path,
        bytes,
        changed: metadata.modified().ok(),
    })
}

/// Its bytes, at most as many as WeChat takes.
///
/// # Errors
/// It cannot be read any more, or has grown.
pub(super) fn read(looked: &Looked, kind: MediaType, file: &str) -> Result<Vec<u8>, FileProblem> {
    let problem = |reason: String| FileProblem {
        file: file.to_owned(),
        reason,
    };
    let mut bytes = Vec::new();
    let opened = File::open(&looked.path);
    let read = opened.and_then(|opened| opened.take(kind.max_bytes() + 1).read_to_end(&mut bytes));
    read.map_err(|error| problem(error.to_string()))?;
    if bytes.len() as u64 > kind.max_bytes() {
        return Err(problem("has become too large".to_owned()));
    }
    Ok(bytes)
}

/// The hash a file is known by.
pub(super) fn hash(bytes: &[u8]) -> String {
    crate::bot::seals::hex(&Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_what_lies_inside_and_what_wechat_takes_is_found() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret.jpg"), "x").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir(root.join("a")).unwrap();
        std::fs::write(root.join("a/b.jpg"), "bytes").unwrap();
        std::fs::write(root.join("empty.jpg"), "").unwrap();
        std::fs::write(root.join("large.jpg"), vec![0; (64 << 10) + 1]).unwrap();
        symlink(root.join("a/b.jpg"), root.join("inside.jpg")).unwrap();
        symlink(outside.path().join("secret.jpg"), root.join("outside.jpg")).unwrap();
        symlink(outside.path(), root.join("door")).unwrap();
        for file in ["a/b.jpg", "inside.jpg"] {
            let looked = look(root, MediaType::Thumb, file).unwrap();
            assert_eq!(read(&looked, MediaType::Thumb, file).unwrap(), b"bytes", "{file}");
        }
        for (file, reason) in [
            ("outside.jpg", "leads out"),
            ("door/secret.jpg", "leads out"),
            ("../x.jpg", "No such file"),
            ("a", "is no file"),
            ("empty.jpg", "has 0 bytes"),
            ("large.jpg", "has 65537 bytes"),
            ("none.jpg", "No such file"),
        ] {
            let problem = look(root, MediaType::Thumb, file).unwrap_err();
            assert!(problem.reason.contains(reason), "{file}: {problem}");
        }
        assert!(look(root, MediaType::Image, "large.jpg").is_ok());
    }
}
