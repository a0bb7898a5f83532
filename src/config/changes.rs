//! What is different between two configurations: by what things are called, not by where they stand
//! in the file; and a default that is written out is no difference.

use super::outline::{Key, Shape};
use super::reference::{Note, notes};
use super::units::{duration, size};
use super::written::{Written, shown};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

/// In the order of the keys.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Changes(pub Vec<Change>);

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Change {
    pub change: Kind,
    /// `upstreams.app.timeouts.read`, `routes.photos`.
    pub path: String,
    /// Secrets are hidden. None: it was not written, so it was the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<Value>,
    /// It takes a new process.
    #[serde(default)]
    pub needs_upgrade: bool,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Added,
    Removed,
    Changed,
}

/// What a reload leaves as it is.
const OF_THE_PROCESS: &str = "process.threads";

/// Every key, and what the reference says of it: put together once, not for each reload.
static KNOWN: LazyLock<(Vec<Key>, BTreeMap<String, Note>)> = LazyLock::new(|| {
    let keys = super::outline();
    let (notes, _) = notes(&keys);
    (keys, notes)
});

impl Changes {
    pub fn between(old: &Written, new: &Written) -> Changes {
        let (keys, notes) = &*KNOWN;
        let shapes = keys.iter().map(|key| (&*key.path, &*key.shapes));
        let mut comparison = Comparison {
            shapes: shapes.collect(),
            notes,
            found: Vec::new(),
        };
        comparison.sections(Some(old.value()), Some(new.value()), &Place::default());
        Changes(comparison.found)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Where something is, as people say it, and as the outline does.
#[derive(Clone, Default)]
struct Place {
    path: String,
    pattern: String,
}

struct Comparison<'a> {
    shapes: BTreeMap<&'a str, &'a [Shape]>,
    notes: &'a BTreeMap<String, Note>,
    found: Vec<Change>,
}

impl Comparison<'_> {
    /// Two sections of settings; one that isn't there is as good as empty.
    fn sections(&mut self, old: Option<&Value>, new: Option<&Value>, place: &Place) {
        for key in keys_of(old, new) {
            let (old, new) = (old.and_then(|o| o.get(&key)), new.and_then(|n| n.get(&key)));
            let place = place.inner(&key, &key);
            let shapes = self.shapes.get(&*place.pattern).copied().unwrap_or(&[]);
            let is = |shape: Shape| shapes.contains(&shape);
            let both = old.is_some() && new.is_some();
            let are_maps = [old, new].into_iter().flatten().all(Value::is_object);
            if is(Shape::Named) {
                self.things(old.cloned(), new.cloned(), &place, ".*");
            } else if is(Shape::Items) && place.pattern == "routes" {
                self.things(old.map(by_name), new.map(by_name), &place, "[]");
                self.order(old, new, &place);
            } else if are_maps && (is(Shape::Settings) || is(Shape::Section) && both) {
                self.sections(old, new, &place);
            } else {
                self.values(&key, old, new, &place);
            }
        }
    }

    /// What goes by names.
    fn things(&mut self, old: Option<Value>, new: Option<Value>, place: &Place, any: &str) {
        for name in keys_of(old.as_ref(), new.as_ref()) {
            let of = |all: &Option<Value>| all.as_ref()?.get(&name).cloned();
            let inner = Place {
                path: format!("{}.{name}", place.path),
                pattern: format!("{}{any}", place.pattern),
            };
            match (of(&old), of(&new)) {
                (Some(old), Some(new)) => self.sections(Some(&old), Some(&new), &inner),
                (old, new) => {
                    let change = if new.is_some() {
                        Kind::Added
                    } else {
                        Kind::Removed
                    };
                    self.add(change, &name, old.as_ref(), new.as_ref(), &inner);
                }
            }
        }
    }

    fn values(&mut self, key: &str, old: Option<&Value>, new: Option<&Value>, place: &Place) {
        let default = self
            .notes
            .get(&place.pattern)
            .and_then(|note| note.default.as_ref());
        let same = match (old.or(default), new.or(default)) {
            (Some(old), Some(new)) => same(old, new),
            (old, new) => old.is_none() && new.is_none(),
        };
        if !same {
            self.add(Kind::Changed, key, old, new, place);
        }
    }

    /// Among routes that fit equally well, the first one counts.
    fn order(&mut self, old: Option<&Value>, new: Option<&Value>, place: &Place) {
        let names = |all: Option<&Value>, others: Option<&Value>| {
            let others = others.map(by_name).unwrap_or_default();
            let all = all.and_then(Value::as_array).into_iter().flatten();
            let names = all.filter_map(|route| route.get("name")?.as_str().map(str::to_owned));
            Value::from_iter(names.filter(|name| others.get(name).is_some()))
        };
        let (old, new) = (names(old, new), names(new, old));
        if old != new {
            let place = place.inner("order", "order");
            self.add(Kind::Changed, "order", Some(&old), Some(&new), &place);
        }
    }

    fn add(
        &mut self,
        change: Kind,
        key: &str,
        old: Option<&Value>,
        new: Option<&Value>,
        place: &Place,
    ) {
        self.found.push(Change {
            change,
            path: place.path.clone(),
            old: old.map(|old| shown(key, old)),
            new: new.map(|new| shown(key, new)),
            needs_upgrade: place.path == OF_THE_PROCESS,
        });
    }
}

impl Place {
    fn inner(&self, name: &str, key: &str) -> Place {
        let join = |before: &str, last: &str| match before {
            "" => last.to_owned(),
            _ => format!("{before}.{last}"),
        };
        Place {
            path: join(&self.path, name),
            pattern: join(&self.pattern, key),
        }
    }
}

