//! What the OpenAPI document promises, held against what was answered. Knows as much of JSON Schema as the
//! document uses.

use super::Reply;
use serde_json::{Map, Value};
use std::sync::LazyLock;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let text = include_str!("../../../src/handlers/docs/openapi.yaml");
    serde_saphyr::from_str(text).expect("a document")
});

/// Statuses that any GET may have, by RFC 9110, without a body of the resource's type.
const BY_CONDITION: [u16; 3] = [206, 304, 416];

pub fn check(method: &str, target: &str, reply: &Reply) {
    let path = target.split('?').next().unwrap_or(target);
    let Some(operation) = operation(path, method) else {
        assert!(
            [404, 405].contains(&reply.status),
            "{method} {path} is undocumented"
        );
        return is_like(
            reply,
            &DOCUMENT["components"]["responses"]["Problem"],
            target,
        );
    };
    if BY_CONDITION.contains(&reply.status) || method == "HEAD" {
        return;
    }
    let responses = &operation["responses"];
    let status = reply.status.to_string();
    let documented = responses.get(&status).unwrap_or(&responses["default"]);
    is_like(reply, resolved(documented), target);
}

fn operation(path: &str, method: &str) -> Option<&'static Value> {
    let method = match method {
        "HEAD" => "get".to_owned(),
        other => other.to_lowercase(),
    };
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    let variables = |template: &str| template.matches('{').count();
    let mut fitting: Vec<_> = paths
        .keys()
        .filter(|template| fits(template, path))
        .collect();
    fitting.sort_by_key(|template| variables(template));
    paths[fitting.first()?.as_str()].get(method)
}

fn fits(template: &str, path: &str) -> bool {
    let (mut template, mut path) = (template.split('/'), path.split('/'));
    loop {
        match (template.next(), path.next()) {
            (None, None) => return true,
            (Some(expected), Some(found)) if expected.starts_with('{') || expected == found => {}
            _ => return false,
        }
    }
}

fn is_like(reply: &Reply, response: &'static Value, target: &str) {
    let Some(content) = response["content"].as_object() else {
        assert!(
            reply.body.is_empty(),
            "{target}: a body where none is documented"
        );
        return;
    };
    let sent = reply.header("content-type");
    let essence = sent.split(';').next().unwrap_or(sent);
    let Some(media) = content.get(essence).or_else(|| content.get("*/*")) else {
        panic!(
            "{target}: {} {sent} is not documented: {}",
            reply.status,
            reply.text()
        );
    };
    if essence.ends_with("json") {
        let checked = conforms(&reply.json(), &media["schema"]);
        assert!(
            checked.is_ok(),
            "{target}: {} {checked:?}: {}",
            reply.status,
            reply.text()
        );
    }
}

fn conforms(value: &Value, schema: &'static Value) -> Result<(), String> {
    let schema = resolved(schema);
    if let Some(choices) = schema["oneOf"].as_array() {
        let fitting = choices
            .iter()
            .filter(|choice| conforms(value, choice).is_ok());
        return expect(
            fitting.count() == 1,
            value,
            "is not exactly one of the choices",
        );
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    let is_typed = types.is_empty() || types.contains(&type_of(value));
    expect(is_typed, value, &format!("is none of {types:?}"))?;
    if let Some(members) = schema["enum"].as_array() {
        expect(members.contains(value), value, "is no member")?;
    }
    for item in value.as_array().into_iter().flatten() {
        conforms(item, &schema["items"])?;
    }
    match value.as_object() {
        Some(fields) => fields_conform(fields, schema),
        None => Ok(()),
    }
}

fn fields_conform(fields: &Map<String, Value>, schema: &'static Value) -> Result<(), String> {
    for required in schema["required"].as_array().into_iter().flatten() {
        let name = required.as_str().expect("a name");
        expect(fields.contains_key(name), required, "is missing")?;
    }
    for (name, field) in fields {
        match schema["properties"].get(name) {
            Some(property) => conforms(field, property).map_err(|why| format!("{name}: {why}"))?,
            None => expect(schema["additionalProperties"] != false, field, name)?,
        }
    }
    Ok(())
}

fn expect(is_so: bool, value: &Value, why: &str) -> Result<(), String> {
    is_so.then_some(()).ok_or_else(|| format!("{value} {why}"))
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() || number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn resolved(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(reference) => {
            let pointer = reference.trim_start_matches('#');
            resolved(DOCUMENT.pointer(pointer).expect("what the reference names"))
        }
        None => value,
    }
}
