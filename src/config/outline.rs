//! What a file may have: every key that a reader asks for, and what it takes. The readers
//! themselves write it down, asked to read a file in which nothing is, and then one in which
//! everything seems to be; so it can't say anything else than they do.

use super::refusal::Wanted;
use std::cell::RefCell;

/// Keys by their paths, in the order in which they are asked for. `upstreams.*.servers[].address`:
/// names that are the operator's are `*`, items of a list `[]`.
#[derive(Default)]
pub struct Outline {
    keys: RefCell<Vec<Key>>,
    /// The second reading: what is asked for under a condition is there.
    whole: bool,
}

#[derive(Debug)]
pub struct Key {
    pub path: String,
    /// More than one where a key may be written in several ways.
    pub shapes: Vec<Shape>,
    /// In each of the two readings.
    required: [bool; 2],
}

#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    One(Vec<Wanted>),
    List(Vec<Wanted>),
    /// `{NAME: value}`, with names of the operator's.
    Pairs(Vec<Wanted>),
    /// With keys of its own, under this path; as good as empty if it isn't there.
    Settings,
    /// The same, but being there means something.
    Section,
    /// Sections by the operator's names, under `PATH.*`.
    Named,
    /// A list of sections, under `PATH[]`.
    Items,
}

impl Outline {
    /// The same, to be gone on with in the second reading.
    pub fn again(self) -> Outline {
        Outline {
            whole: true,
            ..self
        }
    }

    /// Whether keys and sections are to be taken for there.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    pub fn note(&self, path: String, shape: Shape) {
        self.with(path, |key| {
            if !key.shapes.contains(&shape) {
                key.shapes.push(shape);
            }
        });
    }

    pub fn note_required(&self, path: String) {
        let reading = usize::from(self.whole);
        self.with(path, |key| key.required[reading] = true);
    }

    pub fn into_keys(self) -> Vec<Key> {
        self.keys.into_inner()
    }

    fn with(&self, path: String, change: impl FnOnce(&mut Key)) {
        let mut keys = self.keys.borrow_mut();
        let known = keys.iter().position(|key| key.path == path);
        let place = known.unwrap_or_else(|| {
            keys.push(Key {
                path,
                shapes: Vec::new(),
                required: [false; 2],
            });
            keys.len() - 1
        });
        change(&mut keys[place]);
    }
}

impl Key {
    /// Whatever else is written.
    pub fn is_required(&self) -> bool {
        self.required == [true; 2]
    }

    /// The path of the section that it is in, and its own name.
    pub fn parent_and_name(&self) -> (&str, &str) {
        self.path.rsplit_once('.').unwrap_or(("", &self.path))
    }
}
