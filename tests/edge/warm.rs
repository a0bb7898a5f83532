//! `lakh warm` against a running edge.

use crate::harness::*;
use std::io::Write;
use std::process::{Command, Stdio};

const CACHED: &str = "
upstreams: {app: {servers: [$0], retry: {attempts: 1}}}
caches: {pages: {memory: 64MiB}}
routes: [{name: all, match: {path: /*}, upstream: app, cache: {in: pages}}]
";

fn shop() -> Origin {
    Origin::start(|seen| {
        let minute = [("cache-control", "max-age=60")];
        let broken =
            "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 9\r\n\r\nhalf";
        match seen.path() {
            "/missing" => Answer::of(404, &[], ""),
            "/mine" => Answer::of(200, &[("cache-control", "private")], "mine"),
            "/broken" => Answer::raw(broken).then(Step::Close),
            "/chunked" => Answer::chunked(&minute, &noise(100_000, 5)),
            "/map.xml" => Answer::of(
                200,
                &[],
                "<sitemapindex><sitemap><loc>https://edge.test/part.xml</loc></sitemap></sitemapindex>",
            ),
            "/part.xml" => Answer::of(
                200,
                &[],
                "<urlset>\n<url><loc>https://edge.test/a?x=1&amp;y=2</loc></url>\n\
                 <url><loc>https://edge.test/b</loc></url></urlset>",
            ),
            _ => Answer::of(200, &minute, format!("{}{}", seen.the("host"), seen.target)),
        }
    })
}

struct Warmed {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn warm(edge: &Edge, arguments: &[&str], list: &str) -> Warmed {
    let to = format!("--to=http://{}", edge.web);
    let elsewhere = arguments.contains(&"--to");
    let mut child = Command::new(env!("CARGO_BIN_EXE_lakh"))
        .arg("warm")
        .args((!elsewhere).then_some(to))
        .args(arguments)
        .current_dir(&edge.dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut stdin = child.stdin.take().expect("it is piped");
    // It may end without reading.
    let _ = stdin.write_all(list.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Warmed {
        code: output.status.code(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

#[test]
fn what_was_warmed_is_a_hit_under_its_own_host() {
    let origin = shop();
    let edge = Edge::start(CACHED, &[&origin]);
    let list =
        "http://edge.test/a\n# a comment\n\nhttps://other.test/a\nhttp://edge.test/chunked\n";

    let first = warm(&edge, &[], list);
    let second = warm(&edge, &["-"], list);

    assert_eq!(first.code, Some(0), "{}", first.stderr);
    let summary = "3 URLs: 3 stored, 0 there before, 0 not for the cache, 0 failed\n";
    assert_eq!(first.stdout, summary);
    assert!(
        first.stderr.ends_with("3 of 3, 0 failed\n"),
        "{}",
        first.stderr
    );
    assert_eq!(second.code, Some(0));
    assert!(
        second.stdout.contains("0 stored, 3 there before"),
        "{}",
        second.stdout
    );
    assert_eq!(origin.count(), 3);
    let hit = get("/a").host("other.test").send(&edge).expect(200);
    assert!(hit.is_hit() && hit.text() == "other.test/a", "{hit:?}");
}

#[test]
fn failures_are_told_and_counted() {
    let origin = shop();
    let edge = Edge::start(CACHED, &[&origin]);
    let list = ["a", "missing", "broken", "mine"].map(|path| format!("http://edge.test/{path}"));

    let warmed = warm(&edge, &["--concurrency", "2"], &list.join("\n"));

    assert_eq!(warmed.code, Some(1));
    let summary = "4 URLs: 1 stored, 0 there before, 1 not for the cache, 2 failed\n";
    assert_eq!(warmed.stdout, summary);
    for told in [
        "edge.test/missing: status 404",
        "edge.test/broken: the answer broke off",
    ] {
        assert!(warmed.stderr.contains(told), "{}", warmed.stderr);
    }
}

#[test]
fn a_sitemap_is_read_through_the_edge_or_from_a_file() {
    let origin = shop();
    let edge = Edge::start(CACHED, &[&origin]);
    let file = "<urlset><url><loc>http://edge.test/b</loc></url></urlset>";
    std::fs::write(edge.dir.join("map.xml"), file).expect("the folder is ours");

    let through = warm(&edge, &["--sitemap", "https://edge.test/map.xml"], "");
    let from_file = warm(&edge, &["--sitemap", "map.xml"], "");

    assert_eq!(through.code, Some(0), "{}", through.stderr);
    assert!(
        through.stdout.starts_with("2 URLs: 2 stored"),
        "{}",
        through.stdout
    );
    assert!(
        from_file.stdout.starts_with("1 URLs: 0 stored, 1 there"),
        "{}",
        from_file.stdout
    );
    assert!(get("/a?x=1&y=2").send(&edge).is_hit());
}

#[test]
fn a_bad_list_is_told_with_its_lines_and_nothing_is_asked_for() {
    let origin = shop();
    let edge = Edge::start(CACHED, &[&origin]);
    let told = |arguments: &[&str], list: &str| {
        let warmed = warm(&edge, arguments, list);
        assert!(warmed.code.is_some_and(|code| code > 0));
        warmed.stderr
    };

    let why = told(&[], "http://edge.test/a\nedge.test/b\n\n/c");
    assert!(
        why.contains("standard input:2: `edge.test/b` is not a URL"),
        "{why}"
    );
    assert!(why.contains("standard input:4: `/c`"), "{why}");
    assert!(told(&["missing.txt"], "").contains("missing.txt: No such file"));
    assert!(told(&[], "# nothing\n").contains("no URLs"));
    assert!(told(&["--rate", "fast"], "").contains("write it like 100/s"));
    assert!(told(&["--to", "edge"], "").contains("write http://127.0.0.1:8080"));
    let gone = told(&["--sitemap", "http://edge.test/missing"], "");
    assert!(
        gone.contains("http://edge.test/missing: status 404"),
        "{gone}"
    );
    assert_eq!(origin.count(), 1);
}

#[test]
fn the_rate_is_kept() {
    let origin = shop();
    let edge = Edge::start(CACHED, &[&origin]);
    let list: Vec<_> = (0..11).map(|n| format!("http://edge.test/{n}")).collect();
    let started = std::time::Instant::now();

    let warmed = warm(&edge, &["--rate", "20/s"], &list.join("\n"));

    assert_eq!(warmed.code, Some(0), "{}", warmed.stderr);
    assert!(
        started.elapsed().as_millis() >= 500,
        "eleven at 20/s take half a second"
    );
}
