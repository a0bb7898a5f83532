//! A configuration as it was written, for people: variables replaced, keys without a value left out,
//! secrets hidden wherever it is shown.

use super::tree::{Node, Value as Tree};
use serde_json::{Map, Value};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Written(Value);

const HIDDEN: &str = "***";

/// Names of fields, parameters and arguments whose values nobody should read over a shoulder.
const SECRETS: [&str; 7] = [
    "authorization",
    "cookie",
    "password",
    "passwd",
    "secret",
    "token",
    "api-key",
];

impl Written {
    pub(super) fn of(root: &Node) -> Written {
        Written(plain(root).unwrap_or_default())
    }

    /// With its secrets.
    pub(super) fn value(&self) -> &Value {
        &self.0
    }

    pub fn shown(&self) -> Value {
        shown("", &self.0)
    }
}

/// None: as if it weren't there.
fn plain(node: &Node) -> Option<Value> {
    match &node.value {
        Tree::Text(text) => Some(Value::String(text.clone())),
        Tree::List(items) => Some(items.iter().filter_map(plain).collect()),
        Tree::Map(entries) => {
            let pairs = entries
                .iter()
                .filter_map(|e| Some((e.key.clone(), plain(&e.node)?)));
            Some(Value::Object(pairs.collect()))
        }
        Tree::Nothing => Some(Value::Object(Map::new())),
        Tree::Null | Tree::Broken => None,
    }
}

/// What stands under `key`, for people. Files' names are no secrets; what is in them is never read
/// into this.
pub(super) fn shown(key: &str, value: &Value) -> Value {
    match value {
        Value::String(_) if is_secret(key) => Value::String(HIDDEN.to_owned()),
        Value::String(text) => Value::String(without_secrets(text)),
        Value::Array(items) => items.iter().map(|item| shown(key, item)).collect(),
        Value::Object(pairs) => {
            let pairs = pairs
                .iter()
                .map(|(key, value)| (key.clone(), shown(key, value)));
            Value::Object(pairs.collect())
        }
        other => other.clone(),
    }
}

fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase().replace('_', "-");
    let is_name = key.ends_with("-file") || key.ends_with("-key") && !key.contains("api-key");
    !is_name && SECRETS.iter().any(|secret| key.contains(secret)) && !NAMES.contains(&&*key)
}

/// Keys of the configuration that only say which cookie or token is meant.
const NAMES: [&str; 2] = ["cookie", "cookies"];

/// Passwords within URLs and within arguments.
fn without_secrets(text: &str) -> String {
    if let Some((before, after)) = text.split_once("://")
        && let Some((_, rest)) = after.split_once('@')
        && !after[..after.len() - rest.len() - 1].contains('/')
    {
        return format!("{before}://{HIDDEN}@{rest}");
    }
    match text.split_once('=') {
        Some((name, _)) if name.starts_with('-') && is_secret(name) => format!("{name}={HIDDEN}"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn secrets_are_hidden_and_names_are_not() {
        let written = Written(json!({
            "redis": {"url": "redis://me:pass@10.0.0.1:6379", "url_file": "a"},
            "admin": {"token_file": "token"},
            "upstreams": {"app": {
                "sticky": {"cookie": "lakh", "key_file": "k"},
                "spawn": {"command": ["app", "--db-password=x", "--port=1"]},
            }},
            "routes": [{"request_headers": {"set": {"Authorization": "Bearer x", "x-from": "lakh"}}}],
        }));
        let shown = written.shown();
        assert_eq!(shown["redis"]["url"], "redis://***@10.0.0.1:6379");
        assert_eq!(shown["redis"]["url_file"], "a");
        assert_eq!(shown["admin"]["token_file"], "token");
        let app = &shown["upstreams"]["app"];
        assert_eq!(app["sticky"], json!({"cookie": "lakh", "key_file": "k"}));
        let command = json!(["app", "--db-password=***", "--port=1"]);
        assert_eq!(app["spawn"]["command"], command);
        let set = &shown["routes"][0]["request_headers"]["set"];
        assert_eq!(*set, json!({"Authorization": "***", "x-from": "lakh"}));
    }
}
