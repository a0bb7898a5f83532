//! Alerts and boards, by a real Prometheus that scrapes a real edge.

use crate::harness::{
    Answer, Authority, Client, Edge, Folder, Origin, Trust, eventually, free_address, get, staples,
};
use crate::images::{jpeg, red_and_blue};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const NEEDED: &str = "Debian's package prometheus (make test installs it)";
/// For all queries of the board to have data: rates need several scrapes.
const PATIENCE: Duration = Duration::from_secs(60);

fn promtool(folder: &str, arguments: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new("promtool");
    command.args(arguments).current_dir(folder);
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let child = pipes.stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|e| panic!("promtool: {e}; it is in {NEEDED}"));
    let mut stdin = child.stdin.take().expect("it is piped");
    // One that reads nothing closes it.
    let _ = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

#[track_caller]
fn is_clean(output: &Output) {
    let said = [&output.stdout[..], &output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{}: {said}", output.status);
}

#[test]
fn every_alert_fires_when_it_should_and_not_before() {
    let folder = "docker/prometheus";
    is_clean(&promtool(
        folder,
        &["check", "config", "prometheus.yaml"],
        b"",
    ));
    is_clean(&promtool(
        folder,
        &["test", "rules", "alerts.test.yaml"],
        b"",
    ));
    let read = |name: &str| std::fs::read_to_string(format!("{folder}/{name}")).expect("a file");
    let (rules, tests) = (read("alerts.yaml"), read("alerts.test.yaml"));
    let alerts = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    let alerts: Vec<&str> = alerts.collect();
    assert!(alerts.len() >= 10, "{alerts:?}");
    for alert in alerts {
        let tested = format!("- alertname: {alert}\n");
        assert!(tests.contains(&tested), "{alert} is not seen to fire");
    }
}

/// A Prometheus for one test alone.
struct Prometheus {
    address: SocketAddr,
    _folder: Folder,
    child: Child,
}

impl Prometheus {
    /// Scrapes the edge each second.
    fn scraping(edge: &Edge) -> Prometheus {
        let (address, folder) = (free_address(), Folder::new());
        let config = format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs: [{{job_name: lakh, static_configs: [{{targets: ['{}']}}]}}]\n",
            edge.admin
        );
        let file = folder.path().join("prometheus.yaml");
        std::fs::write(&file, config).expect("the folder is ours");
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=error")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("prometheus: {e}; it is in {NEEDED}"));
        let prometheus = Prometheus {
            address,
            _folder: folder,
            child,
        };
        eventually("Prometheus has scraped the edge", || {
            prometheus
                .try_query("up == 1")
                .is_some_and(|found| !found.is_empty())
        });
        prometheus
    }

    /// The values of a query's series now.
    #[track_caller]
    fn query(&self, query: &str) -> Vec<f64> {
        self.try_query(query)
            .unwrap_or_else(|| panic!("Prometheus takes {query}"))
    }

    fn try_query(&self, query: &str) -> Option<Vec<f64>> {
        let mut target = "/api/v1/query?query=".to_owned();
        // Writing to a String can't fail.
        let _ = query.bytes().try_for_each(|b| write!(target, "%{b:02X}"));
        let mut client = Client::try_connect(self.address, Duration::from_secs(5)).ok()?;
        let reply = get(&target).try_on(&mut client).ok()?;
        if reply.status != 200 {
            return None;
        }
        let result = reply.json()["data"]["result"].as_array()?.clone();
        let value = |series: &Value| series["value"][1].as_str()?.parse().ok();
        Some(result.iter().filter_map(value).collect())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Everything that the board shows is there: TLS, limits, tiers, pictures, two servers, and an order of a certificate,
/// which fails, since nobody is where its authority is to be.
fn busy_edge(secure: SocketAddr, authority: &Authority, origins: &[&Origin]) -> Edge {
    let (ordered, nobody) = (free_address(), free_address());
    let yaml = format!(
        "
acme: {{contact: ops@edge.test, storage: $dir/acme, directory: 'https://{nobody}/directory'}}
listeners:
  web: {{address: $web}}
  ordered: {{address: '{ordered}', tls: {{certificates: [{{acme: [board.test]}}]}}}}
  secure: {{address: '{secure}', tls: {{certificates: [{{cert_file: $dir/site.pem, key_file: $dir/site.key, ocsp_file: $dir/ocsp}}]}}}}
upstreams: {{app: {{servers: [$0, $1], concurrency: {{max: 50}}}}}}
caches: {{pages: {{memory: 64MiB, disk: {{path: $dir/disk, size: 64MiB}}}}}}
rate_limits: {{few: {{key: client_address, rate: 1/min, burst: 3}}}}
routes:
- {{name: all, match: {{path: /*}}, upstream: app}}
- {{name: pages, match: {{path: /pages/*}}, upstream: app, images: true, cache: {{in: pages, ttl: 1h}}}}
- {{name: limited, match: {{path: /limited}}, upstream: app, rate_limits: [few]}}
access_log: {{to: none}}
"
    );
    Edge::start_with(&yaml, origins, |dir| {
        authority.sign("edge.test").write(dir, "site");
        let tomorrow = staples::until(staples::now() + 86_400, 1);
        std::fs::write(dir.join("ocsp"), tomorrow).expect("written");
    })
}

fn application() -> Origin {
    let photo = jpeg(&red_and_blue(64, 48));
    Origin::start(move |seen| match seen.path() {
        "/broken" => Answer::of(500, &[], "no"),
        path if path.ends_with(".jpg") => {
            Answer::of(200, &[("content-type", "image/jpeg")], &photo)
        }
        _ => Answer::ok("hello"),
    })
}

#[test]
fn every_query_of_the_board_has_data_and_the_page_is_clean() {
    let (one, two, authority) = (application(), application(), Authority::new());
    let secure = free_address();
    let edge = busy_edge(secure, &authority, &[&one, &two]);
    let trust = Trust::of(&authority).forgetful();
    let mut turn = 0;
    let mut traffic = || {
        turn += 1;
        let picture = format!("/pages/1.jpg?w={}", turn % 60 + 1);
        let page = format!("/pages/{}", turn % 7);
        for target in ["/", "/broken", "/limited", &page, &picture] {
            get(target).send(&edge);
        }
        let mut client = trust.try_connect(secure, "edge.test").expect("a handshake");
        get("/").host("edge.test").on(&mut client).expect(200);
    };
    traffic();
    let prometheus = Prometheus::scraping(&edge);

    let board = std::fs::read_to_string("docker/grafana/lakh.json").expect("the board");
    let board: Value = serde_json::from_str(&board).expect("JSON");
    let panels = board["panels"].as_array().expect("panels").iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let queries = targets.map(|target| target["expr"].as_str().expect("a query"));
    let mut lacking: Vec<String> = queries
        .map(|query| {
            query
                .replace("$instance", ".*")
                .replace("$__rate_interval", "15s")
        })
        .collect();
    assert!(lacking.len() >= 40, "{lacking:?}");
    let deadline = Instant::now() + PATIENCE;
    while !lacking.is_empty() {
        assert!(Instant::now() < deadline, "no data for {lacking:#?}");
        traffic();
        lacking.retain(|query| {
            let found = prometheus.query(query);
            found.is_empty() || found.iter().any(|value| value.is_nan())
        });
    }

    let instances = board["templating"]["list"][1]["query"]["query"].as_str();
    assert_eq!(instances, Some("label_values(lakh_build_info, instance)"));
    assert_eq!(prometheus.query("lakh_build_info"), [1.0]);
    let page = edge
        .admin("/metrics")
        .expect("the admin listener is open")
        .text();
    let checked = promtool(".", &["check", "metrics"], page.as_bytes());
    is_clean(&checked);
    assert_eq!(String::from_utf8_lossy(&checked.stdout), "");
}

/// An alert on a metric that is not there would never fire.
#[test]
fn alerts_ask_for_metrics_that_there_are() {
    let (one, two, authority) = (application(), application(), Authority::new());
    let edge = busy_edge(free_address(), &authority, &[&one, &two]);
    get("/pages/1.jpg?w=9").send(&edge).expect(200);
    // Counted once it is over, which its client does not wait for.
    edge.await_metric("lakh_http_requests_total", 1.0);
    let page = edge
        .admin("/metrics")
        .expect("the admin listener is open")
        .text();
    let rules = std::fs::read_to_string("docker/prometheus/alerts.yaml").expect("the rules");
    let name = regex::Regex::new(r"lakh_[a-z_]+").expect("a pattern");
    let mut names: Vec<&str> = name.find_iter(&rules).map(|found| found.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert!(names.len() >= 15, "{names:?}");
    for name in names {
        // Histograms have a name each for their parts.
        let family = name.trim_end_matches("_bucket");
        let is_there = page.contains(&format!("# TYPE {family} "));
        assert!(is_there, "{name} is not on the page");
    }
}
