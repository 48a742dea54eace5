//! The file system as strangers see it.

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

fn assert_same(found: &Found, expected: &Found) {
    assert_eq!(format!("{found:?}"), format!("{expected:?}"));
}

fn find(folder: &Folder, target: &str) -> Found {
    let directories = [b"/cgi".to_vec(), b"x/y/".to_vec()];
    let locator = Locator::new(&folder.0.join("root"), &directories, None, PrivateFiles::default());
    locator.find(&Resource::parse(target).unwrap())
}

fn is_file(found: &Found, name: &str) -> bool {
    matches!(found, Found::File(file) if file.plain.path.ends_with(name))
}

#[test]
fn finds_files_directories_and_index_files() {
    let folder = Folder::new();
    folder.put("root/a.txt", "", 0o644);
    folder.put("root/with/index.htm", "", 0o644);
    folder.put("root/without/b", "", 0o644);
    assert!(is_file(&find(&folder, "/a.txt"), "a.txt"));
    assert!(is_file(&find(&folder, "/with/"), "index.htm"));
    assert!(matches!(find(&folder, "/a.txt/"), Found::Missing));
    assert!(matches!(find(&folder, "/nope"), Found::Missing));
    assert!(matches!(find(&folder, "/without"), Found::NoSlash));
    assert_same(&find(&folder, "/without/"), &Found::Directory(folder.0.join("root/without")));
    assert!(matches!(find(&folder, &format!("/{}", "n".repeat(5000))), Found::Missing));
    assert!(matches!(find(&folder, "/a.txt/b"), Found::Missing));
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
    assert!(matches!(find(&folder, "/outside"), Found::Outside));
    assert!(matches!(find(&folder, "/folder/"), Found::Outside));
    assert!(matches!(find(&folder, "/folder/s.txt"), Found::Outside));
    assert!(matches!(find(&folder, "/dangling"), Found::Missing));
    assert!(matches!(find(&folder, "/a.txt"), Found::File(file) if file.gzip.is_none()));
}

#[test]
fn notices_compressed_siblings() {
    let folder = Folder::new();
    folder.put("root/a.txt", "", 0o644);
    folder.put("root/a.txt.br", "", 0o644);
    assert!(
        matches!(find(&folder, "/a.txt"), Found::File(file) if file.brotli.is_some() && file.gzip.is_none())
    );
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
    assert_same(&find(&folder, "/cgi/deep/run"), &script("/cgi/deep/run", "", deep));
    assert_same(&find(&folder, "/cgi/deep/run/"), &script("/cgi/deep/run", "/", deep));
    assert_same(&find(&folder, "/cgi//deep/run/a/b%20/"), &script("/cgi/deep/run", "/a/b /", deep));
    assert_same(&find(&folder, "/x/y/run/p"), &script("/x/y/run", "/p", "root/x/y/run"));
    assert!(matches!(find(&folder, "/cgi/nope/run"), Found::Missing));
    assert!(matches!(find(&folder, "/cgi/../cgi/deep/run"), Found::Forbidden));
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
    assert!(matches!(find(&folder, "/cgi/noexec.py"), Found::Forbidden));
    assert!(matches!(find(&folder, "/cgi/shebang"), Found::Forbidden));
    assert!(matches!(find(&folder, "/alias"), Found::Forbidden));
    assert!(matches!(find(&folder, "/cgi/shell"), Found::Outside));
    assert!(is_file(&find(&folder, "/cgi/style.css"), "style.css"));
}

#[test]
fn the_root_as_a_cgi_directory_is_not_the_whole_tree() {
    let folder = Folder::new();
    folder.put("root/run", "#!/bin/sh", 0o755);
    folder.put("root/sub/run", "#!/bin/sh", 0o755);
    let locator =
        Locator::new(&folder.0.join("root"), &[b"/".to_vec()], None, PrivateFiles::default());
    let find = |target: &str| locator.find(&Resource::parse(target).unwrap());
    assert!(matches!(find("/run"), Found::Script(_)));
    assert!(is_file(&find("/sub/run"), "sub/run"));
}
