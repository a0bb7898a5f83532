//! Tasks of the neighbourhood, in lists.

use super::days::written;
use super::fields::{Faults, Fields, Invalid};
use super::page::Page;
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Serialize)]
pub struct Task {
    pub id: i64,
    #[serde(flatten)]
    pub draft: Draft,
    pub owner: i64,
    pub created_at: String,
    pub updated_at: String,
    #[serde(skip)]
    pub version: i64,
}

/// The part of a task that can be written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Draft {
    pub title: String,
    pub list: String,
    /// A day.
    pub due: Option<String>,
    pub done: bool,
}

/// Of one list.
#[derive(Serialize)]
pub struct Statistics {
    pub list: String,
    pub total: i64,
    pub done: i64,
    /// Not done, though their day is over.
    pub overdue: i64,
}

/// The question as asked.
#[derive(Debug, Default, Deserialize)]
pub struct TaskQuery {
    limit: Option<String>,
    cursor: Option<String>,
    list: Option<String>,
    done: Option<String>,
}

#[derive(Debug)]
pub struct TaskPage {
    pub page: Page,
    pub list: Option<String>,
    pub done: Option<bool>,
}

impl Draft {
    pub fn read(body: Value) -> Result<Self, Invalid> {
        let mut fields = Fields::of(body)?;
        let draft = Self {
            title: fields.text("title", 1..=200),
            list: fields.text("list", 1..=80),
            due: fields.optional_day("due").map(written),
            done: fields.optional_flag("done").unwrap_or(false),
        };
        fields.finish(draft)
    }

    /// The draft with `patch` laid over it, checked as a whole. RFC 7396.
    pub fn patched(&self, patch: Value) -> Result<Self, Invalid> {
        Self::read(super::fields::merged(self, patch))
    }
}

impl TaskQuery {
    pub fn check(self) -> Result<TaskPage, Invalid> {
        let mut faults = Faults::default();
        let page = Page::read(self.limit.as_deref(), self.cursor.as_deref(), &mut faults);
        let done = self.done.as_deref().map(str::parse).transpose();
        faults.note("done", done.is_ok(), "must be true or false");
        let fits = |list: &String| (1..=80).contains(&list.chars().count()) && !list.contains('\0');
        let rule = "must have 1 to 80 characters";
        faults.note("list", self.list.as_ref().is_none_or(fits), rule);
        faults.finish(TaskPage {
            page,
            list: self.list,
            done: done.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_patch_changes_what_it_names() {
        let draft = Draft::read(json!({"title": "Paint", "list": "Fence", "due": "2026-06-01"}));
        let draft = draft.expect("a good draft");
        let done = draft
            .patched(json!({"done": true, "due": null}))
            .expect("a good patch");
        assert_eq!(
            (done.done, done.due, done.title),
            (true, None, draft.title.clone())
        );
        assert!(draft.patched(json!({"due": "soon"})).is_err());
    }
}
