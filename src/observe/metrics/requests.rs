//! Requests as metrics: how many were answered how, how long it took, how much was sent.

use super::refusal::Refusal;
use super::register::Make;
use http::Method;
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use std::sync::{Arc, OnceLock};

/// Families by route.
pub struct Routes {
    answers: IntCounterVec,
    duration: HistogramVec,
    bytes: IntCounterVec,
    refused: IntCounterVec,
    running: IntGaugeVec,
    websockets: IntGaugeVec,
}

/// What a finished request adds to. One per route.
#[derive(Clone)]
pub struct RouteMetrics {
    answers: Arc<Answers>,
    /// Seconds.
    pub duration: Histogram,
    /// Of bodies sent to clients.
    pub bytes: IntCounter,
    refused: [IntCounter; Refusal::ALL.len()],
    /// Requests being answered now; counted where the route bounds them.
    pub running: IntGauge,
    /// Those that are open, and requests for one.
    pub websockets: IntGauge,
}

/// A route's counters, or those of what had none. There are hundreds that could be, and few that are: each is looked up by its
/// labels once, when it first counts.
pub struct Answers {
    family: IntCounterVec,
    route: Box<str>,
    by_listener: Box<[(Box<str>, OnceLock<Box<Table>>)]>,
}

/// Of a listener's requests, by method and status.
type Table = [[OnceLock<IntCounter>; CODES.len()]; METHODS.len() + 1];

/// Others count together: a client may write any word.
const METHODS: [Method; 9] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
    Method::CONNECT,
    Method::TRACE,
];
const OTHER: &str = "other";
/// For a route: there was none.
const NO_ROUTE: &str = "-";

/// Those that are counted without a look-up. 499: the client left before it was answered.
const CODES: [u16; 32] = [
    200, 304, 206, 404, 101, 201, 202, 204, 301, 302, 303, 307, 308, 400, 401, 403, 405, 408, 409,
    410, 412, 413, 415, 416, 422, 429, 431, 499, 500, 502, 503, 504,
];

impl Routes {
    pub fn new(make: &Make<'_>) -> Routes {
        Routes {
            answers: make.counters(
                "lakh_http_requests_total",
                "Requests answered, route - where none fits; code 499: the client left before it was.",
                &["listener", "route", "method", "code"],
            ),
            duration: make.histograms(
                "lakh_http_request_duration_seconds",
                "Time from a request's head to the end of its answer.",
                &["route"],
            ),
            bytes: make.counters(
                "lakh_http_response_bytes_total",
                "Bytes of bodies sent to clients.",
                &["route"],
            ),
            refused: make.counters(
                "lakh_refused_total",
                "Requests that the edge itself refused, by reason.",
                &["route", "reason"],
            ),
            running: make.gauges(
                "lakh_route_running",
                "Requests being answered now, on routes with `concurrency`.",
                &["route"],
            ),
            websockets: make.gauges(
                "lakh_route_websockets",
                "WebSockets open now, and what else switched protocols.",
                &["route"],
            ),
        }
    }

    pub fn of(&self, route: &str, listeners: &[&str]) -> RouteMetrics {
        RouteMetrics {
            answers: Arc::new(self.answers(route, listeners)),
            duration: self.duration.with_label_values(&[route]),
            bytes: self.bytes.with_label_values(&[route]),
            refused: Refusal::ALL.map(|r| self.refused.with_label_values(&[route, r.label()])),
            running: self.running.with_label_values(&[route]),
            websockets: self.websockets.with_label_values(&[route]),
        }
    }

    /// Of requests that no route fits, and of heads that are no requests.
    pub fn unrouted(&self, listeners: &[&str]) -> Answers {
        self.answers(NO_ROUTE, listeners)
    }

    fn answers(&self, route: &str, listeners: &[&str]) -> Answers {
        let none_yet = |listener: &&str| (Box::from(*listener), OnceLock::new());
        Answers {
            family: self.answers.clone(),
            route: route.into(),
            by_listener: listeners.iter().map(none_yet).collect(),
        }
    }
}

