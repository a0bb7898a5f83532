//! What is wrong with a file, and where: collected while it is read, shown all at once.
//!
//! Readers report and go on. Only [`Report::conclude`] decides whether there is a configuration,
//! so one run shows an operator every mistake.

use super::Config;
use super::outline::Outline;
use std::cell::RefCell;
use std::fmt;

/// Where something is written: line and column from 1, width in characters on that line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Which of the files, in the order in which they were read.
    pub file: usize,
    pub line: usize,
    pub column: usize,
    pub width: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
}

/// One mistake, with the line it is on. Its `Display` is what an operator reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    pub file: String,
    pub span: Span,
    /// What is wrong and what to write.
    pub message: String,
    /// The line as written; none where the file as a whole is meant.
    pub source: Option<String>,
}

/// All that is wrong with a file, in the order of its lines. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors(Vec<Diagnostic>);

/// Collects findings while a file is read.
#[derive(Default)]
pub struct Report {
    findings: RefCell<Vec<Finding>>,
    files: RefCell<Vec<File>>,
    outline: Option<Outline>,
}

struct File {
    /// What messages call it.
    name: String,
    text: String,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    span: Span,
    severity: Severity,
    message: String,
}

impl Span {
    /// The first file as a whole.
    pub const FILE: Span = Span::whole(0);

    /// A file as a whole.
    pub const fn whole(file: usize) -> Span {
        Span {
            file,
            line: 1,
            column: 1,
            width: 0,
        }
    }
}

impl Errors {
    /// The file can't be read at all.
    pub fn unreadable(file: &str, error: &std::io::Error) -> Errors {
        let finding = Finding {
            span: Span::FILE,
            severity: Severity::Error,
            message: format!("this file cannot be read: {error}"),
        };
        Errors(vec![finding.locate(file, "")])
    }

    /// At least 1.
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter()
    }
}

impl Report {
    /// For a reading of nothing, whose findings don't count.
    pub fn outlining(outline: Outline) -> Report {
        Report {
            outline: Some(outline),
            ..Report::default()
        }
    }

    /// A file that is read, and the number of it for spans. All are added before findings in them.
    pub fn add_file(&self, name: &str, text: &str) -> usize {
        let (name, text) = (name.to_owned(), text.to_owned());
        let mut files = self.files.borrow_mut();
        files.push(File { name, text });
        files.len() - 1
    }

    /// `FILE:LINE`.
    pub fn place(&self, span: Span) -> String {
        let files = self.files.borrow();
        let name = files.get(span.file).map_or("", |file| &file.name);
        format!("{name}:{}", span.line)
    }

    /// As whoever reads of `here` has to look for it: `line 7`, or in another file `FILE:7`.
    pub fn place_from(&self, here: Span, there: Span) -> String {
        match here.file == there.file {
            true => format!("line {}", there.line),
            false => self.place(there),
        }
    }

    pub fn outline(&self) -> Option<&Outline> {
        self.outline.as_ref()
    }

    pub fn into_outline(self) -> Option<Outline> {
        self.outline
    }

    pub fn error(&self, span: Span, message: impl Into<String>) {
        self.add(Severity::Error, span, message.into());
    }

    pub fn warn(&self, span: Span, message: impl Into<String>) {
        self.add(Severity::Warning, span, message.into());
    }

    fn add(&self, severity: Severity, span: Span, message: String) {
        self.findings.borrow_mut().push(Finding {
            span,
            severity,
            message,
        });
    }

    pub fn has_errors(&self) -> bool {
        let findings = self.findings.borrow();
        findings.iter().any(|f| f.severity == Severity::Error)
    }

    /// What is wrong at just that place.
    pub fn message_at(&self, span: Span) -> Option<String> {
        let findings = self.findings.borrow();
        let finding = findings.iter().find(|finding| finding.span == span)?;
        Some(without_passwords(&finding.message))
    }

    /// All that was wrong, whatever else there is.
    pub fn into_errors(self) -> Errors {
        let files = self.files.into_inner();
        let findings = self.findings.into_inner().into_iter();
        let located = findings.map(|finding| match files.get(finding.span.file) {
            Some(File { name, text }) => finding.locate(name, text),
            None => finding.locate("", ""),
        });
        Errors(located.collect())
    }

    /// The configuration if nothing was wrong, or else all that was.
    pub fn conclude(self, config: Option<Config>) -> Result<(Config, Vec<Diagnostic>), Errors> {
        let files = self.files.into_inner();
        let mut findings = self.findings.into_inner();
        findings.sort();
        findings.dedup();
        let (errors, warnings): (Vec<_>, Vec<_>) = findings
            .into_iter()
            .map(|finding| match files.get(finding.span.file) {
                Some(File { name, text }) => finding.locate(name, text),
                None => finding.locate("", ""),
            })
            .partition(|found| found.severity == Severity::Error);
        if !errors.is_empty() {
            return Err(Errors(errors));
        }
        let config = config.expect("whatever is missing was reported");
        Ok((config, warnings))
    }
}

impl Finding {
    fn locate(self, file: &str, text: &str) -> Diagnostic {
        let line = text.lines().nth(self.span.line - 1);
        Diagnostic {
            severity: self.severity,
            file: file.to_owned(),
            span: self.span,
            message: without_passwords(&self.message),
            source: line.filter(|_| self.span.width > 0).map(without_passwords),
        }
    }
}

/// What stands between `://` and `@` is starred out, character by character, so that columns stay:
/// errors are logged, and the admin listener shows them.
fn without_passwords(text: &str) -> String {
    let mut parts = text.split("://");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        shown += "://";
        let end = part.find(['/', ' ', '"', '\'']).unwrap_or(part.len());
        let secret = part[..end].rfind('@').unwrap_or(0);
        shown.extend(part[..secret].chars().map(|_| '*'));
        shown += &part[secret..];
    }
    shown
}

impl fmt::Display for Diagnostic {
    /// `FILE:LINE:COLUMN: MESSAGE`, then the line with what is meant underlined.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Span {
            line,
            column,
            width,
            ..
        } = self.span;
        let warning = match self.severity {
            Severity::Error => "",
            Severity::Warning => "warning: ",
        };
        write!(
            f,
            "{}:{line}:{column}: {warning}{}",
            self.file, self.message
        )?;
        let Some(source) = &self.source else {
            return Ok(());
        };
        // Tabs stay tabs, so that the caret stands right whatever width a terminal gives them.
        let lead = source.chars().take(column - 1);
        let lead: String = lead.map(|c| if c == '\t' { c } else { ' ' }).collect();
        write!(
            f,
            "\n{line:>4} | {source}\n{:>4} | {lead}{}",
            "",
            "^".repeat(width)
        )
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}
