//! Names of topics.

/// A name has at most this many bytes of UTF-8: enough for any path or identifier, and a name that a
/// client chooses cannot fill the memory.
pub const MAX_NAME_BYTES: usize = 255;

/// A name that no topic can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is empty.
    #[error("the name of a topic must not be empty")]
    Empty,
    /// It is too long.
    #[error("the name of a topic has {0} bytes of UTF-8, and may have {MAX_NAME_BYTES} at most")]
    TooLong(usize),
}

/// Checks the name of a topic.
///
/// # Errors
/// If no topic can have this name.
pub fn check_name(name: &str) -> Result<(), NameError> {
    match name.len() {
        0 => Err(NameError::Empty),
        1..=MAX_NAME_BYTES => Ok(()),
        length => Err(NameError::TooLong(length)),
    }
}
