//! Explains a wrong first line of a program, which names its interpreter: the system's error does
//! not.

use std::{fs::File, io::Read, path::Path};

/// The most bytes of the line that Linux reads; other systems read less.
const LONGEST: u64 = 256;

/// Explains what is wrong with the line, if that is known. A carriage return at its end is a part
/// of the interpreter's name or of its argument, and is invisible on the screen.
pub(super) fn fault(program: &Path) -> Option<&'static str> {
    let mut start = Vec::new();
    File::open(program).ok()?.take(LONGEST).read_to_end(&mut start).ok()?;
    let line = start.split(|byte| *byte == b'\n').next()?;
    (line.starts_with(b"#!") && line.ends_with(b"\r")).then_some(
        "its first line ends with CR LF, and the CR is taken for a part of the interpreter's name: \
         save the file with LF",
    )
}
