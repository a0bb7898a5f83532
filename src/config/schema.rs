//! The JSON Schema of a configuration, for editors: which keys there are is the readers' own
//! outline, what they mean is the reference's. It is never stricter than the readers are: what
//! depends on several keys together is for `lakh check` alone.

use super::outline::{Key, Shape};
use super::reference::{Note, notes};
use super::refusal::Wanted;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// JSON Schema, draft 2020-12.
pub fn schema() -> Value {
    let keys = super::outline();
    let (notes, _) = notes(&keys);
    let schema = Schema { keys, notes };
    let mut root = schema.section("");
    root["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    root["title"] = json!("Lakh's configuration");
    root
}

struct Schema {
    keys: Vec<Key>,
    notes: BTreeMap<String, Note>,
}

impl Schema {
    /// The keys directly under `path`.
    fn section(&self, path: &str) -> Value {
        let (mut properties, mut required) = (Map::new(), Vec::new());
        let keys = self.keys.iter().map(|key| (key, key.parent_and_name()));
        for (key, (_, name)) in keys.filter(|(_, (parent, _))| *parent == path) {
            properties.insert(name.to_owned(), self.property(key));
            // Of a file's sections any may be in those that it includes, or that include it.
            if key.is_required() && !path.is_empty() {
                required.push(name);
            }
        }
        json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        })
    }

    fn property(&self, key: &Key) -> Value {
        let mut ways: Vec<Value> = Vec::new();
        let mut items = Vec::new();
        for shape in &key.shapes {
            match shape {
                Shape::One(wanted) => ways.extend(scalars(wanted)),
                Shape::List(wanted) => items.extend(scalars(wanted)),
                Shape::Pairs(wanted) => ways.push(json!({
                    "type": "object",
                    "additionalProperties": any_of(scalars(wanted)),
                })),
                Shape::Settings | Shape::Section => ways.push(self.section(&key.path)),
                Shape::Named => ways.push(json!({
                    "type": "object",
                    "additionalProperties": any_of(vec![
                        self.section(&format!("{}.*", key.path)),
                        json!({"type": "null"}),
                    ]),
                })),
                Shape::Items => items.push(self.section(&format!("{}[]", key.path))),
            }
        }
        if !items.is_empty() {
            ways.push(json!({"type": "array", "items": any_of(items)}));
        }
        // As if the key weren't there.
        ways.push(json!({"type": "null"}));
        let mut property = any_of(ways);
        if let Some(note) = self.notes.get(&key.path) {
            property["description"] = json!(note.meaning);
            if let Some(default) = &note.default {
                property["default"] = default.clone();
            }
        }
        property
    }
}

fn any_of(mut ways: Vec<Value>) -> Value {
    match ways.len() {
        1 => ways.remove(0),
        _ => json!({"anyOf": ways}),
    }
}

/// One value. Text may have a variable of the environment in it, and be anything then.
fn scalars(wanted: &[Wanted]) -> Vec<Value> {
    if wanted.is_empty() {
        return vec![json!({"type": ["string", "number", "boolean"]})];
    }
    let words = wanted.iter().filter_map(|form| match form {
        Wanted::Word(word) => Some(&**word),
        _ => None,
    });
    let words: Vec<&str> = words.collect();
    let mut ways = Vec::new();
    if !words.is_empty() {
        // YAML takes 1.2 for a number, and so do editors.
        let numbers = words.iter().filter_map(|word| word.parse::<f64>().ok());
        let texts = words.iter().map(|word| json!(word));
        let all: Vec<Value> = texts.chain(numbers.map(|number| json!(number))).collect();
        ways.push(json!({"enum": all}));
    }
    ways.extend(wanted.iter().filter_map(unquoted));
    let texts = wanted.iter().filter_map(pattern);
    let texts: Vec<&str> = texts.chain([r"\$\{"]).collect();
    ways.push(json!({"type": "string", "pattern": texts.join("|")}));
    ways
}

/// What YAML takes for something else than text.
fn unquoted(form: &Wanted) -> Option<Value> {
    match form {
        Wanted::Switch => Some(json!({"type": "boolean"})),
        Wanted::Number { least, most } => {
            Some(json!({"type": "integer", "minimum": least, "maximum": most}))
        }
        _ => None,
    }
}

fn pattern(form: &Wanted) -> Option<&'static str> {
    match form {
        Wanted::Word(_) => None,
        Wanted::Switch => Some("^(true|false)$"),
        Wanted::Number { .. } => Some("^[0-9]+$"),
        Wanted::Duration => Some("^[0-9]+(ms|s|m|h|d)$"),
        Wanted::Size => Some("^[0-9]+(B|KiB|MiB|GiB)$"),
        Wanted::ByteRate => Some("^[0-9]+(B|KiB|MiB|GiB)/s$"),
        Wanted::Rate => Some("^[0-9]+/[0-9]*(s|min|h|d)$"),
        Wanted::Share => Some("^[0-9][0-9.e+-]*%$"),
    }
}
