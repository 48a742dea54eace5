//! From a path to a file: index files, symbolic links, and what is a CGI program.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::Read,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::path::Resource;

/// Served for a directory, in this order.
const INDEX_FILES: [&str; 2] = ["index.html", "index.htm"];

/// Extensions of programs, whose source is nobody's business; also what begins with `#!`.
const SCRIPT_EXTENSIONS: [&str; 8] = ["cgi", "lua", "php", "pl", "py", "rb", "sh", "tcl"];

/// Says whether a file is a program; for embedders who know better than the mode bits.
pub type IsExecutable = Arc<dyn Fn(&Path) -> bool + Send + Sync>;

/// What a path leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A file to send.
    File(PlainFile),
    /// A directory without an index file.
    Directory(PathBuf),
    /// A directory whose slash is missing.
    NoSlash,
    /// A program to run.
    Script(Script),
    /// A program that must not be run, and whose source is not shown.
    Forbidden,
    /// A symbolic link leads out of the document root.
    Outside,
    /// Nothing.
    Missing,
}

/// A file to send; all paths are free of links.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PlainFile {
    pub(super) path: PathBuf,
    /// The name it was asked for by, which tells its type.
    pub(super) name: PathBuf,
    /// Whether there is a compressed version beside it.
    pub(super) gzip: bool,
    pub(super) brotli: bool,
}

/// A program and the part of the path behind it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Script {
    pub(super) path: PathBuf,
    /// The path up to the program's name, decoded.
    pub(super) name: Vec<u8>,
    /// The path behind it, decoded; empty or begins with a slash.
    pub(super) path_info: Vec<u8>,
}

/// Looks paths up. All methods block.
#[derive(Clone)]
pub(super) struct Locator {
    /// Free of links.
    root: PathBuf,
    /// Where programs are, as names from the root.
    cgi_directories: Vec<Vec<Vec<u8>>>,
    is_executable: Option<IsExecutable>,
}

impl std::fmt::Debug for Locator {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Locator").field("root", &self.root).finish_non_exhaustive()
    }
}

