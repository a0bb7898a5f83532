//! The dashboard, in a real browser.

use crate::harness::{ADMIN_TOKEN, Answer, Browser, Edge, Origin, eventually, get};
use serde_json::{Value, json};

const SHOP: &str = "
upstreams:
  app: {servers: [$0, $1], health_check: {path: /health, interval: 100ms, unhealthy_after: 2}}
caches: {pages: {memory: 64MiB}}
rate_limits: {few: {key: client_address, rate: 1/h, burst: 1}}
images: {max_source: 1MiB}
routes:
- {name: limited, match: {path: /limited}, upstream: app, rate_limits: [few]}
- {name: photos, match: {path: /photos/*}, upstream: app, cache: {in: pages}, images: true}
- {name: shop, match: {path: /*}, upstream: app, cache: {in: pages}}
";

fn origin() -> Origin {
    Origin::start(|seen| match seen.path() {
        "/health" | "/limited" => Answer::ok("well"),
        "/broken" => Answer::of(503, &[], "no"),
        "/photos/cut.jpg" => {
            let head = [
                ("cache-control", "max-age=60"),
                ("content-type", "image/jpeg"),
            ];
            Answer::of(200, &head, b"\xff\xd8\xff\xe0 and nothing more")
        }
        path if path.starts_with("/kept") => {
            Answer::of(200, &[("cache-control", "max-age=60")], "kept")
        }
        _ => Answer::of(200, &[("cache-control", "no-store")], "hello"),
    })
}

fn dashboard(edge: &Edge) -> Browser {
    let mut browser = Browser::start();
    browser.open(&format!("http://{}/", edge.admin));
    browser
}

/// No error, and nobody else asked.
#[track_caller]
fn was_quiet(browser: &mut Browser, edge: &Edge) {
    assert_eq!(browser.errors(), [""; 0]);
    let own = format!("http://{}/", edge.admin);
    let asked = browser.asked();
    assert!(!asked.is_empty());
    for url in asked {
        assert!(url.starts_with(&own) || url.starts_with("data:"), "{url}");
    }
}

/// Numbers drawn so far, and what the tile says.
fn tile(browser: &mut Browser, title: &str) -> (u64, String) {
    let said = browser.eval(&format!(
        "(() => {{ const tile = [...document.querySelectorAll('.tile')].find((t) => t.innerText.startsWith({title:?}));
         return [tile?.querySelector('path.line').getAttribute('d').split(/[ML]/).length ?? 0,
                 tile?.querySelector('.value').innerText ?? '']; }})()"
    ));
    (
        said[0].as_u64().unwrap_or(0),
        said[1].as_str().unwrap_or_default().to_owned(),
    )
}

fn state_of(browser: &mut Browser, server: &Origin) -> Value {
    browser.eval(&format!(
        "[...document.querySelectorAll('.servers tr')].find((row) => row.innerText.includes('{}'))?.dataset.state",
        server.address
    ))
}

#[test]
fn its_charts_move_under_load_and_a_server_that_dies_turns_red() {
    let (origin, mut dying) = (origin(), origin());
    let edge = Edge::start(SHOP, &[&origin, &dying]);
    let mut browser = dashboard(&edge);
    let load = || {
        for path in ["/a", "/kept/1", "/kept/2"] {
            get(path).send(&edge);
        }
    };

    eventually("the charts move", || {
        load();
        let (points, requests) = tile(&mut browser, "Requests per second");
        let (_, latency) = tile(&mut browser, "Latency");
        let (_, hits) = tile(&mut browser, "Hit ratio");
        let moves = points > 3 && !requests.starts_with('0');
        moves && latency.contains('s') && hits.ends_with('%')
    });
    let map = browser.text("#plan");
    for name in ["web", "limited", "photos", "shop", "app", "breaker closed"] {
        assert!(map.contains(name), "{name} in {map}");
    }
    assert_eq!(
        browser.eval("document.querySelectorAll('#wires path').length"),
        6
    );
    assert!(browser.text("#chips").contains("ready"));

    dying.stop();
    eventually("it is seen that a server died", || {
        state_of(&mut browser, &dying) == "down"
    });
    let colour = "getComputedStyle(document.querySelector('[data-state=down] .pill')).color";
    let red = browser.eval(colour);
    let red = red.as_str().expect("a colour");
    assert!(
        red.starts_with("rgb(179, 38, 30") || red.starts_with("rgb(255, 123, 114"),
        "{red}"
    );
    assert_eq!(state_of(&mut browser, &origin), "up");
    was_quiet(&mut browser, &edge);
}

#[test]
fn what_it_is_told_it_does() {
    let (first, second) = (origin(), origin());
    let edge = Edge::start(SHOP, &[&first, &second]);
    let mut browser = dashboard(&edge);
    get("/kept/1").send(&edge).expect(200);
    eventually("it is stored", || get("/kept/1").send(&edge).is_hit());
    eventually("the map is there", || {
        state_of(&mut browser, &second) == "up"
    });

    // By the keyboard alone.
    browser.eval(&format!(
        "document.querySelector('[data-server=\"app {}\"]').focus()",
        second.address
    ));
    browser.press("Enter", 13, "\r");
    eventually("it drains", || {
        state_of(&mut browser, &second) == "draining"
    });
    let upstreams = edge.admin("/api/v1/upstreams").expect("an answer").json();
    assert_eq!(upstreams["upstreams"][0]["servers"][1]["state"], "draining");
    eventually("its button takes it back", || {
        browser.eval("document.activeElement.innerText") == "Undrain"
    });
    browser.press("Enter", 13, "\r");
    eventually("it is back", || state_of(&mut browser, &second) == "up");

    browser.eval("document.getElementById('purge-name').focus()");
    browser.write("http://edge.test/kept/1");
    browser.press("Enter", 13, "\r");
    eventually("it is purged", || {
        edge.metric("lakh_cache_purges_total") == 1.0
    });
    assert!(!get("/kept/1").send(&edge).is_hit());
    eventually("the field is empty again", || {
        browser.eval("document.getElementById('purge-name').value") == ""
    });

    browser.eval("document.getElementById('purge-name').focus()");
    browser.write("nonsense");
    browser.press("Enter", 13, "\r");
    eventually("it says why not", || {
        browser.text("#notice").contains("has no host and path")
    });

    browser.eval("document.getElementById('validate').click()");
    eventually("it says what a reload would change", || {
        browser.text("#changes").contains("[]")
    });
    // A refusal is an error of the network to Chromium, and only that.
    let errors = browser.errors();
    assert!(
        errors.iter().all(|e| e.contains("400 (Bad Request)")),
        "{errors:?}"
    );
}

#[test]
fn it_shows_who_is_refused_which_pictures_fail_and_what_comes_in() {
    let (first, second) = (origin(), origin());
    let edge = Edge::start(SHOP, &[&first, &second]);
    let mut browser = dashboard(&edge);

    for _ in 0..3 {
        get("/limited").from("127.0.0.9").send(&edge);
    }
    get("/photos/cut.jpg?w=10").send(&edge);
    eventually("who is refused is there", || {
        browser.text("#offenders").contains("127.0.0.9")
    });
    eventually("a picture that failed is there", || {
        let pictures = browser.text("#pictures");
        pictures.contains("/photos/cut.jpg") && pictures.contains("w10")
    });

    let hostile = "/&lt;b&gt;&amp;";
    eventually("what comes in is there, as text", || {
        get(hostile).send(&edge);
        get("/broken").send(&edge);
        browser.text("#stream").contains(hostile)
    });
    browser.eval("document.getElementById('filter').focus()");
    browser.write("/broken 503");
    eventually("only what is wanted is there", || {
        let stream = browser.text("#stream");
        stream.contains("/broken") && !stream.contains(hostile)
    });
    was_quiet(&mut browser, &edge);
}

#[test]
fn it_is_light_and_dark_and_asks_for_the_token() {
    let (first, second) = (origin(), origin());
    let edge = Edge::start(
        &format!("admin: {{address: $admin, token_file: $dir/token}}\n{SHOP}"),
        &[&first, &second],
    );
    let mut browser = dashboard(&edge);
    eventually("it asks for the token", || {
        browser.eval("!document.getElementById('token').hidden") == true
    });
    browser.eval("document.getElementById('token-text').focus()");
    browser.write(ADMIN_TOKEN);
    browser.press("Enter", 13, "\r");
    eventually("the map is there", || {
        browser.text("#routes").contains("photos")
    });
    assert_eq!(
        browser.eval("document.getElementById('token').hidden"),
        true
    );

    let mut ground = |scheme: &str| {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        browser.call("Emulation.setEmulatedMedia", json!({"features": features}));
        browser.eval("getComputedStyle(document.body).backgroundColor")
    };
    assert_eq!(ground("light"), "rgb(246, 247, 249)");
    assert_eq!(ground("dark"), "rgb(20, 23, 28)");
}

/// Looked at by people, and the picture of the README: `make screenshots`.
#[test]
#[ignore = "makes pictures: make screenshots"]
fn its_picture() {
    let (first, second) = (origin(), origin());
    let edge = Edge::start(SHOP, &[&first, &second]);
    let mut browser = dashboard(&edge);
    let mut n = 0;
    let mut load = || {
        n += 1;
        let more = n % 40;
        for path in [
            "/a",
            "/kept/1",
            "/kept/2",
            "/photos/cut.jpg?w=9",
            "/limited",
        ] {
            get(path).from("127.0.0.9").send(&edge);
        }
        (0..more).for_each(|_| drop(get("/kept/1").send(&edge)));
        if n % 50 == 0 {
            get("/broken").send(&edge);
        }
    };
    eventually("there is something to see", || {
        load();
        tile(&mut browser, "Requests per second").0 > 12
    });
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    for scheme in ["light", "dark"] {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        browser.call("Emulation.setEmulatedMedia", json!({"features": features}));
        browser.screenshot(&folder.join(format!("dashboard-{scheme}.png")));
    }
}
