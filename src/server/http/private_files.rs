//! Files in the document root that are not served: those that the server itself uses (keys, logs,
//! configuration), recognised by device and inode, and dot files.

use std::{
    collections::HashSet,
    fs::{self, Metadata},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Identifies a file independently of its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct FileId(u64, u64);

impl FileId {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self(metadata.dev(), metadata.ino())
    }
}

/// Decides which files are not served, listed or run.
#[derive(Debug, Clone, Default)]
pub(super) struct PrivateFiles {
    /// Files that the server itself uses.
    own: Vec<PathBuf>,
    serves_dot_files: bool,
}

impl PrivateFiles {
    pub(super) fn new(own: &[PathBuf], serves_dot_files: bool) -> Self {
        Self { own: own.to_vec(), serves_dot_files }
    }

    /// The server's own files at this moment, since logs are rotated and keys are renewed. Blocks.
    pub(super) fn own_files(&self) -> HashSet<FileId> {
        let mut files = HashSet::new();
        for path in &self.own {
            files.extend(fs::metadata(path).ok().map(|file| FileId::of(&file)));
            for number in 1.. {
                let mut name = path.as_os_str().to_owned();
                name.push(format!(".{number}"));
                match fs::metadata(PathBuf::from(name)) {
                    Ok(file) => drop(files.insert(FileId::of(&file))),
                    Err(_) if number < ROTATED => {}
                    Err(_) => break,
                }
            }
        }
        files
    }

    /// Whether a name in a path belongs to a dot file, which is not served.
    pub(super) fn hides(&self, name: &[u8]) -> bool {
        // files in `.well-known` are meant to be public (RFC 8615 3)
        !self.serves_dot_files && name.starts_with(b".") && name != b".well-known"
    }

    /// Whether a path below `root`, with all links resolved, contains the name of a dot file.
    pub(super) fn hides_path(&self, path: &Path, root: &Path) -> bool {
        let below = path.strip_prefix(root).unwrap_or(path);
        below.iter().any(|name| self.hides(name.as_encoded_bytes()))
    }
}

/// Older versions of a log file of which some may be missing, by pywebsocket's number of them
/// (`--log-file` keeps five unless told otherwise).
const ROTATED: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_dot_files_but_what_is_well_known() {
        let private = PrivateFiles::default();
        for name in [&b".git"[..], b".env", b"..", b"._x", b".well-known2"] {
            assert!(private.hides(name), "{name:?}");
        }
        for name in [&b".well-known"[..], b"a.b", b"", b"a."] {
            assert!(!private.hides(name), "{name:?}");
        }
        assert!(!PrivateFiles::new(&[], true).hides(b".git"));
    }
}
