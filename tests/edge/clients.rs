//! HTTP/2 by the clients that people have.

use crate::harness::{Answer, Authority, Browser, Edge, Origin};
use image::{DynamicImage, ImageFormat};
use std::io::Cursor;
use std::path::Path;
use std::process::Command;

const PICTURES: u32 = 100;

const YAML: &str = "
listeners:
  web: {address: $web, tls: {certificates: [{cert_file: $dir/site.pem, key_file: $dir/site.key}]}}
  plain: {address: $plain}
upstreams: {app: {servers: [$0]}}
caches: {pages: {memory: 64MiB}}
routes: [{name: all, match: {path: /*}, upstream: app, cache: {in: pages}}]
";

/// A page of pictures, each of another width.
fn gallery() -> Origin {
    Origin::start(|seen| {
        let number = seen.path().strip_prefix("/pictures/");
        match number.and_then(|number| number.parse().ok()) {
            Some(number) => {
                let kept = [
                    ("cache-control", "max-age=60"),
                    ("content-type", "image/png"),
                ];
                Answer::of(200, &kept, picture(number))
            }
            None => {
                let pictures = (1..=PICTURES).map(|n| format!("<img src=/pictures/{n}>"));
                let page = pictures.collect::<String>();
                Answer::of(200, &[("content-type", "text/html")], page)
            }
        }
    })
}

fn picture(width: u32) -> Vec<u8> {
    let mut png = Cursor::new(Vec::new());
    let drawn = DynamicImage::new_rgb8(width, 10);
    drawn
        .write_to(&mut png, ImageFormat::Png)
        .expect("memory takes it");
    png.into_inner()
}

fn start(origin: &Origin) -> (Edge, String) {
    let authority = Authority::new();
    let plain = crate::harness::free_address().to_string();
    let files = |dir: &Path| authority.sign("127.0.0.1").write(dir, "site");
    let yaml = YAML.replace("$plain", &plain);
    (Edge::start_with(&yaml, &[origin], files), plain)
}

#[test]
fn chromium_loads_a_page_of_pictures_on_one_connection() {
    let origin = gallery();
    let (edge, _) = start(&origin);
    let mut browser = Browser::start();

    browser.open(&format!("https://{}/", edge.web));

    let decoded = "Promise.all([...document.images].map((picture) => picture.decode()))
        .then(() => [...document.images].map((picture) => picture.naturalWidth))";
    let widths: Vec<_> = (1..=PICTURES).collect();
    assert_eq!(browser.eval(decoded), serde_json::json!(widths));
    let protocols = "[...performance.getEntries()]
        .filter((entry) => entry.initiatorType === 'img' || entry.entryType === 'navigation')
        .map((entry) => entry.nextHopProtocol)";
    let protocols = browser.eval(protocols);
    assert_eq!(
        protocols,
        serde_json::json!(vec!["h2"; PICTURES as usize + 1])
    );
    assert_eq!(browser.connections("/pictures/").len(), 1);
}

/// What h2load has counted: how many requests ended, and how.
fn h2load(url: &str) -> String {
    let run = Command::new("h2load")
        .args([
            "--requests=400",
            "--clients=4",
            "--max-concurrent-streams=25",
            url,
        ])
        .output()
        .expect("h2load runs; it is of the Debian package `nghttp2-client`");
    String::from_utf8_lossy(&run.stdout).into_owned()
}

#[test]
fn h2load_gets_all_that_it_asks_for() {
    let origin = gallery();
    let (edge, plain) = start(&origin);
    for url in [
        format!("https://{}/pictures/7", edge.web),
        format!("http://{plain}/pictures/8"),
        format!("http://{plain}/"),
    ] {
        let said = h2load(&url);
        let all = "requests: 400 total, 400 started, 400 done, 400 succeeded, 0 failed, 0 errored, 0 timeout";
        assert!(said.contains(all), "{url}: {said}");
        assert!(
            said.contains("status codes: 400 2xx, 0 3xx, 0 4xx, 0 5xx"),
            "{url}: {said}"
        );
    }
}

#[test]
fn curl_speaks_http_2_inside_tls_and_without() {
    let origin = gallery();
    let (edge, plain) = start(&origin);
    for (how, url) in [
        ("--http2", format!("https://{}/pictures/9", edge.web)),
        (
            "--http2-prior-knowledge",
            format!("http://{plain}/pictures/9"),
        ),
    ] {
        let said = Command::new("curl")
            .args([
                "--silent",
                "--show-error",
                "--insecure",
                "--max-time",
                "45",
                "--output",
                "-",
            ])
            .args([
                "--write-out",
                "%{stderr}%{http_version} %{response_code}",
                how,
                &url,
            ])
            .output()
            .expect("curl runs");
        assert_eq!(String::from_utf8_lossy(&said.stderr), "2 200", "{url}");
        assert_eq!(said.stdout, picture(9), "{url}");
    }
}
