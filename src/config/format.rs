//! `lakh fmt`: a file as most would write it, with its comments, and meaning exactly the same.
//!
//! Lines are what is worked on, because YAML's readers drop comments: each nested level is two spaces
//! more, nothing stands at a line's end, and no two lines in a row are empty. What a line says is not
//! touched. Whether both texts mean the same is asked of the parser.

use super::diagnostic::{Errors, Report};
use super::tree::{self, Node, Value};

const STEP: usize = 2;

/// An error where `text` is no YAML; `file` is what messages call it.
pub fn format(text: &str, file: &str) -> Result<String, Errors> {
    let text = text.trim_start_matches('\u{feff}');
    let before = meaning(text, file)?;
    let mut formatted = Lines::default();
    text.lines().for_each(|line| formatted.add(line));
    let formatted = formatted.finish();
    match meaning(&formatted, file) {
        Ok(after) if is_same(&before, &after) => Ok(formatted),
        // Something that lines don't show. Better as it is than something else.
        _ => Ok(text.to_owned()),
    }
}

fn meaning(text: &str, file: &str) -> Result<Node, Errors> {
    let report = Report::default();
    let number = report.add_file(file, text);
    // Variables are left as they are written.
    let root = tree::parse(number, text, &|name| Some(name.to_owned()), &report);
    root.ok_or_else(|| report.into_errors())
}

fn is_same(a: &Node, b: &Node) -> bool {
    match (&a.value, &b.value) {
        (Value::Text(a), Value::Text(b)) => a == b,
        (Value::List(a), Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b))
        }
        (Value::Map(a), Value::Map(b)) => {
            let mut pairs = a.iter().zip(b);
            a.len() == b.len() && pairs.all(|(a, b)| a.key == b.key && is_same(&a.node, &b.node))
        }
        (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
    }
}

/// What has been written so far, and where it stands in the text's structure.
#[derive(Default)]
struct Lines {
    out: String,
    /// Columns of the levels that are open: as they were, and as they are now.
    levels: Vec<(usize, usize)>,
    /// Comments whose place the next line decides.
    comments: Vec<Comment>,
    /// By how many columns the last line was moved.
    shift: isize,
    within: Within,
    /// An empty line is wanted before the next.
    gap: bool,
}

struct Comment {
    column: usize,
    /// Of the level that is open in its column, where there is one.
    level: Option<usize>,
    /// None: an empty line.
    text: Option<String>,
}

/// What goes on from the line before; moved with the line that it began on, by so many columns.
#[derive(Clone, Copy, Default, PartialEq)]
enum Within {
    #[default]
    Nothing,
    /// Brackets or quotes that are open.
    Flow { state: Flow, shift: isize },
    /// A text by `|` or `>`, which ends at this column or left of it.
    Block { column: usize, shift: isize },
}

#[derive(Clone, Copy, Default, PartialEq)]
struct Flow {
    depth: usize,
    quote: Option<char>,
}

impl Lines {
    fn add(&mut self, line: &str) {
        let content = line.trim_end();
        let column = content.len() - content.trim_start_matches(' ').len();
        let rest = &content[column..];
        match self.within {
            Within::Block { .. } if rest.is_empty() => return self.out.push('\n'),
            Within::Block { column: end, shift } if column > end => {
                // Spaces at its end are the text's.
                let text = &line[column..];
                return self.write(moved(column, shift), text);
            }
            Within::Flow { state, shift } if !rest.is_empty() => {
                let state = state.after(rest);
                self.within = Within::of_flow(state, shift);
                return self.write(moved(column, shift), rest);
            }
            Within::Flow { .. } => return self.out.push('\n'),
            Within::Block { .. } | Within::Nothing => self.within = Within::Nothing,
        }
        match rest.chars().next() {
            None if self.comments.is_empty() => self.gap = !self.out.is_empty(),
            None => self.comment(column, None),
            Some('#') => self.comment(column, Some(rest.to_owned())),
            Some(_) => self.add_content(column, rest),
        }
    }

    fn comment(&mut self, column: usize, text: Option<String>) {
        let mut levels = self.levels.iter().rev();
        let level = levels
            .find(|(before, _)| *before == column)
            .map(|(_, now)| *now);
        self.comments.push(Comment {
            column,
            level,
            text,
        });
    }

    fn add_content(&mut self, column: usize, rest: &str) {
        let now = self.level(column);
        self.flush(column, now);
        self.shift = now as isize - column as isize;
        let (mut inner, mut text, mut begin) = (column, rest, String::new());
        while let Some(item) = text.strip_prefix("- ") {
            let trimmed = item.trim_start_matches(' ');
            inner += 2 + item.len() - trimmed.len();
            begin.push_str("- ");
            text = trimmed;
            self.levels.push((inner, now + begin.len()));
        }
        let shift = (now + begin.len()) as isize - inner as isize;
        self.within = match is_block_header(text) {
            // What it belongs to is the innermost key or item of the line.
            true => Within::Block {
                column: begins_at(column, inner, text),
                shift,
            },
            false => Within::of_flow(Flow::default().after(text), shift),
        };
        self.write(now, &(begin + text));
    }

