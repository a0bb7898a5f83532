//! What a look shows, line by line; what matters most comes first.

use super::numbers::{Between, Sample};
use serde_json::Value;

/// What the admin API says beside metrics.
pub struct View {
    pub status: Value,
    pub upstreams: Value,
    pub limits: Value,
    pub requests: Value,
}

const REQUESTS: &str = "lakh_http_requests_total";
const DURATION: &str = "lakh_http_request_duration_seconds";
/// Rows of what comes last in a section.
const MOST: usize = 10;
const SLOWEST: usize = 5;

pub fn lines(before: &Sample, now: &Sample, view: &View) -> Vec<String> {
    let between = &Between { before, now };
    let mut lines = head(between, view);
    lines.extend(routes(between));
    lines.extend(servers(between, view));
    lines.extend(caches(between));
    lines.extend(slowest(view));
    lines.extend(limited(view));
    lines
}

fn head(between: &Between<'_>, view: &View) -> Vec<String> {
    let state = match (&view.status["ready"], &view.status["config"]["error"]) {
        (Value::Bool(false), _) => "NOT READY",
        (_, Value::Null) => "ready",
        _ => "ready, LAST RELOAD REFUSED",
    };
    let quantile = |q| seconds(between.quantile(q, DURATION, &[]));
    let version = view.status["version"].as_str().unwrap_or_default();
    let up = age(view.status["uptime_seconds"].as_u64().unwrap_or(0));
    let cpu = between.rate("lakh_process_cpu_seconds_total", &[]);
    vec![
        format!("lakh {version}, {state}, up {up}"),
        format!(
            "{} requests/s   p50 {}  p95 {}  p99 {}   {} failed   {} hits",
            count(between.rate(REQUESTS, &[])),
            quantile(0.5),
            quantile(0.95),
            quantile(0.99),
            failed(between, &[]),
            hits(between, &[]),
        ),
        format!(
            "{} connections   {} in flight   {}/s sent   {:.0} % of a processor   {} of memory",
            count(between.now.sum("lakh_connections", &[])),
            count(between.now.sum("lakh_in_flight", &[])),
            bytes(between.rate("lakh_http_response_bytes_total", &[])),
            100.0 * cpu,
            bytes(between.now.sum("lakh_process_resident_memory_bytes", &[])),
        ),
    ]
}

/// The busiest first.
fn routes(between: &Between<'_>) -> Vec<String> {
    let names = between.now.values(&format!("{DURATION}_count"), "route");
    let mut rows: Vec<_> = names
        .iter()
        .map(|name| {
            let mine = &[("route", name.as_str())];
            let rate = between.rate(REQUESTS, mine);
            let row = [
                name.clone(),
                count(rate),
                seconds(between.quantile(0.5, DURATION, mine)),
                seconds(between.quantile(0.99, DURATION, mine)),
                failed(between, mine),
                count(between.rate("lakh_refused_total", mine)),
                bytes(between.rate("lakh_http_response_bytes_total", mine)) + "/s",
            ];
            (rate, row)
        })
        .collect();
    rows.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let rows = rows.into_iter().take(MOST).map(|(_, row)| row).collect();
    let titles = [
        "ROUTE",
        "REQ/S",
        "P50",
        "P99",
        "FAILED",
        "REFUSED/S",
        "SENT",
    ];
    table(titles, rows)
}