/// Those of the old one in their order, then what is new.
fn keys_of(old: Option<&Value>, new: Option<&Value>) -> Vec<String> {
    let keys = |value: Option<&Value>| {
        let pairs = value.and_then(Value::as_object);
        pairs.map_or(Vec::new(), |pairs| {
            pairs.keys().cloned().collect::<Vec<_>>()
        })
    };
    let mut all = keys(old);
    all.extend(
        keys(new)
            .into_iter()
            .filter(|key| old.is_none_or(|old| old.get(key).is_none())),
    );
    all
}

fn by_name(list: &Value) -> Value {
    let items = list.as_array().into_iter().flatten();
    let named =
        items.filter_map(|item| Some((item.get("name")?.as_str()?.to_owned(), item.clone())));
    Value::Object(named.collect())
}

/// However it is written: `1s` is `1000ms`, and a list of one is that one.
fn same(old: &Value, new: &Value) -> bool {
    if let (Value::Array(old), Value::Array(new)) = (old, new) {
        return old.len() == new.len() && old.iter().zip(new).all(|(old, new)| same(old, new));
    }
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    };
    let (Some(old_text), Some(new_text)) = (text(old), text(new)) else {
        return old == new;
    };
    let same_time = duration(&old_text).is_ok() && duration(&old_text) == duration(&new_text);
    let same_size = size(&old_text).is_ok() && size(&old_text) == size(&new_text);
    old_text == new_text || same_time || same_size
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("no change");
        }
        for (index, change) in self.0.iter().enumerate() {
            write!(f, "{}{change}", if index > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Change { path, old, new, .. } = self;
        match self.change {
            Kind::Added => write!(f, "+ {path} {}", text(new))?,
            Kind::Removed => write!(f, "- {path}")?,
            Kind::Changed => write!(f, "~ {path}: {} → {}", text(old), text(new))?,
        }
        match self.needs_upgrade {
            true => f.write_str(" (in force once the process is started anew)"),
            false => Ok(()),
        }
    }
}

fn text(value: &Option<Value>) -> String {
    match value {
        None => "the default".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    const BEFORE: &str = "
listeners:
  web: {address: 127.0.0.1:8080}
upstreams:
  app: {servers: [127.0.0.1:9001], timeouts: {read: 30s}}
  old: {servers: [127.0.0.1:9002]}
redis: {url: 'redis://:one@127.0.0.1:6379'}
routes:
  - {name: photos, match: {path: /photos/*}, upstream: app}
  - {name: old, match: {path: /old/*}, upstream: old}
  - {name: rest, match: {path: /*}, upstream: app}
";

    fn written(text: &str) -> Written {
        let loaded = parse(text, "test.yaml", &|_| None);
        loaded.unwrap_or_else(|errors| panic!("{errors}")).written
    }

    fn changes(edits: &[(&str, &str)]) -> String {
        let mut after = BEFORE.to_owned();
        for (from, to) in edits {
            assert!(after.contains(from), "{from}");
            after = after.replace(from, to);
        }
        Changes::between(&written(BEFORE), &written(&after)).to_string()
    }

    #[test]
    fn what_is_written_otherwise_is_no_change() {
        assert_eq!(changes(&[]), "no change");
        assert_eq!(changes(&[("read: 30s", "read: 30000ms")]), "no change");
        assert_eq!(changes(&[(", timeouts: {read: 30s}", "")]), "no change");
        let edit = (
            "servers: [127.0.0.1:9001]",
            "servers: ['127.0.0.1:9001'], balance: null",
        );
        assert_eq!(changes(&[edit]), "no change");
        let edit = ("8080}", "8080, http2: true}\nlimits: {header_size: 32KiB}");
        assert_eq!(changes(&[edit]), "no change", "these are defaults");
    }

    #[test]
    fn things_come_go_and_change_by_their_names() {
        let edits = [
            ("read: 30s", "read: 10s"),
            (
                "  old: {servers: [127.0.0.1:9002]}\n",
                "  new: {servers: [127.0.0.1:9002]}\n",
            ),
            (
                "  - {name: old, match: {path: /old/*}, upstream: old}\n",
                "",
            ),
            (
                "path: /*}, upstream: app",
                "path: /*}, upstream: new, timeout: 5s",
            ),
            (":one@", ":two@"),
        ];
        let expected = "~ upstreams.app.timeouts.read: 30s → 10s
- upstreams.old
+ upstreams.new {\"servers\":[\"127.0.0.1:9002\"]}
~ redis.url: redis://***@127.0.0.1:6379 → redis://***@127.0.0.1:6379
- routes.old
~ routes.rest.upstream: app → new
~ routes.rest.timeout: the default → 5s";
        let found = changes(&edits);
        let sorted = |text: &str| {
            let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&found), sorted(expected));
    }

    #[test]
    fn the_order_of_routes_counts_and_threads_need_a_new_process() {
        let (photos, rest) = (
            "  - {name: photos, match: {path: /photos/*}, upstream: app}\n",
            "  - {name: rest, match: {path: /*}, upstream: app}\n",
        );
        let moved = changes(&[(photos, ""), (rest, &format!("{rest}{photos}"))]);
        let order = "~ routes.order: [\"photos\",\"old\",\"rest\"] → [\"old\",\"rest\",\"photos\"]";
        assert_eq!(moved, order);
        let threads = changes(&[("listeners:", "process: {threads: 3}\nlisteners:")]);
        let expected =
            "~ process.threads: the default → 3 (in force once the process is started anew)";
        assert_eq!(threads, expected);
    }
}