impl Locator {
    pub(super) fn new(
        root: &Path,
        cgi_directories: &[String],
        is_executable: Option<IsExecutable>,
    ) -> Self {
        let names = |path: &String| {
            let names = path.split('/').filter(|name| !name.is_empty());
            names.map(|name| name.as_bytes().to_vec()).collect()
        };
        Self {
            root: root.canonicalize().unwrap_or_else(|_| root.to_owned()),
            cgi_directories: cgi_directories.iter().map(names).collect(),
            is_executable,
        }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Finds what a resource names.
    pub(super) fn find(&self, resource: &Resource) -> Found {
        for directory in &self.cgi_directories {
            if is_below(directory, &resource.segments) {
                if let Some(found) = self.find_script(resource, directory.len()) {
                    return found;
                }
            }
        }
        self.find_file(resource)
    }

    /// Finds the program of a path in a CGI directory, which is `depth` names deep.
    fn find_script(&self, resource: &Resource, depth: usize) -> Option<Found> {
        let segments = &resource.segments;
        let mut path = self.path(&segments[..depth]);
        let end = segments[depth..].iter().position(|name| {
            path.push(OsStr::from_bytes(name));
            // a directory on the way, or nothing, is for `find_file`
            !path.is_dir()
        })? + depth
            + 1;
        let file = path.canonicalize().ok().filter(|file| file.is_file())?;
        if !file.starts_with(&self.root) {
            return Some(Found::Outside);
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
            // not a regular file either: opening a pipe would wait for its other end
            return Found::Missing;
        } else {
            (asked, path)
        };
        // another name of a program, by a link or in other letters, does not show its source
        if self.is_in_cgi_directory(&path) && looks_like_script(&path) {
            return Found::Forbidden;
        }
        let (gzip, brotli) = (self.has_sibling(&path, ".gz"), self.has_sibling(&path, ".br"));
        Found::File(PlainFile { path, name: asked, gzip, brotli })
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

    fn has_sibling(&self, file: &Path, extension: &str) -> bool {
        let mut name = file.as_os_str().to_owned();
        name.push(extension);
        let sibling = Path::new(&name).canonicalize();
        sibling.is_ok_and(|sibling| sibling.is_file() && sibling.starts_with(&self.root))
    }
}

/// Whether names lead into a directory. The root as a CGI directory means only the files in it, not
/// everything below, as in pywebsocket.
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
mod tests {
    use std::{
        os::unix::fs::symlink,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    /// A folder that is removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            static COUNT: AtomicUsize = AtomicUsize::new(0);
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("fastwsh-locate-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).unwrap();
            Self(path.canonicalize().unwrap())
        }

        fn put(&self, name: &str, content: &str, mode: u32) {
            let path = self.0.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn find(folder: &Folder, target: &str) -> Found {
        let directories = ["/cgi".to_owned(), "x/y/".to_owned()];
        let locator = Locator::new(&folder.0.join("root"), &directories, None);
        locator.find(&Resource::parse(target).unwrap())
    }

    fn is_file(found: &Found, name: &str) -> bool {
        matches!(found, Found::File(file) if file.path.ends_with(name))
    }

    #[test]
    fn finds_files_directories_and_index_files() {
        let folder = Folder::new();
        folder.put("root/a.txt", "", 0o644);
        folder.put("root/with/index.htm", "", 0o644);
        folder.put("root/without/b", "", 0o644);
        assert!(is_file(&find(&folder, "/a.txt"), "a.txt"));
        assert!(is_file(&find(&folder, "/with/"), "index.htm"));
        assert_eq!(find(&folder, "/a.txt/"), Found::Missing);
        assert_eq!(find(&folder, "/nope"), Found::Missing);
        assert_eq!(find(&folder, "/without"), Found::NoSlash);
        assert_eq!(find(&folder, "/without/"), Found::Directory(folder.0.join("root/without")));
        assert_eq!(find(&folder, &format!("/{}", "n".repeat(5000))), Found::Missing);
        assert_eq!(find(&folder, "/a.txt/b"), Found::Missing);
    }

    #[test]
    fn links_must_stay_inside_the_root() {
        let folder = Folder::new();
        folder.put("root/a.txt", "", 0o644);
        folder.put("secret/s.txt", "", 0o644);
        let link = |target: &str, name: &str| symlink(target, folder.0.join(name)).unwrap();
        link("a.txt", "root/inside");
        link("../secret/s.txt", "root/outside");
        link("../secret", "root/folder");
        link("../secret/s.txt", "root/a.txt.gz");
        link("/nonexistent", "root/dangling");
        assert!(is_file(&find(&folder, "/inside"), "a.txt"));
        assert_eq!(find(&folder, "/outside"), Found::Outside);
        assert_eq!(find(&folder, "/folder/"), Found::Outside);
        assert_eq!(find(&folder, "/folder/s.txt"), Found::Outside);
        assert_eq!(find(&folder, "/dangling"), Found::Missing);
        assert!(matches!(find(&folder, "/a.txt"), Found::File(file) if !file.gzip));
    }

    #[test]
    fn notices_compressed_siblings() {
        let folder = Folder::new();
        folder.put("root/a.txt", "", 0o644);
        folder.put("root/a.txt.br", "", 0o644);
        assert!(matches!(find(&folder, "/a.txt"), Found::File(file) if file.brotli && !file.gzip));
    }

    #[test]
    fn splits_the_path_at_the_program() {
        let folder = Folder::new();
        folder.put("root/cgi/deep/run", "#!/bin/sh", 0o755);
        folder.put("root/x/y/run", "#!/bin/sh", 0o755);
        let script = |name: &str, path_info: &str, path: &str| {
            Found::Script(Script {
                path: folder.0.join(path),
                name: name.into(),
                path_info: path_info.into(),
            })
        };
        let deep = "root/cgi/deep/run";
        assert_eq!(find(&folder, "/cgi/deep/run"), script("/cgi/deep/run", "", deep));
        assert_eq!(find(&folder, "/cgi/deep/run/"), script("/cgi/deep/run", "/", deep));
        assert_eq!(
            find(&folder, "/cgi//deep/run/a/b%20/"),
            script("/cgi/deep/run", "/a/b /", deep)
        );
        assert_eq!(find(&folder, "/x/y/run/p"), script("/x/y/run", "/p", "root/x/y/run"));
        assert_eq!(find(&folder, "/cgi/nope/run"), Found::Missing);
        assert_eq!(find(&folder, "/cgi/../cgi/deep/run"), Found::Forbidden);
    }

    #[test]
    fn shows_no_source_of_a_program() {
        let folder = Folder::new();
        folder.put("root/cgi/noexec.py", "print", 0o644);
        folder.put("root/cgi/shebang", "#!/bin/sh", 0o644);
        folder.put("root/cgi/style.css", "a{}", 0o644);
        folder.put("root/cgi/run", "#!/bin/sh", 0o755);
        symlink("cgi/run", folder.0.join("root/alias")).unwrap();
        symlink("/bin/sh", folder.0.join("root/cgi/shell")).unwrap();
        assert_eq!(find(&folder, "/cgi/noexec.py"), Found::Forbidden);
        assert_eq!(find(&folder, "/cgi/shebang"), Found::Forbidden);
        assert_eq!(find(&folder, "/alias"), Found::Forbidden);
        assert_eq!(find(&folder, "/cgi/shell"), Found::Outside);
        assert!(is_file(&find(&folder, "/cgi/style.css"), "style.css"));
    }

    #[test]
    fn the_root_as_a_cgi_directory_is_not_the_whole_tree() {
        let folder = Folder::new();
        folder.put("root/run", "#!/bin/sh", 0o755);
        folder.put("root/sub/run", "#!/bin/sh", 0o755);
        let locator = Locator::new(&folder.0.join("root"), &["/".to_owned()], None);
        let find = |target: &str| locator.find(&Resource::parse(target).unwrap());
        assert!(matches!(find("/run"), Found::Script(_)));
        assert!(is_file(&find("/sub/run"), "sub/run"));
    }
}