    /// Where the level of this column is now.
    fn level(&mut self, column: usize) -> usize {
        while self
            .levels
            .last()
            .is_some_and(|(before, _)| *before > column)
        {
            self.levels.pop();
        }
        match self.levels.last() {
            Some((before, now)) if *before == column => *now,
            outer => {
                let now = outer.map_or(0, |(_, now)| now + STEP);
                self.levels.push((column, now));
                now
            }
        }
    }

    /// Comments stand where what follows them does, or where their level does, or, behind what they go on
    /// from, where they stood.
    fn flush(&mut self, before: usize, now: usize) {
        for comment in std::mem::take(&mut self.comments) {
            let column = match comment.level {
                _ if comment.column == before => now,
                Some(level) => level,
                None => moved(comment.column, self.shift),
            };
            match comment.text {
                Some(text) => self.write(column, &text),
                None => self.gap = true,
            }
        }
    }

    fn write(&mut self, column: usize, text: &str) {
        if std::mem::take(&mut self.gap) {
            self.out.push('\n');
        }
        self.out.extend(std::iter::repeat_n(' ', column));
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn finish(mut self) -> String {
        self.flush(0, 0);
        let end = self.out.trim_end_matches('\n').len();
        match (end, self.within) {
            // Its empty lines may be part of it.
            (_, Within::Block { .. }) => self.out,
            (0, _) => String::new(),
            _ => {
                self.out.truncate(end);
                self.out + "\n"
            }
        }
    }
}

impl Within {
    fn of_flow(state: Flow, shift: isize) -> Within {
        match state.depth > 0 || state.quote.is_some() {
            true => Within::Flow { state, shift },
            false => Within::Nothing,
        }
    }
}

impl Flow {
    /// Once this much more has been read.
    fn after(mut self, text: &str) -> Flow {
        let mut before = ' ';
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match (self.quote, c) {
                (Some('"'), '\\') => drop(chars.next()),
                (Some('\''), '\'') if chars.peek() == Some(&'\'') => drop(chars.next()),
                (Some(quote), c) if c == quote => self.quote = None,
                (Some(_), _) => {}
                (None, '#') if before == ' ' => break,
                // Within a plain word it is a character like others.
                (None, '"' | '\'') if " [{,:".contains(before) => self.quote = Some(c),
                (None, '[' | '{') if self.depth > 0 || " [{,:".contains(before) => self.depth += 1,
                (None, ']' | '}') => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            before = c;
        }
        self
    }
}

/// `key: |` and the like.
fn is_block_header(text: &str) -> bool {
    let text = text.split(" #").next().unwrap_or(text).trim_end();
    let head = text.trim_end_matches(|c: char| "+-".contains(c) || c.is_ascii_digit());
    let head = head.strip_suffix(['|', '>']);
    head.is_some_and(|head| head.is_empty() || head.ends_with(": ") || head.ends_with("- "))
}

/// The column that a block text's lines are right of.
fn begins_at(column: usize, inner: usize, text: &str) -> usize {
    match text.starts_with(['|', '>']) {
        // `- |`: of the item.
        true => column,
        false => inner,
    }
}

fn moved(column: usize, shift: isize) -> usize {
    column.saturating_add_signed(shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formatted(text: &str) -> String {
        format(text, "test.yaml").expect("YAML")
    }

    #[test]
    fn levels_are_two_spaces_and_comments_stay() {
        let wild = "# of the file\r\nlisteners:\n      # the web\n      web:\n            address: 127.0.0.1:8080   \n\n\n\nroutes:\n    -   name: all # all\n        match: {path: /*,\n            methods: [GET]}\n\n    # the last\n    - name: other\n";
        let tame = "# of the file\nlisteners:\n  # the web\n  web:\n    address: 127.0.0.1:8080\n\nroutes:\n  - name: all # all\n    match: {path: /*,\n        methods: [GET]}\n\n  # the last\n  - name: other\n";
        assert_eq!(formatted(wild), tame);
        assert_eq!(formatted(tame), tame);
    }

    #[test]
    fn texts_of_many_lines_keep_what_they_say() {
        let text =
            "a:\n    b: |\n        one\n          two\n\n        three\n    c: \"x\n        y\"\n";
        let tame = "a:\n  b: |\n      one\n        two\n\n      three\n  c: \"x\n      y\"\n";
        assert_eq!(formatted(text), tame);
        for odd in [
            "",
            "# only a comment\n",
            "a: 'it''s # no comment'\nb: x#y\n",
            "- - 1\n  - 2\n- 3\n",
        ] {
            assert_eq!(formatted(odd), odd);
        }
    }

    #[test]
    fn what_is_no_yaml_is_told() {
        let errors = format("a: [\n", "test.yaml").expect_err("no YAML");
        assert!(errors.to_string().starts_with("test.yaml:"), "{errors}");
    }
}