fn servers(between: &Between<'_>, view: &View) -> Vec<String> {
    let mut rows = Vec::new();
    for upstream in list(&view.upstreams["upstreams"]) {
        let name = text(&upstream["name"]);
        for server in list(&upstream["servers"]) {
            let address = text(&server["address"]);
            let mine = &[("upstream", name.as_str()), ("server", address.as_str())];
            let since = age(server["since_seconds"].as_u64().unwrap_or(0));
            rows.push([
                name.clone(),
                address.clone(),
                format!("{} {since}", text(&server["state"])),
                text(&server["active"]),
                count(between.rate("lakh_upstream_requests_total", mine)),
                count(between.rate("lakh_upstream_failures_total", mine)),
                text(&server["why"]),
            ]);
        }
    }
    // Those in trouble first.
    rows.sort_by_key(|row| row[2].starts_with("up "));
    let titles = [
        "UPSTREAM",
        "SERVER",
        "STATE",
        "ACTIVE",
        "REQ/S",
        "FAILURES/S",
        "WHY",
    ];
    table(titles, rows)
}

fn caches(between: &Between<'_>) -> Vec<String> {
    let names = between.now.values("lakh_cache_objects", "cache");
    let row = |name: &String| {
        let mine = &[("cache", name.as_str())];
        [
            name.clone(),
            hits(between, mine),
            count(between.now.sum("lakh_cache_objects", mine)),
            bytes(between.now.sum("lakh_cache_bytes", mine)),
            count(between.rate("lakh_cache_evictions_total", mine)),
        ]
    };
    let titles = ["CACHE", "HITS", "OBJECTS", "BYTES", "EVICTED/S"];
    table(titles, names.iter().map(row).collect())
}

/// Of those that were told since the last look.
fn slowest(view: &View) -> Vec<String> {
    let mut requests: Vec<_> = list(&view.requests["items"]).collect();
    requests.sort_by(|a, b| {
        let ms = |request: &Value| request["ms"].as_f64().unwrap_or(0.0);
        ms(b).total_cmp(&ms(a))
    });
    let row = |request: &&Value| {
        [
            format!(
                "{} {}{}",
                text(&request["method"]),
                text(&request["host"]),
                text(&request["path"])
            ),
            text(&request["status"]),
            seconds(request["ms"].as_f64().map(|ms| ms / 1000.0)),
            text(&request["route"]),
            text(&request["server"]),
            text(&request["cache"]),
        ]
    };
    let rows = requests.iter().take(SLOWEST).map(row).collect();
    table(
        ["SLOWEST", "STATUS", "TOOK", "ROUTE", "SERVER", "CACHE"],
        rows,
    )
}

fn limited(view: &View) -> Vec<String> {
    let row = |limited: &Value| {
        let times = limited["refused"].as_f64().unwrap_or(0.0);
        [
            text(&limited["address"]),
            count(times),
            text(&limited["by"]),
        ]
    };
    let rows = list(&view.limits["most_limited"]).take(MOST).map(row);
    table(["LIMITED", "TIMES", "BY"], rows.collect())
}

fn failed(between: &Between<'_>, labels: &[(&str, &str)]) -> String {
    let all = between.count(REQUESTS, labels);
    let codes = between.now.values(REQUESTS, "code").into_iter();
    let codes = codes.filter(|code| code.starts_with('5'));
    let failed: f64 = codes
        .map(|code| between.count(REQUESTS, &[labels, &[("code", code.as_str())]].concat()))
        .sum();
    share(failed, all)
}

fn hits(between: &Between<'_>, labels: &[(&str, &str)]) -> String {
    let of = |status: &str| {
        let labels = [labels, &[("status", status)]].concat();
        between.count("lakh_cache_requests_total", &labels)
    };
    let found = of("hit") + of("stale");
    share(
        found,
        found + of("miss") + of("revalidated") + of("collapsed"),
    )
}

