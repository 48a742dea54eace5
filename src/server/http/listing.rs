//! The page for a directory without an index file.

use std::{
    fmt::Write,
    fs::{self, Metadata},
    io,
    os::unix::ffi::OsStrExt,
    path::Path,
};

use super::{
    path::{decode, encode},
    refusal::escape_text,
};

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    name: Vec<u8>,
    directory: bool,
    link: bool,
}

/// Reads the names in a directory for which `shows` is true, in the order of `str.lower`, as
/// pywebsocket does.
///
/// # Errors
/// If the directory cannot be read. Blocks.
pub(super) fn read(
    directory: &Path,
    shows: impl Fn(&[u8], Option<&Metadata>) -> bool,
) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().as_bytes().to_vec();
        let metadata = fs::metadata(entry.path()).ok();
        if !shows(&name, metadata.as_ref()) {
            continue;
        }
        entries.push(Entry {
            name,
            directory: metadata.is_some_and(|metadata| metadata.is_dir()),
            link: entry.file_type().is_ok_and(|kind| kind.is_symlink()),
        });
    }
    let in_lower_case = |entry: &Entry| String::from_utf8_lossy(&entry.name).to_lowercase();
    let mut entries: Vec<_> =
        entries.into_iter().map(|entry| (in_lower_case(&entry), entry)).collect();
    entries.sort_by(|(a, one), (b, other)| (a, &one.name).cmp(&(b, &other.name)));
    Ok(entries.into_iter().map(|(_, entry)| entry).collect())
}

/// Writes the page; `target` is the whole request target.
///
/// A directory's name is followed by a slash, a link's name by an at sign.
pub(super) fn page(target: &str, entries: &[Entry]) -> String {
    let place = decode(target);
    let title = format!("Directory listing for {}", escape_text(&String::from_utf8_lossy(&place)));
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
         </head>\n<body>\n<h1>{title}</h1>\n<hr>\n<ul>\n"
    );
    for entry in entries {
        let slash = if entry.directory { "/" } else { "" };
        let mark = if entry.link { "@" } else { slash };
        let name = String::from_utf8_lossy(&entry.name);
        // writing to a string does not fail
        let _ = writeln!(
            page,
            "<li><a href=\"{}{slash}\">{}{mark}</a></li>",
            encode(&entry.name),
            escape_text(&name),
        );
    }
    page.push_str("</ul>\n<hr>\n</body>\n</html>\n");
    page
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(name: &str, directory: bool, link: bool) -> Entry {
        Entry { name: name.as_bytes().to_vec(), directory, link }
    }

    #[test]
    fn marks_directories_and_links() {
        let entries = [entry("a b", false, false), entry("d", true, false), entry("l", true, true)];
        let page = page("/x/?<b>&%3Ci%3E", &entries);
        assert!(page.contains("<title>Directory listing for /x/?&lt;b&gt;&amp;&lt;i&gt;</title>"));
        assert!(page.contains(
            "<li><a href=\"a%20b\">a b</a></li>\n<li><a href=\"d/\">d/</a></li>\n\
             <li><a href=\"l/\">l@</a></li>\n"
        ));
    }

    #[test]
    fn lists_names_of_every_kind_in_order() {
        let folder = std::env::temp_dir().join(format!("fastwsh-listing-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        for name in ["b", "A", ".c", "<e>"] {
            fs::write(folder.join(name), "").unwrap();
        }
        let entries = read(&folder, |_, _| true).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        let names: Vec<_> =
            entries.iter().map(|entry| String::from_utf8_lossy(&entry.name)).collect();
        assert_eq!(names, [".c", "<e>", "A", "b"]);
    }

    proptest! {
        #[test]
        fn names_and_targets_never_become_markup(name in ".*", target in ".*") {
            let tags = |page: &str| page.matches('<').count();
            let plain = page("", &[entry("", false, false)]);
            prop_assert_eq!(tags(&page(&target, &[entry(&name, false, false)])), tags(&plain));
        }
    }
}
