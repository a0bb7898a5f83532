//! `${NAME}` and `${NAME:-default}` inside values; `$${` is the text `${`.

/// Reads one variable.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The variables of this process.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// `text` with every variable replaced. None: it comes to nothing because its defaults do, as in
/// `${TOKEN_FILE:-}`, which an operator writes for "only if it is set".
pub fn expand(text: &str, environment: Environment<'_>) -> Result<Option<String>, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    let mut has_default = false;
    while let Some(dollar) = rest.find('$') {
        expanded.push_str(&rest[..dollar]);
        rest = &rest[dollar..];
        if let Some(after) = rest.strip_prefix("$${") {
            expanded.push_str("${");
            rest = after;
        } else if let Some(after) = rest.strip_prefix("${") {
            let (inside, after) = after.split_once('}').ok_or_else(unclosed)?;
            has_default |= inside.contains(":-");
            expanded.push_str(&variable(inside, environment)?);
            rest = after;
        } else {
            expanded.push('$');
            rest = &rest[1..];
        }
    }
    expanded.push_str(rest);
    match expanded.is_empty() && !text.is_empty() {
        true if has_default => Ok(None),
        true => Err(format!(
            "`{text}` comes to nothing: the variable is set but empty; give it a value"
        )),
        false => Ok(Some(expanded)),
    }
}

/// As in a shell, `:-` stands in for a variable that is unset or empty.
fn variable(inside: &str, environment: Environment<'_>) -> Result<String, String> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    if !is_name(name) {
        return Err(format!(
            "`${{{inside}}}` is not a variable; write ${{NAME}}, ${{NAME:-default}}, or $${{ for the text ${{"
        ));
    }
    match (environment(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(format!(
            "the environment variable {name} is not set; set it, or write ${{{name}:-default}}"
        )),
    }
}

fn is_name(name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.chars().all(is_part) && name.starts_with(|c: char| !c.is_ascii_digit())
}

fn unclosed() -> String {
    "`${` has no `}` after it; write ${NAME}, or $${ for the text ${".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand_with(text: &str) -> Result<Option<String>, String> {
        expand(text, &|name| match name {
            "HOME" => Some("/home/lakh".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        })
    }

    #[test]
    fn variables_are_replaced_wherever_they_stand() {
        for (text, expected) in [
            ("plain", "plain"),
            ("", ""),
            ("a$b$", "a$b$"),
            ("${HOME}/x", "/home/lakh/x"),
            ("${HOME}${HOME}", "/home/lakh/home/lakh"),
            ("${NONE:-a:-b}", "a:-b"),
            ("${EMPTY:-b}", "b"),
            ("x${EMPTY}", "x"),
            ("$${HOME}", "${HOME}"),
            ("$$${HOME}", "$${HOME}"),
        ] {
            assert_eq!(expand_with(text), Ok(Some(expected.to_owned())), "{text}");
        }
    }

    #[test]
    fn a_default_of_nothing_means_not_set() {
        assert_eq!(expand_with("${NONE:-}"), Ok(None));
    }

    #[test]
    fn what_has_no_value_is_an_error() {
        for text in [
            "${NONE}", "${EMPTY}", "${", "${HOME", "${}", "${1A}", "${A-b}",
        ] {
            assert!(expand_with(text).is_err(), "{text}");
        }
    }
}
