//! Certificates that are ordered: from a small authority that looks for itself whether names are ours.

use crate::harness::{
    Acme, Client, Edge, Fault, Folder, Gate, Origin, PATIENCE, Redis, Trust, eventually,
    free_address, get, staples,
};
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

const NAMES: [&str; 2] = ["shop.example", "www.shop.example"];

/// What the README shows, with an authority and addresses of this test's, and an application.
struct Shop {
    acme: Acme,
    origin: Origin,
    /// Where it keeps what was issued.
    folder: Folder,
    /// Where it is asked without TLS.
    plain: SocketAddr,
}

impl Shop {
    fn of(acme: Acme) -> Shop {
        Shop {
            acme,
            origin: Origin::saying("the shop"),
            folder: Folder::new(),
            plain: free_address(),
        }
    }

    /// The README's, with `more` in its section.
    fn yaml(&self, more: &str) -> String {
        let storage = self.folder.path().join("acme").display().to_string();
        self.yaml_at(self.plain, &format!("storage: {storage}{more}"))
    }

    fn yaml_at(&self, plain: SocketAddr, storage: &str) -> String {
        let readme = include_str!("../../README.md");
        let (_, example) = readme.split_once("```yaml\nacme:").expect("an example");
        let example = example.split("```").next().expect("its end");
        let directory = self.acme.directory();
        let with = format!("{storage}, directory: '{directory}', ca_file: $dir/web.pem");
        let written = example
            .replace("storage: /var/lib/lakh/acme", &with)
            .replace("0.0.0.0:443", "$web")
            .replace("0.0.0.0:80 ", &format!("{plain} "));
        assert!(written.contains(storage) && written.contains(&plain.to_string()));
        format!(
            "acme:{written}
upstreams: {{app: {{servers: [$0]}}}}
routes:
- {{name: private, match: {{path: /.well-known/*}}, upstream: app, deny: [127.0.0.0/8]}}
- {{name: all, match: {{path: /*}}, upstream: app}}
"
        )
    }

    fn start(&self, yaml: &str) -> Edge {
        Edge::start_with(yaml, &[&self.origin], |dir| {
            fs::write(dir.join("web.pem"), &self.acme.web.pem).expect("written");
            fs::write(dir.join("secret"), SECRET).expect("written");
            fs::write(dir.join("hmac"), "a2V5IG9mIHRoZSBhdXRob3JpdHk\n").expect("written");
        })
    }

    /// A record of its storage.
    fn record(&self, name: &str) -> std::path::PathBuf {
        let place = self.folder.path().join("acme").join(self.acme.place());
        place.join(name)
    }

    fn trust(&self) -> Trust {
        Trust::of_pem(&self.acme.authority.pem).forgetful()
    }

    /// Clients are shown a good one for each of the names.
    #[track_caller]
    fn await_served(&self, edge: &Edge) {
        for name in NAMES {
            in_time("a certificate is shown", || {
                self.trust().try_connect(edge.web, name).is_ok()
            });
            let mut client = self.trust().connect(edge, name);
            let reply = get("/").host(name).on(&mut client).expect(200);
            assert_eq!(reply.text(), "the shop");
        }
    }

    /// What clients are shown, in DER.
    fn shown(&self, edge: &Edge) -> Vec<u8> {
        let client = self.trust().connect(edge, NAMES[0]);
        client.tls().peer_certificates().expect("one")[0].to_vec()
    }
}

const SECRET: &str = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3JldCBzZWNyZXQg\n";

fn page(edge: &Edge) -> Value {
    let page = edge.admin("/api/v1/certificates");
    page.expect("the admin listener is open").json()
}

/// An order takes seconds of waiting alone.
#[track_caller]
fn in_time(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + 4 * PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never came true: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn mode(path: &Path) -> u32 {
    let data = fs::metadata(path).expect("it is there");
    data.permissions().mode() & 0o777
}

/// The next order has come, and is not answered.
#[track_caller]
fn await_order(acme: &Acme, gate: &Gate) {
    assert!(!gate.is_open());
    eventually("an order came", || acme.orders() > 0);
}

#[test]
fn what_the_readme_shows_brings_a_certificate_over_http() {
    let shop = Shop::of(Acme::start());
    shop.acme.names_lead_to(&[shop.plain]);
    // What clients of ACME have to live with.
    shop.acme
        .fail("account", Fault::Problem(400, "badNonce", None));
    shop.acme
        .fail("finalize", Fault::Problem(400, "badNonce", None));
    let gate = shop.acme.hold();
    let edge = shop.start(&shop.yaml(""));

    // There is none yet: the edge serves all the same, and says so.
    await_order(&shop.acme, &gate);
    assert!(shop.trust().try_connect(edge.web, NAMES[0]).is_err());
    get("/").on(&mut Client::connect(shop.plain)).expect(308);
    assert_eq!(edge.metric("lakh_acme_missing"), 1.0);
    let shown = page(&edge);
    assert_eq!(shown["certificates"], Value::Array(Vec::new()));
    assert_eq!(shown["acme"][0]["certificate"], NAMES[0]);
    assert_eq!(shown["acme"][0]["is_issued"], false);

    gate.open();
    shop.await_served(&edge);
    let shown = page(&edge);
    assert_eq!(shown["certificates"][0]["file"], "acme:shop.example");
    assert_eq!(shown["acme"][0]["is_issued"], true);
    assert_eq!(shown["acme"][0]["failures"], 0);
    let next = shown["acme"][0]["next_order"].as_str().expect("a time");
    let ends = shown["acme"][0]["not_after"].as_str().expect("a time");
    assert!(next < ends, "{next} {ends}");
    edge.await_metric("lakh_acme_orders_total{result=\"issued\"}", 1.0);
    assert_eq!(edge.metric("lakh_acme_missing"), 0.0);
    assert_eq!(edge.metric("lakh_acme_failing"), 0.0);
    assert!(edge.metric("lakh_acme_next_order_timestamp_seconds") > 1.7e9);
    let looks = "lakh_acme_challenges_total{challenge=\"http-01\"}";
    assert_eq!(
        edge.metric(looks),
        2.0,
        "past `deny`, and past the way to HTTPS"
    );
    let ends = "lakh_tls_certificate_not_after_seconds{certificate=\"acme:shop.example\"}";
    assert!(edge.metric(ends) > 1.7e9);

    // Keys are their owner's alone.
    assert_eq!(mode(&shop.record("")), 0o700);
    for record in ["account", "book", "shop.example.pem"] {
        assert_eq!(mode(&shop.record(record)), 0o600, "{record}");
    }
    // What nobody has asked to show goes its usual way, and what was shown is shown no more.
    eventually("the book has no challenge", || {
        fs::read_to_string(shop.record("book")).is_ok_and(|book| book.contains("\"challenges\":[]"))
    });
    let mut client = Client::connect(shop.plain);
    let unknown = get("/.well-known/acme-challenge/unknown");
    unknown.on(&mut client).expect(403);

    // What is kept is shown by the next process, which orders nothing.
    let before = shop.shown(&edge);
    drop(edge);
    let edge = shop.start(&shop.yaml(""));
    shop.await_served(&edge);
    assert_eq!(shop.shown(&edge), before);
    assert_eq!((shop.acme.orders(), shop.acme.accounts()), (1, 1));
    assert_eq!(edge.metric("lakh_acme_orders_total"), 0.0);

    // A name less is in the certificate still; for one more there will be another, but not within minutes, so
    // that edges that want different ones do not take turns at it.
    let next = || edge.metric("lakh_acme_next_order_timestamp_seconds") - staples::now() as f64;
    edge.reload(&shop.yaml("").replace(", www.shop.example", ""));
    eventually("it holds for months", || next() > 30.0 * 86_400.0);
    edge.reload(
        &shop
            .yaml("")
            .replace("www.shop.example", "www.shop.example, m.shop.example"),
    );
    eventually("it is ordered soon", || (1.0..300.0).contains(&next()));
    shop.await_served(&edge);
    assert_eq!(shop.acme.orders(), 1);
}

#[test]
fn a_handshake_shows_that_a_name_is_ours_and_an_account_is_vouched_for() {
    let shop = Shop::of(Acme::for_known(b"key of the authority"));
    let yaml = shop.yaml(
        ", challenge: tls-alpn-01, external_account: {key_id: known, hmac_key_file: $dir/hmac}",
    );
    let edge = shop.start(&yaml);
    shop.acme.names_lead_to(&[edge.web]);
    shop.await_served(&edge);
    edge.await_metric("lakh_acme_orders_total{result=\"issued\"}", 1.0);
    let shown = edge.metric("lakh_acme_challenges_total{challenge=\"tls-alpn-01\"}");
    assert!(shown >= 2.0, "{shown}");
    // As many, but for those whose authority left before the end.
    assert!(edge.metric("lakh_tls_handshakes_total{outcome=\"challenge\"}") >= 1.0);

    // Without a challenge there is nothing to be had that way; and what clients speak goes first.
    eventually("nothing is shown any more", || {
        let asking = shop.trust().offering(&["acme-tls/1"]);
        asking.try_connect(edge.web, NAMES[0]).is_err()
    });
    let both = shop.trust().offering(&["acme-tls/1", "http/1.1"]);
    let mut client = both.connect(&edge, NAMES[0]);
    assert_eq!(client.tls().alpn_protocol(), Some(&b"http/1.1"[..]));
    get("/").host(NAMES[0]).on(&mut client).expect(200);
}

/// Puts the end of all waits into the past, as time would.
fn end_waits(shop: &Shop) {
    let path = shop.record("book");
    let book = fs::read_to_string(&path).expect("there is a book");
    let mut book: Value = serde_json::from_str(&book).expect("JSON");
    let attempts = book["attempts"].as_object_mut().expect("attempts");
    for attempt in attempts.values_mut() {
        attempt["rest_until"] = 0.into();
    }
    for window in book["windows"]
        .as_object_mut()
        .expect("windows")
        .values_mut()
    {
        window["ask_again"] = 0.into();
    }
    let beside = path.with_extension("test");
    fs::write(&beside, book.to_string()).expect("written");
    fs::rename(&beside, &path).expect("renamed");
}

#[test]
fn what_is_near_its_end_is_renewed_and_stays_until_that_succeeds() {
    let shop = Shop::of(Acme::start());
    shop.acme.names_lead_to(&[shop.plain]);
    let record = shop.acme.authority.record(&NAMES, -80, 10);
    fs::create_dir_all(shop.record("")).expect("a folder");
    fs::write(shop.record("shop.example.pem"), record).expect("written");
    let refused = Fault::Problem(429, "rateLimited", Some(7200));
    shop.acme.fail("orders", refused);
    let edge = shop.start(&shop.yaml(""));
    shop.await_served(&edge);
    let old = shop.shown(&edge);

    // The authority wants to be left alone: it is, for as long as it says, and the old one stays.
    edge.await_metric("lakh_acme_orders_total{result=\"failed\"}", 1.0);
    eventually("operators are told", || {
        let said = edge.stderr();
        said.contains("rateLimited: as the test wants it")
            && said.contains("when the authority allows")
    });
    edge.await_metric("lakh_acme_failing", 1.0);
    let standing = page(&edge)["acme"][0].clone();
    assert_eq!(standing["failures"], 1);
    assert_eq!(standing["why"], "rateLimited: as the test wants it");
    let next = edge.metric("lakh_acme_next_order_timestamp_seconds");
    let now = staples::now() as f64;
    assert!(next > now + 6000.0 && next <= now + 7200.0, "{next} {now}");
    assert_eq!(shop.shown(&edge), old);

    // Then something else is wrong, and then nothing.
    shop.acme.fail("directory", Fault::BadGateway);
    end_waits(&shop);
    edge.await_metric("lakh_acme_orders_total{result=\"failed\"}", 2.0);
    eventually("operators are told", || {
        let said = edge.stderr();
        said.contains("its answer is 502 Bad Gateway") && said.contains("can be reached from here")
    });
    assert_eq!(shop.shown(&edge), old);
    assert_eq!(shop.acme.orders(), 0);
    end_waits(&shop);
    in_time("a new one is shown", || shop.shown(&edge) != old);
    edge.await_metric("lakh_acme_failing", 0.0);
    assert_eq!((shop.acme.orders(), shop.acme.accounts()), (1, 1));
    get("/")
        .host(NAMES[0])
        .on(&mut shop.trust().connect(&edge, NAMES[0]))
        .expect(200);
}

/// RFC 9773.
#[test]
fn an_authority_may_say_when_it_wants_a_certificate_renewed() {
    let shop = Shop::of(Acme::start());
    shop.acme.names_lead_to(&[shop.plain]);
    // By itself it would be renewed no sooner than in 54 days.
    shop.acme.suggests(50, 51);
    let edge = shop.start(&shop.yaml(""));
    shop.await_served(&edge);
    let old = shop.shown(&edge);
    in_time("it is known", || {
        let next = edge.metric("lakh_acme_next_order_timestamp_seconds");
        let days = (next - staples::now() as f64) / 86_400.0;
        (49.9..51.1).contains(&days)
    });
    assert_eq!(shop.acme.orders(), 1);

    // It is about to be revoked.
    shop.acme.suggests(-2, -1);
    end_waits(&shop);
    in_time("a new one is shown", || shop.shown(&edge) != old);
    let first = shop.acme.asked_of()[0].clone();
    assert_eq!(shop.acme.replaced(), [None, Some(first.clone())]);
    in_time("it asks of the new one", || {
        shop.acme
            .asked_of()
            .last()
            .is_some_and(|last| *last != first)
    });
    // However the authority wants it, one is not ordered again and again.
    let next = edge.metric("lakh_acme_next_order_timestamp_seconds");
    assert!(next > staples::now() as f64 + 3000.0, "{next}");
    assert_eq!(shop.acme.orders(), 2);
}

#[test]
fn a_name_that_leads_elsewhere_is_told_and_a_restart_does_not_ask_again() {
    let shop = Shop::of(Acme::start());
    // Nobody listens there.
    shop.acme.names_lead_to(&[free_address()]);
    let edge = shop.start(&shop.yaml(""));
    let failed = "lakh_acme_orders_total{result=\"failed\"}";
    in_time("it fails", || edge.metric(failed) == 1.0);
    eventually("operators are told", || {
        let said = edge.stderr();
        said.contains("shop.example: connection: ") && said.contains("port 80 of a listener")
    });
    assert!(shop.trust().try_connect(edge.web, NAMES[0]).is_err());
    drop(edge);
    let edge = shop.start(&shop.yaml(""));
    edge.await_metric("lakh_acme_failing", 1.0);
    edge.await_metric("lakh_acme_missing", 1.0);
    let next = edge.metric("lakh_acme_next_order_timestamp_seconds");
    assert!(next > staples::now() as f64 + 120.0, "{next}");
    assert_eq!(shop.acme.orders(), 1);

    // Another list of names is another certificate, but one that fails as well waits as long.
    let others = shop.yaml("").replace("www.shop.example", "m.shop.example");
    edge.reload(&others);
    eventually("it is known", || {
        page(&edge)["acme"][0]["names"][1] == "m.shop.example"
    });
    assert_eq!(shop.acme.orders(), 1);
    // Without any there is nothing to tell.
    let none = "upstreams: {app: {servers: [$0]}}\nroutes: [{name: all, match: {path: /*}, upstream: app}]\n";
    edge.reload(none);
    edge.await_metric("lakh_acme_failing", 0.0);
    assert_eq!(page(&edge)["acme"], Value::Array(Vec::new()));
}

/// Two edges that start at once. The authority comes to both.
fn fleet(shop: &Shop, storage: &str, more: &str) -> [Edge; 2] {
    let plain = [shop.plain, free_address()];
    shop.acme.names_lead_to(&plain);
    let gate = shop.acme.hold();
    let edges = plain.map(|plain| {
        let yaml = shop.yaml_at(plain, storage);
        shop.start(&format!("{yaml}{more}"))
    });
    await_order(&shop.acme, &gate);
    gate.open();
    edges.iter().for_each(|edge| shop.await_served(edge));
    assert_eq!(shop.shown(&edges[0]), shop.shown(&edges[1]));
    assert_eq!((shop.acme.orders(), shop.acme.accounts()), (1, 1));
    let issued = |edge: &Edge| edge.metric("lakh_acme_orders_total");
    eventually("one of them has told", || {
        edges.iter().map(issued).sum::<f64>() == 1.0
    });
    edges
}

#[test]
fn edges_that_share_a_folder_order_once() {
    let shop = Shop::of(Acme::start());
    let storage = shop.folder.path().join("acme").display().to_string();
    fleet(&shop, &format!("storage: {storage}"), "");
}

#[test]
fn edges_that_share_a_redis_order_once_and_leave_no_key_open_there() {
    let (shop, redis) = (Shop::of(Acme::start()), Redis::start());
    let more = format!("redis: {{url: '{}', timeout: 5s}}\n", redis.url());
    let storage = "storage: redis, secret_file: $dir/secret";
    let edges = fleet(&shop, storage, &more);
    for name in ["account", "book", "shop.example.pem"] {
        let key = format!("lakh:acme:{}:{name}", shop.acme.place());
        let sealed = redis.get(key.as_bytes()).expect("it is there");
        let text = String::from_utf8_lossy(&sealed);
        assert!(
            !text.contains("KEY") && !text.contains("shop.example"),
            "{text}"
        );
    }
    // Nobody has the lock any more, though its time is not over.
    let lock = format!("lakh:acme:{}:lock", shop.acme.place());
    eventually("the lock is free", || redis.get(lock.as_bytes()).is_none());

    // One that comes later takes what there is; and while Redis is away what is there stays.
    let [first, second] = edges;
    drop(second);
    let later = shop.start(&format!("{}{more}", shop.yaml_at(free_address(), storage)));
    shop.await_served(&later);
    drop(redis);
    eventually("operators are told", || {
        first
            .stderr()
            .contains("acme.storage: Redis does not answer")
    });
    shop.await_served(&first);
    assert_eq!(shop.acme.orders(), 1);
}
