//! Prometheus' text format, version 0.0.4.

use std::fmt::{Display, Write};

/// The content type of the format.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Families of metrics, one after the other.
#[derive(Debug, Default)]
pub(super) struct Text(String);

/// The samples of one metric.
pub(super) struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
}

impl Text {
    /// Adds a number that only grows; its name ends in `_total`.
    pub(super) fn counter(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "counter", help)
    }

    /// Adds a number that goes up and down.
    pub(super) fn gauge(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "gauge", help)
    }

    // not inlined, nor is the next: `describe` calls them in many places
    #[inline(never)]
    fn family(&mut self, name: &'static str, kind: &str, help: &str) -> Family<'_> {
        // writing to a string does not fail, here and below
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family { text: &mut self.0, name }
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

impl Family<'_> {
    /// Adds a value without labels.
    pub(super) fn value(&mut self, value: impl Display) {
        self.labelled(&[], value);
    }

    /// Adds the value that goes with labels.
    pub(super) fn labelled(&mut self, labels: &[(&str, &str)], value: impl Display) -> &mut Self {
        self.sample(labels, &value);
        self
    }

    #[inline(never)]
    fn sample(&mut self, labels: &[(&str, &str)], value: &dyn Display) {
        self.text.push_str(self.name);
        for (index, (name, text)) in labels.iter().enumerate() {
            let separator = if index == 0 { '{' } else { ',' };
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.text, "{separator}{name}=\"{text}\"");
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut text = Text::default();
        text.counter("a_total", "Help.")
            .labelled(&[("path", "/a\"b\\c\nd"), ("type", "text")], 7_u64)
            .labelled(&[], 0.5);
        assert_eq!(
            text.into_string(),
            "# HELP a_total Help.\n# TYPE a_total counter\n\
             a_total{path=\"/a\\\"b\\\\c\\nd\",type=\"text\"} 7\na_total 0.5\n"
        );
    }
}
