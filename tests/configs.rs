//! Golden configurations: every file in `configs/bad` gives exactly the errors beside it, every
//! file in `configs/good` loads, and so does every file we ship.
//!
//! `LAKH_BLESS=1 cargo test --test configs` rewrites what is expected. Read the difference as the
//! operator who meets it at night.

#[path = "configs/made.rs"]
mod made;
#[path = "configs/validator.rs"]
mod validator;

use lakh::config::{self, Diagnostic, Errors, Loaded};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn bad_files_give_exactly_the_expected_errors() {
    let cases = files("tests/configs/bad", "yaml");
    assert!(cases.len() >= 50, "only {} bad cases", cases.len());
    let mut differences = Vec::new();
    for case in cases {
        let shown = match load(&case) {
            Ok(_) => "no errors".to_owned(),
            Err(errors) => errors.to_string(),
        };
        differences.extend(compare(&case.with_extension("expected"), &shown));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn good_files_load_with_exactly_the_expected_warnings() {
    let cases = files("tests/configs/good", "yaml");
    assert!(cases.len() >= 12, "only {} good cases", cases.len());
    let mut differences = Vec::new();
    for case in cases {
        let shown = match load(&case) {
            Ok(loaded) => lines(&loaded.warnings),
            Err(errors) => errors.to_string(),
        };
        differences.extend(compare(&case.with_extension("expected"), &shown));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn formatting_changes_no_meaning_and_is_done_once() {
    for case in [
        files("tests/configs/good", "yaml"),
        files("conf", "yaml"),
        files("conf/examples", "yaml"),
    ]
    .concat()
    {
        let name = case.display().to_string();
        let text = fs::read_to_string(&case).expect("listed, so it is there");
        let formatted = config::format(&text, &name).expect("it is YAML");
        assert_eq!(
            config::format(&formatted, &name).as_deref(),
            Ok(&*formatted),
            "{name}"
        );
        let read = |text: &str| config::parse(text, &name, &variable).map(|loaded| loaded.config);
        made::make_files();
        assert_eq!(read(&text), read(&formatted), "{name}");
        if name.starts_with("conf") {
            assert_eq!(text, formatted, "{name} is written as `lakh fmt` writes it");
        }
    }
}

#[test]
fn what_is_included_is_found_from_the_file_on_and_in_order() {
    let file = Path::new("tests/configs/files/including.yaml");
    let config = config::load(file, &variable).expect("no errors").config;
    let upstreams: Vec<_> = config.upstreams.iter().map(|u| u.name.as_str()).collect();
    assert_eq!(upstreams, ["blog", "shop"]);
    let routes: Vec<_> = config.routes.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(routes, ["everything", "blog"]);
    assert_eq!(config.limits.body_size, 1 << 20);
}

#[test]
fn every_expectation_has_its_file() {
    for folder in ["tests/configs/bad", "tests/configs/good"] {
        let cases: BTreeSet<PathBuf> = files(folder, "yaml").into_iter().collect();
        let expectations = files(folder, "expected");
        for expected in &expectations {
            let case = expected.with_extension("yaml");
            assert!(
                cases.contains(&case),
                "{} belongs to no file",
                expected.display()
            );
        }
    }
    for case in files("tests/configs/bad", "yaml") {
        let expected = case.with_extension("expected");
        assert!(expected.exists(), "{} has no expectation", case.display());
    }
}

#[test]
fn shipped_files_load_without_warnings() {
    let shipped = [files("conf", "yaml"), files("conf/examples", "yaml")].concat();
    assert!(shipped.len() >= 6, "conf/ lacks files: {shipped:?}");
    for file in shipped {
        match load(&file) {
            Ok(loaded) => assert_eq!(lines(&loaded.warnings), "", "{}", file.display()),
            Err(errors) => panic!("{errors}"),
        }
    }
}

/// A default that changes in the code must change in the reference too.
#[test]
fn what_the_reference_calls_a_default_is_one() {
    let text = fs::read_to_string("conf/reference.yaml").expect("the reference is shipped");
    let whole = parse(&text).expect("the reference loads").config;
    let is_default = |line: &&str| line.contains("# (default)");
    let mut count = 0;
    for (number, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| is_default(line))
    {
        let others = text
            .lines()
            .enumerate()
            .filter(|(other, _)| *other != number);
        let without: String = others.map(|(_, line)| format!("{line}\n")).collect();
        let loaded = parse(&without).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(loaded.config, whole, "not the default: {line}");
        count += 1;
    }
    assert!(count >= 30, "only {count} lines were looked at");
}

/// Its files are nobody's, so it is a comment there.
#[test]
fn what_the_reference_says_of_tls_is_so() {
    made::make_files();
    let text = fs::read_to_string("conf/reference.yaml").expect("the reference is shipped");
    let begin = text.find("    # tls:").expect("it is there");
    let end = text.find("trusted_proxies:").expect("it follows");
    // What is written there of `acme` is so too, but for the files that it names.
    let (section, acme) = text[begin..end].split_once("# acme:").expect("it follows");
    let (acme, _) = acme
        .split_once("#   external_account:")
        .expect("it is the last");
    let acme = format!("acme:{}", acme.replace("\n# ", "\n"));
    let section: String = section
        .lines()
        .map(|line| line.replacen("    # ", "    ", 1) + "\n")
        .collect();
    let section = section
        .replace("certs/dev.crt", "target/test-tls/site.pem")
        .replace("certs/dev.key", "target/test-tls/site.key");
    let load = |section: &str| {
        let whole = format!("{}{section}\n{acme}{}", &text[..begin], &text[end..]);
        parse(&whole).map(|loaded| loaded.config)
    };
    load(&section).expect_err("client_auth is for client_ca_file");
    let config = load(&section.replace("client_auth:", "# client_auth:"));
    let config = config.unwrap_or_else(|errors| panic!("{errors}"));
    let required = "\n  contact: ops@shop.example\n  storage: /var/lib/lakh/acme\n";
    let least = parse(&format!("{text}acme:{required}")).map(|loaded| loaded.config.acme);
    assert_eq!(
        config.acme,
        least.unwrap_or_else(|errors| panic!("{errors}"))
    );
    assert!(config.wanted_certificates().is_some());
    let listeners = config.listeners;
    assert_eq!(listeners.len(), 2, "the one that sends to it too");
    let tls = listeners[0].tls.as_ref().expect("it is there now");
    assert!(!tls.only_1_3 && tls.clients.is_none() && tls.ticket_key_file.is_none());
    assert_eq!(listeners[1].to_https, Some(443));
}

/// An editor must not call wrong what loads.
#[test]
fn the_schema_takes_every_good_file() {
    let schema = config::schema();
    let folders = ["tests/configs/good", "conf", "conf/examples"];
    for file in folders.iter().flat_map(|folder| files(folder, "yaml")) {
        let json = as_json(&file).expect("it is YAML");
        if let Err(why) = validator::validate(&schema, &json) {
            panic!("{}: {why}", file.display());
        }
    }
}

/// It knows all keys, and forms of values that one key alone decides.
#[test]
fn the_schema_refuses_unknown_keys_and_wrong_units() {
    let schema = config::schema();
    let mut count = 0;
    for file in files("tests/configs/bad", "yaml") {
        let expected = fs::read_to_string(file.with_extension("expected")).expect("it is there");
        let mut plain = ["unknown key `", "has no unit", "is not a unit"].iter();
        let is_plain = plain.any(|what| expected.contains(what));
        if let Some(json) = as_json(&file).filter(|_| is_plain) {
            let valid = validator::validate(&schema, &json).is_ok();
            assert!(!valid, "{}", file.display());
            count += 1;
        }
    }
    assert!(count >= 8, "only {count} bad files were looked at");
}

/// As an editor reads it.
fn as_json(path: &Path) -> Option<serde_json::Value> {
    let text = fs::read_to_string(path).expect("listed, so it is there");
    serde_saphyr::from_str(text.trim_start_matches('\u{feff}')).ok()
}

#[test]
fn a_file_that_is_not_there_is_one_error() {
    let path = Path::new("conf/no-such.yaml");
    let errors = config::load(path, &variable).expect_err("there is no such file");
    assert_eq!(errors.len(), 1);
    let message = "conf/no-such.yaml:1:1: this file cannot be read: No such file or directory";
    assert!(errors.to_string().starts_with(message), "{errors}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_panics(text in "[-a-z0-9:{}\\[\\],\"' \n#&*!|>%@`~$/é\t]{0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_damaged_file_panics(from in 0..9000usize, len in 0..200usize, with in "[ \n:{}a-z*]{0,3}") {
        let text = fs::read_to_string("conf/reference.yaml").expect("the reference is shipped");
        let kept = text.chars().take(from).chain(with.chars());
        let damaged: String = kept.chain(text.chars().skip(from + len)).collect();
        if let Err(errors) = parse(&damaged) {
            prop_assert!(!errors.to_string().is_empty());
        }
    }
}

fn parse(text: &str) -> Result<Loaded, Errors> {
    config::parse(text, "test.yaml", &variable)
}

fn load(path: &Path) -> Result<Loaded, Errors> {
    made::make_files();
    let name = path.file_name().expect("a file").to_string_lossy();
    let text = fs::read_to_string(path).expect("listed, so it is there");
    config::parse(&text, &name, &variable)
}

/// The environment of all cases, so that the machine's own doesn't matter.
fn variable(name: &str) -> Option<String> {
    match name {
        "LAKH_TEST_EMPTY" => Some(String::new()),
        "LAKH_TEST_HOST" => Some("edge-7".to_owned()),
        "JWT_SECRET_FILE" => Some("tests/configs/files/jwt.secret".to_owned()),
        "LAKH_TEST_PORT" => Some("8081".to_owned()),
        _ => None,
    }
}

fn lines(warnings: &[Diagnostic]) -> String {
    let lines: Vec<String> = warnings.iter().map(Diagnostic::to_string).collect();
    lines.join("\n")
}

/// What differs from the file `expected`, or nothing. No file expects nothing.
fn compare(expected: &Path, shown: &str) -> Option<String> {
    let shown = match shown {
        "" => String::new(),
        _ => format!("{shown}\n"),
    };
    if std::env::var_os("LAKH_BLESS").is_some() {
        bless(expected, &shown);
    }
    let wanted = fs::read_to_string(expected).unwrap_or_default();
    (wanted != shown).then(|| format!("\n--- {}\n{}", expected.display(), diff(&wanted, &shown)))
}

fn bless(expected: &Path, shown: &str) {
    match shown.is_empty() {
        true => drop(fs::remove_file(expected)),
        false => fs::write(expected, shown).expect("the folder can be written to"),
    }
}

/// Lines that are only in one of the two.
fn diff(wanted: &str, shown: &str) -> String {
    let (wanted, shown): (Vec<_>, Vec<_>) = (wanted.lines().collect(), shown.lines().collect());
    let missing = wanted.iter().filter(|line| !shown.contains(line));
    let added = shown.iter().filter(|line| !wanted.contains(line));
    let missing = missing.map(|line| format!("- {line}"));
    let lines: Vec<String> = missing
        .chain(added.map(|line| format!("+ {line}")))
        .collect();
    match lines.is_empty() {
        true => "the same lines in another order".to_owned(),
        false => lines.join("\n"),
    }
}

fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("tests run in the project's folder");
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    let mut files: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}