/// Titles and rows in columns as wide as their widest; nothing where there are no rows.
fn table<const N: usize>(titles: [&str; N], rows: Vec<[String; N]>) -> Vec<String> {
    if rows.is_empty() {
        return Vec::new();
    }
    let width = |n: usize| {
        let cells = rows.iter().map(|row| row[n].chars().count());
        cells.chain([titles[n].len()]).max().unwrap_or(0)
    };
    let line = |cells: [&str; N]| {
        let padded = cells.iter().enumerate();
        let padded: String = padded
            .map(|(n, cell)| format!("{cell:w$}  ", w = width(n)))
            .collect();
        padded.trim_end().to_owned()
    };
    let rows = rows
        .iter()
        .map(|row| line(std::array::from_fn(|n| row[n].as_str())));
    [String::new(), line(titles)]
        .into_iter()
        .chain(rows)
        .collect()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        // What clients wrote must not move the terminal's cursor.
        Value::String(text) => text
            .chars()
            .map(|c| if c.is_control() { '?' } else { c })
            .collect(),
        other => other.to_string(),
    }
}

fn share(part: f64, whole: f64) -> String {
    match whole > 0.0 {
        true => format!("{:.1} %", 100.0 * part / whole),
        false => "-".to_owned(),
    }
}

fn count(n: f64) -> String {
    scaled(n, 1000.0, &["", " k", " M", " G"])
}

fn bytes(n: f64) -> String {
    scaled(n, 1024.0, &[" B", " KiB", " MiB", " GiB", " TiB"])
}

fn seconds(s: Option<f64>) -> String {
    s.map_or("-".to_owned(), |s| {
        scaled(s * 1e6, 1000.0, &[" µs", " ms", " s"])
    })
}

fn scaled(mut n: f64, step: f64, units: &[&str]) -> String {
    let mut unit = 0;
    while n >= step && unit + 1 < units.len() {
        n /= step;
        unit += 1;
    }
    let digits = if n >= 100.0 || n.fract() == 0.0 { 0 } else { 1 };
    format!("{n:.digits$}{}", units[unit])
}

fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::{Duration, Instant};

    const PAGE: &str = r#"lakh_http_requests_total{listener="web",route="shop",method="GET",code="200"} 0
lakh_http_requests_total{listener="web",route="shop",method="GET",code="502"} 0
lakh_http_request_duration_seconds_count{route="shop"} 0
lakh_cache_requests_total{cache="pages",status="hit"} 0
lakh_cache_objects{cache="pages"} 7
"#;

    #[test]
    fn trouble_comes_first_and_nothing_moves_the_cursor() {
        let start = Instant::now();
        let later = PAGE.replace("} 0", "} 3000");
        let (before, now) = (
            Sample::parse(PAGE, start),
            Sample::parse(&later, start + Duration::from_secs(1)),
        );
        let view = View {
            status: json!({"ready": true, "version": "1", "uptime_seconds": 7300, "config": {"error": "x"}}),
            upstreams: json!({"upstreams": [{"name": "app", "servers": [
                {"address": "10.0.0.1:80", "state": "up", "since_seconds": 9},
                {"address": "10.0.0.2:80", "state": "down", "since_seconds": 9, "why": "refused"},
            ]}]}),
            limits: json!({"most_limited": [{"address": "10.9.9.9", "refused": 12000, "by": "few"}]}),
            requests: json!({"items": [
                {"method": "GET", "host": "h", "path": "/fast", "ms": 1.0, "status": 200, "route": "shop"},
                {"method": "GET", "host": "h", "path": "/\u{1b}[2J", "ms": 90.0, "status": 200, "route": "shop"},
            ]}),
        };
        let lines = lines(&before, &now, &view);
        let at = |what: &str| lines.iter().position(|line| line.contains(what));
        assert!(lines[0].contains("up 2 h") && lines[0].contains("REFUSED"));
        assert!(
            lines[1].starts_with("6 k requests/s") && lines[1].contains("50.0 % failed"),
            "{}",
            lines[1]
        );
        assert!(at("10.0.0.2:80") < at("10.0.0.1:80"));
        assert!(
            at("/?[2J") < at("/fast") && at("/?[2J").is_some(),
            "{lines:#?}"
        );
        assert!(at("12 k").is_some() && at("100.0 %").is_some());
        assert!(lines.iter().all(|line| !line.contains('\u{1b}')));
    }
}
