//! What the README tells a new operator to do, done: from an empty folder, in the order of the page.

use crate::harness::{Answer, Folder, Origin, binary, eventually, free_address};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const README: &str = include_str!("../../README.md");

/// From a heading to the next.
fn section(title: &str) -> &'static str {
    let (_, from) = README
        .split_once(&format!("\n## {title}\n"))
        .expect("a heading");
    from.split("\n## ").next().unwrap_or(from)
}

fn yaml(section: &str) -> &str {
    let (_, block) = section.split_once("```yaml\n").expect("an example");
    block.split("```").next().unwrap_or(block)
}

/// The lines to type, without what is said of them.
fn commands(section: &str) -> impl Iterator<Item = &str> {
    let lines = section.lines().filter_map(|line| line.strip_prefix("    "));
    lines
        .filter(|line| line.starts_with("lakh") || line.starts_with("curl"))
        .map(|line| {
            let typed = line.split("  #").next().unwrap_or(line);
            typed.trim()
        })
}

/// An address that others may have, and ours in its place.
struct Places(Vec<(&'static str, SocketAddr)>);

impl Places {
    fn put(&self, text: &str) -> String {
        let put = |text: String, (theirs, ours): &(&str, SocketAddr)| {
            let by_name = theirs.replace("127.0.0.1", "localhost");
            let ours_by_name = format!("localhost:{}", ours.port());
            text.replace(theirs, &ours.to_string())
                .replace(&by_name, &ours_by_name)
        };
        self.0.iter().fold(text.to_owned(), put)
    }
}

/// Ended with the test.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn shell(typed: &str, folder: &Path) -> Command {
    let program = binary().parent().expect("a folder").display().to_string();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("sh");
    command
        .args(["-c", typed])
        .current_dir(folder)
        .env("PATH", format!("{program}:{path}"));
    command
}

#[test]
fn a_new_operator_has_tls_cache_and_limits_by_following_it() {
    let app =
        Origin::start(|_| Answer::of(200, &[("cache-control", "max-age=60")], "my application"));
    let folder = Folder::new();
    let (secure, plain, admin) = (free_address(), free_address(), free_address());
    let places = Places(vec![
        ("127.0.0.1:8443", secure),
        ("127.0.0.1:8080", plain),
        ("127.0.0.1:3000", app.address),
        ("127.0.0.1:9900", admin),
    ]);
    let section = section("Your own application");
    let file = format!(
        "{}admin: {{address: \"{admin}\"}}\n",
        places.put(yaml(section))
    );
    std::fs::write(folder.path().join("lakh.yaml"), file).expect("written");
    let mut served = None;
    let mut done = Vec::new();
    for typed in commands(section) {
        if let Some(serving) = typed.strip_suffix(" &") {
            let mut command = shell(&format!("exec {serving}"), folder.path());
            let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
            served = Some(Served(quiet.spawn().expect("sh")));
            let healthy = || shell("lakh healthcheck", folder.path()).output();
            eventually("it serves", || {
                healthy().is_ok_and(|out| out.status.success())
            });
        } else {
            let out = shell(&places.put(typed), folder.path())
                .output()
                .expect("sh");
            let (said, why) = (
                String::from_utf8_lossy(&out.stdout),
                String::from_utf8_lossy(&out.stderr),
            );
            assert!(out.status.success(), "{typed}: {said}{why}");
            if typed.starts_with("curl") {
                assert!(said.contains("my application"), "{typed}: {said}");
            }
        }
        done.push(typed);
    }
    assert_eq!(done.len(), 5, "{done:?}");
    assert!(served.is_some());

    // What it promises beside: a cache, limits, and the way from HTTP.
    let again = format!(
        "curl -si --cacert certs/ca.crt https://localhost:{}/",
        secure.port()
    );
    let hit = shell(&again, folder.path()).output().expect("sh");
    let hit = String::from_utf8_lossy(&hit.stdout).to_lowercase();
    assert!(
        hit.contains("cache-status: lakh; hit") && hit.contains("ratelimit"),
        "{hit}"
    );
    let moved = shell(
        &format!("curl -si http://localhost:{}/x", plain.port()),
        folder.path(),
    );
    let moved = { moved }.output().expect("sh");
    let moved = String::from_utf8_lossy(&moved.stdout).to_lowercase();
    let to = format!("location: https://localhost:{}/x", secure.port());
    assert!(moved.contains("308") && moved.contains(&to), "{moved}");
}

#[test]
fn every_example_is_a_configuration() {
    for (n, block) in README.split("```yaml\n").skip(1).enumerate() {
        let block = block.split("```").next().unwrap_or(block);
        // Parts of one are shown without the rest; what they say must be known all the same.
        let folder = Folder::new();
        let file = folder.path().join("lakh.yaml");
        // A route's, without its route.
        let block = match block.strip_prefix("cache:") {
            Some(cache) => format!("routes:\n- cache:{}", cache.replace('\n', "\n  ")),
            None => block.to_owned(),
        };
        std::fs::write(&file, block).expect("written");
        let out = shell("lakh check", folder.path()).output().expect("sh");
        let said = String::from_utf8_lossy(&out.stderr);
        for mistake in ["unknown key", "did you mean", "is not a "] {
            assert!(!said.contains(mistake), "example {n}: {said}");
        }
    }
}
