//! Splits a text at the YAML document marks, so that a broken document does not hide those behind it.

/// One document of a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Document<'a> {
    /// Its text, which begins with its `---` line where it has one.
    pub text: &'a str,
    /// How many lines of the file stand before it.
    pub lines_before: usize,
}

/// The documents of `text` in order, without those that hold only blank lines, comments and directives.
///
/// A line that begins with `---` or `...` at its first column always ends a document, also inside a block or quoted
/// scalar (YAML 1.2, §9.1.2 and `c-forbidden`), so the split needs no parser.
pub fn split(text: &str) -> Vec<Document<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut documents = Vec::new();
    let (mut start, mut start_line, mut offset, mut line_number) = (0, 0, 0, 0);
    let mut close = |from: usize, to: usize, lines_before: usize| {
        let text = text.get(from..to).unwrap_or_default();
        if text.lines().any(has_content) {
            documents.push(Document { text, lines_before });
        }
    };
    for line in text.split_inclusive('\n') {
        let next = offset + line.len();
        if is_mark(line, "---") {
            close(start, offset, start_line);
            (start, start_line) = (offset, line_number);
        } else if is_mark(line, "...") {
            close(start, offset, start_line);
            (start, start_line) = (next, line_number + 1);
        }
        (offset, line_number) = (next, line_number + 1);
    }
    close(start, offset, start_line);
    documents
}

/// Whether `line` is the document mark, alone or before white space.
fn is_mark(line: &str, mark: &str) -> bool {
    line.strip_prefix(mark).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\n', '\r']))
}

/// Whether the line says more than a mark, a comment or a directive.
fn has_content(line: &str) -> bool {
    if line.starts_with('%') {
        return false;
    }
    let line = if is_mark(line, "---") { line.get(3..).unwrap_or_default() } else { line };
    let line = line.trim();
    !line.is_empty() && !line.starts_with('#')
}
