//! Finds the file of a path: index files, symbolic links and CGI programs.

use std::{
    ffi::OsStr,
    fs::{self, File, Metadata},
    io::{self, Read},
    os::unix::{
        ffi::OsStrExt,
        fs::{OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

use super::{
    listing::{self, Entry},
    path::Resource,
    private_files::{FileId, PrivateFiles},
};
use crate::{
    server::config::IsExecutable,
    system::{Native, System},
};

/// The files that are served for a directory, in this order.
const INDEX_FILES: [&str; 2] = ["index.html", "index.htm"];

/// Extensions of programs. The source of a program must not be shown. Files that begin with `#!`
/// are programs, too.
const SCRIPT_EXTENSIONS: [&str; 8] = ["cgi", "lua", "php", "pl", "py", "rb", "sh", "tcl"];

/// What a path names.
#[derive(Debug)]
pub(super) enum Found {
    /// A file to send.
    File(Box<PlainFile>),
    /// A directory without an index file.
    Directory(PathBuf),
    /// A directory, but the path does not end in a slash.
    NoSlash,
    /// A program to run.
    Script(Script),
    /// A program that must not be run. Its source is not shown either.
    Forbidden,
    /// A symbolic link leads out of the document root.
    Outside,
    /// Nothing, or something private.
    Missing,
    /// A file that the server may not read.
    Unreadable,
}

/// A file to send.
#[derive(Debug)]
pub(super) struct PlainFile {
    pub(super) plain: OpenFile,
    /// The name in the request, which determines the content type.
    pub(super) name: PathBuf,
    /// The compressed versions beside it.
    pub(super) gzip: Option<OpenFile>,
    pub(super) brotli: Option<OpenFile>,
}

/// A file that was opened and may be sent.
#[derive(Debug)]
pub(super) struct OpenFile {
    /// Free of links.
    pub(super) path: PathBuf,
    /// The file that was checked. Another file may take its path later.
    pub(super) file: File,
    pub(super) metadata: Metadata,
}

/// Why a file is not sent.
enum NotOpened {
    Outside,
    Missing,
    Unreadable,
}

impl From<NotOpened> for Found {
    fn from(reason: NotOpened) -> Self {
        match reason {
            NotOpened::Outside => Self::Outside,
            NotOpened::Missing => Self::Missing,
            NotOpened::Unreadable => Self::Unreadable,
        }
    }
}

/// A program, and the part of the path after its name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Script {
    pub(super) path: PathBuf,
    /// The path up to the program's name, decoded.
    pub(super) name: Vec<u8>,
    /// The path after the name, decoded; empty, or begins with a slash.
    pub(super) path_info: Vec<u8>,
}

/// Finds files. All methods block.
#[derive(Clone)]
pub(super) struct Locator {
    /// With all links resolved.
    root: PathBuf,
    /// The folders with programs, as names from the root.
    cgi_directories: Vec<Vec<Vec<u8>>>,
    is_executable: Option<IsExecutable>,
    private: PrivateFiles,
}

impl std::fmt::Debug for Locator {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Locator").field("root", &self.root).finish_non_exhaustive()
    }
}

impl Locator {
    pub(super) fn new(
        root: &Path,
        cgi_directories: &[Vec<u8>],
        is_executable: Option<IsExecutable>,
        private: PrivateFiles,
    ) -> Self {
        let names = |path: &Vec<u8>| {
            let names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
            names.map(<[u8]>::to_vec).collect()
        };
        Self {
            root: root.canonicalize().unwrap_or_else(|_| root.to_owned()),
            cgi_directories: cgi_directories.iter().map(names).collect(),
            is_executable,
            private,
        }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Finds what a resource names.
    pub(super) fn find(&self, resource: &Resource) -> Found {
        if resource.segments.iter().any(|name| self.private.hides(name)) {
            return Found::Missing;
        }
        for directory in &self.cgi_directories {
            if is_below(directory, &resource.segments) {
                if let Some(found) = self.find_script(resource, directory.len()) {
                    return found;
                }
            }
        }
        self.find_file(resource)
    }

    /// Finds the program of a path in a CGI directory that is `depth` names deep.
    fn find_script(&self, resource: &Resource, depth: usize) -> Option<Found> {
        let segments = &resource.segments;
        let mut path = self.path(&segments[..depth]);
        let end = segments[depth..].iter().position(|name| {
            path.push(OsStr::from_bytes(name));
            // if this is a directory or does not exist, `find_file` answers
            !path.is_dir()
        })? + depth
            + 1;
        let file = path.canonicalize().ok().filter(|file| file.is_file())?;
        if !file.starts_with(&self.root) {
            return Some(Found::Outside);
        }
        if self.is_private(&file, &file.metadata().ok()?) {
            return Some(Found::Missing);
        }
        if !self.is_executable(&file) {
            return looks_like_script(&file).then_some(Found::Forbidden);
        }
        if resource.climbs {
            return Some(Found::Forbidden);
        }
        let mut path_info = join(&segments[end..]);
        if resource.slash {
            path_info.push(b'/');
        }
        Some(Found::Script(Script { path: file, name: join(&segments[..end]), path_info }))
    }

    fn find_file(&self, resource: &Resource) -> Found {
        let asked = self.path(&resource.segments);
        let Ok(path) = asked.canonicalize() else { return Found::Missing };
        if !path.starts_with(&self.root) {
            return Found::Outside;
        }
        let (asked, path) = if path.is_dir() {
            if !resource.slash {
                return Found::NoSlash;
            }
            let index = INDEX_FILES.iter().map(|name| asked.join(name)).find_map(|name| {
                let file = name.canonicalize().ok()?;
                file.is_file().then_some((name, file))
            });
            match index {
                Some((_, file)) if !file.starts_with(&self.root) => return Found::Outside,
                Some(index) => index,
                None => return Found::Directory(path),
            }
        } else if resource.slash || !path.is_file() {
            // nor serve anything but a regular file: opening a pipe would wait for its other end
            return Found::Missing;
        } else {
            (asked, path)
        };
        // the path may be another name of a program, by a link or in other letter case, and must
        // not show its source
        if self.is_in_cgi_directory(&path) && looks_like_script(&path) {
            return Found::Forbidden;
        }
        let (gzip, brotli) = (self.open_sibling(&path, ".gz"), self.open_sibling(&path, ".br"));
        match self.open(path) {
            Ok(plain) => Found::File(Box::new(PlainFile { plain, name: asked, gzip, brotli })),
            Err(reason) => reason.into(),
        }
    }

    /// Opens a file and checks the opened file, not the path: another process may replace the path
    /// by a link between the check and the use.
    fn open(&self, path: PathBuf) -> Result<OpenFile, NotOpened> {
        // do not wait for the other end of a pipe
        let mut options = File::options();
        options.read(true).custom_flags(open_flags());
        let file = options.open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => NotOpened::Unreadable,
            _ => NotOpened::Missing,
        })?;
        let metadata = file.metadata().map_err(|_| NotOpened::Missing)?;
        let place = Native::path_of(&file, &path).map_err(|_| NotOpened::Missing)?;
        if !place.starts_with(&self.root) {
            return Err(NotOpened::Outside);
        }
        if !metadata.is_file() || self.is_private(&place, &metadata) {
            return Err(NotOpened::Missing);
        }
        Ok(OpenFile { path, file, metadata })
    }

    fn is_private(&self, path: &Path, metadata: &Metadata) -> bool {
        self.private.hides_path(path, &self.root)
            || self.private.own_files().contains(&FileId::of(metadata))
    }

    /// The names in a directory that may be shown.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        let own = self.private.own_files();
        let shows = |name: &[u8], metadata: Option<&Metadata>| {
            !self.private.hides(name)
                && !metadata.is_some_and(|metadata| own.contains(&FileId::of(metadata)))
        };
        listing::read(directory, shows)
    }

    fn path(&self, segments: &[Vec<u8>]) -> PathBuf {
        let mut path = self.root.clone();
        path.extend(segments.iter().map(|name| OsStr::from_bytes(name)));
        path
    }

    fn is_executable(&self, file: &Path) -> bool {
        match &self.is_executable {
            Some(is_executable) => is_executable(file),
            None => {
                fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0)
            }
        }
    }

    fn is_in_cgi_directory(&self, file: &Path) -> bool {
        let Ok(below) = file.strip_prefix(&self.root) else { return false };
        let names: Vec<_> = below.iter().map(|name| name.as_bytes().to_vec()).collect();
        self.cgi_directories.iter().any(|directory| is_below(directory, &names))
    }

    /// Opens a compressed version of a file. It is sent under the file's name, so that all that
    /// keeps a file from being sent holds for it, too.
    fn open_sibling(&self, file: &Path, extension: &str) -> Option<OpenFile> {
        let mut name = file.as_os_str().to_owned();
        name.push(extension);
        let sibling = Path::new(&name).canonicalize().ok()?;
        if self.is_in_cgi_directory(&sibling) && looks_like_script(&sibling) {
            return None;
        }
        self.open(sibling).ok()
    }
}

fn open_flags() -> i32 {
    i32::try_from((OFlags::NONBLOCK | OFlags::CLOEXEC).bits()).unwrap_or_default()
}

/// Whether names lead into a directory. If the root itself is a CGI directory, only the files
/// directly in it count, as in pywebsocket.
fn is_below(directory: &[Vec<u8>], names: &[Vec<u8>]) -> bool {
    match directory.len() {
        0 => names.len() == 1,
        depth => names.len() > depth && names.starts_with(directory),
    }
}

fn join(names: &[Vec<u8>]) -> Vec<u8> {
    names.iter().flat_map(|name| [&b"/"[..], name]).flatten().copied().collect()
}

fn looks_like_script(file: &Path) -> bool {
    let extension = file.extension().and_then(OsStr::to_str).unwrap_or_default();
    let mut start = Vec::new();
    SCRIPT_EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known))
        || File::open(file)
            .and_then(|file| file.take(2).read_to_end(&mut start))
            .is_ok_and(|_| start == b"#!")
}

#[cfg(test)]
mod tests;
