//! Takes people out of what is written down: by the field's name, and whatever looks like an e-mail
//! address wherever it stands, for a database's error quotes what it was given.

use serde_json::Value;

const MASK: &str = "***";

/// Fields that are about somebody, or that let one act as somebody.
const PERSONAL: [&str; 7] = [
    "email",
    "password",
    "token",
    "refresh_token",
    "person",
    "address_line",
    "signature",
];

pub fn mask(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| {
                let value = match PERSONAL.contains(&name.as_str()) {
                    true => MASK.into(),
                    false => mask(value),
                };
                (name, value)
            })
            .collect(),
        Value::Array(values) => values.into_iter().map(mask).collect(),
        Value::String(text) if text.contains('@') => without_addresses(&text).into(),
        other => other,
    }
}

/// What separates words stays as it is.
fn without_addresses(text: &str) -> String {
    text.split_inclusive(|c: char| c.is_whitespace() || "<>(),;'\"".contains(c))
        .map(|word| {
            let bare =
                word.trim_end_matches(|c: char| c.is_whitespace() || "<>(),;'\"".contains(c));
            match bare.split_once('@') {
                // A URL's user, as a database's has one, is a secret too.
                Some((before, after)) if !before.is_empty() && !after.is_empty() => {
                    format!("{MASK}{}", &word[bare.len()..])
                }
                _ => word.to_owned(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn people_are_masked_wherever_they_stand() {
        let line = json!({"reason": "duplicate 'ada@example.org' in users", "seconds": 3,
                          "body": {"email": "x", "list": ["eve@example.org, 5 @ 3"]}});
        let masked = json!({"reason": "duplicate '***' in users", "seconds": 3,
                            "body": {"email": "***", "list": ["***, 5 @ 3"]}});
        assert_eq!(mask(line), masked);
    }
}