impl RouteMetrics {
    pub fn answered(&self, listener: &str, method: &Method, status: u16) {
        self.answers.count(listener, Some(method), status);
    }

    pub fn refused(&self, why: Refusal) {
        self.refused[why as usize].inc();
    }
}

impl Answers {
    /// Counts one answer. A status that there is not counts as 500.
    pub fn count(&self, listener: &str, method: Option<&Method>, status: u16) {
        let status = if (100..600).contains(&status) {
            status
        } else {
            500
        };
        let known = METHODS.iter().position(|known| Some(known) == method);
        let label = known.map_or(OTHER, |known| METHODS[known].as_str());
        let counter = || {
            let code = status.to_string();
            self.family
                .with_label_values(&[listener, &self.route, label, &code])
        };
        // A connection may be older than the configuration, and its listener gone.
        let mut listeners = self.by_listener.iter();
        let table = listeners.find(|(name, _)| **name == *listener);
        let code = CODES.iter().position(|code| *code == status);
        match (table, code) {
            (Some((_, table)), Some(code)) => {
                let table = table.get_or_init(Box::default);
                table[known.unwrap_or(METHODS.len())][code]
                    .get_or_init(counter)
                    .inc();
            }
            _ => counter().inc(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::*;

    fn page(metrics: &Metrics) -> String {
        String::from_utf8(metrics.render()).expect("text")
    }

    #[test]
    fn a_refusal_counts_under_its_own_label() {
        let metrics = Metrics::new();
        metrics.route("home", &[]).refused(Refusal::NoServer);
        let page = page(&metrics);
        assert!(
            page.contains(r#"lakh_refused_total{reason="no_server",route="home"} 1"#),
            "{page}"
        );
    }

    #[test]
    fn what_has_no_route_counts_and_makes_no_other_series() {
        let metrics = Metrics::new();
        let unrouted = metrics.unrouted(&["web"]);
        unrouted.count("web", None, 400);
        unrouted.count("web", Some(&Method::CONNECT), 405);
        let page = page(&metrics);
        for (code, method) in [(400, "other"), (405, "CONNECT")] {
            let labels =
                format!("{{code=\"{code}\",listener=\"web\",method=\"{method}\",route=\"-\"}}");
            let series = format!("lakh_http_requests_total{labels} 1");
            assert!(page.contains(&series), "{series} in\n{page}");
        }
        assert_eq!(page.matches("route=\"-\"").count(), 2, "{page}");
    }

    #[test]
    fn an_answer_counts_by_what_it_was_and_never_by_a_word_of_the_client() {
        let metrics = Metrics::new();
        let route = metrics.route("home", &["web"]);
        let odd = Method::from_bytes(b"BREW").expect("a token");
        for (listener, method, status) in [
            ("web", &Method::GET, 200),
            ("web", &Method::GET, 200),
            ("web", &odd, 418),
            ("web", &odd, 200),
            // It was removed while the connection was open.
            ("old", &Method::GET, 200),
            ("web", &Method::GET, 999),
            ("web", &Method::GET, 0),
        ] {
            route.answered(listener, method, status);
        }
        // A reload makes the handles anew; the counters go on.
        let again = metrics.route("home", &["web"]);
        again.answered("web", &Method::GET, 200);

        let page = page(&metrics);
        for (code, listener, method, count) in [
            (200, "web", "GET", 3),
            (418, "web", "other", 1),
            (200, "web", "other", 1),
            (200, "old", "GET", 1),
            (500, "web", "GET", 2),
        ] {
            let series = format!(
                "lakh_http_requests_total{{code=\"{code}\",listener=\"{listener}\",\
                 method=\"{method}\",route=\"home\"}} {count}"
            );
            assert!(page.contains(&series), "{series} in\n{page}");
        }
        assert!(!page.contains("BREW"));
    }
}
