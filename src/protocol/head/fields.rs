//! The fields of a head. All names and values of one head share their memory: strings of their own
//! would take two allocations each, and another thread than the one that made them would free them.

/// Names and values in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields {
    /// Each name and, behind it, its value.
    text: String,
    /// Where each name ends, and where its value ends.
    ends: Vec<(usize, usize)>,
}

impl Fields {
    /// No fields, with room for so many bytes, in so many fields.
    pub fn with_capacity(bytes: usize, count: usize) -> Self {
        Self { text: String::with_capacity(bytes), ends: Vec::with_capacity(count) }
    }

    /// Appends a field.
    pub fn push(&mut self, name: &str, value: &str) {
        self.text.push_str(name);
        let name_end = self.text.len();
        self.text.push_str(value);
        self.ends.push((name_end, self.text.len()));
    }

    /// Appends to the value of the last field, if there is one.
    pub fn continue_last(&mut self, text: &str) {
        if let Some((_, end)) = self.ends.last_mut() {
            self.text.push_str(text);
            *end = self.text.len();
        }
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|(_, end)| *end));
        let fields = starts.zip(&self.ends);
        fields.map(|(start, (name_end, end))| {
            (&self.text[start..*name_end], &self.text[*name_end..*end])
        })
    }

    /// The values of the fields of a name, whose case does not matter. A request is asked for many
    /// names, so this looks only at names of the right length.
    pub fn values<'a, 'b>(&'a self, name: &'b str) -> impl Iterator<Item = &'a str> + use<'a, 'b> {
        let mut start = 0;
        self.ends.iter().filter_map(move |&(name_end, end)| {
            let begins = std::mem::replace(&mut start, end);
            let is_named = name_end - begins == name.len()
                && self.text.as_bytes()[begins..name_end].eq_ignore_ascii_case(name.as_bytes());
            is_named.then(|| &self.text[name_end..end])
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The fields as strings of their own.
    pub fn to_pairs(&self) -> Vec<(String, String)> {
        self.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Fields {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(fields: I) -> Self {
        let mut made = Self::default();
        for (name, value) in fields {
            made.push(name, value);
        }
        made
    }
}

/// Splits header lines as Python's `email` parser does: the first line that is not a header ends
/// them, and a line that begins with white space continues the one before.
pub(super) fn parse<'a>(
    lines: impl Iterator<Item = &'a str>,
    bytes: usize,
    count: usize,
) -> Fields {
    let mut fields = Fields::with_capacity(bytes, count);
    // `email` ends a line at a bare CR as well
    for line in lines.flat_map(split_at_cr) {
        if line.starts_with([' ', '\t']) {
            fields.continue_last(line);
            continue;
        }
        if line.starts_with("From ") {
            continue;
        }
        let Some((name, value)) = line.split_once(':') else { break };
        if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            break;
        }
        fields.end_last();
        fields.push(name, value.trim_start_matches([' ', '\t']));
    }
    fields.end_last();
    fields
}

impl Fields {
    /// Trims the value of the last field, or removes the field if it has no name.
    fn end_last(&mut self) {
        let Some((name_end, _)) = self.ends.pop() else { return };
        let start = self.ends.last().map_or(0, |(_, end)| *end);
        if name_end == start {
            self.text.truncate(start);
            return;
        }
        let value = &self.text[name_end..];
        let end = name_end + value.trim_end_matches(['\r', '\n', ' ', '\t']).len();
        self.text.truncate(end);
        self.ends.push((name_end, end));
    }
}

/// Splits after every CR that is not part of a CRLF.
fn split_at_cr(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = line;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let bytes = rest.as_bytes();
        let is_bare = |at: &usize| bytes[*at] == b'\r' && bytes.get(at + 1) != Some(&b'\n');
        let end = (0..bytes.len()).find(is_bare).map_or(bytes.len(), |at| at + 1);
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, String)> {
        parse(text.split_inclusive('\n'), 0, 0).to_pairs()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.into(), value.into())
    }

    #[test]
    fn a_field_without_a_name_is_left_out_with_its_continuation() {
        assert_eq!(read(": x\r\n y\r\nA: 1\r\n"), [pair("A", "1")]);
        assert_eq!(read("A: 1\r\n: x\r\n y\r\n"), [pair("A", "1")]);
        assert_eq!(read(" folded\r\nA: 1\r\n"), [pair("A", "1")]);
    }

    #[test]
    fn values_are_trimmed_where_they_end() {
        assert_eq!(read("A:\t1 \r\n \r\nB:\r\n"), [pair("A", "1"), pair("B", "")]);
    }

    #[test]
    fn keeps_what_is_pushed() {
        let fields: Fields = [("a", ""), ("", "b"), ("a", "ü")].into_iter().collect();
        assert_eq!(fields.to_pairs(), [pair("a", ""), pair("", "b"), pair("a", "ü")]);
        assert_eq!(fields.len(), 3);
        assert_eq!(fields.values("A").collect::<Vec<_>>(), ["", "ü"]);
        assert_eq!(fields.values("b").next(), None);
    }
}
