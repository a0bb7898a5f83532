//! Every metric's name. Labels are routes, states and kinds: what a client chose is never one.

use crate::app::App;
use crate::domain::job::{Kind, State};
use crate::store::Store;
use axum::http::Method;
use prometheus::core::Collector;
use prometheus::{
    Encoder, Error, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};
use std::collections::BTreeMap;
use std::time::Duration;

pub struct Metrics {
    registry: Registry,
    requests: HistogramVec,
    jobs: HistogramVec,
    queue: IntGaugeVec,
    forgotten: IntCounter,
    uploads: IntGaugeVec,
    acknowledgements: Histogram,
    chunks: IntGaugeVec,
    /// By provider, operation and outcome.
    pub storage: IntCounterVec,
    repairs: IntCounterVec,
    connections: IntGaugeVec,
    nodes: IntGaugeVec,
    hub: IntGauge,
}

const SECONDS: [f64; 9] = [0.001, 0.005, 0.02, 0.1, 0.25, 1.0, 2.5, 10.0, 60.0];

impl Metrics {
    pub fn new() -> Result<Self, Error> {
        let registry = Registry::new();
        let histogram = |name: &str, help: &str, labels: &[&str]| {
            let options = HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
            in_registry(&registry, HistogramVec::new(options, labels))
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            in_registry(&registry, IntGaugeVec::new(Opts::new(name, help), labels))
        };
        Ok(Self {
            requests: histogram(
                "lakh_origin_request_seconds",
                "Time to an answer's head",
                &["route", "method", "status"],
            )?,
            jobs: histogram(
                "lakh_origin_job_seconds",
                "Time that a worker had a job",
                &["kind", "outcome"],
            )?,
            queue: gauge("lakh_origin_jobs", "Jobs in the database", &["state"])?,
            forgotten: in_registry(
                &registry,
                IntCounter::new(
                    "lakh_origin_jobs_forgotten_total",
                    "Finished jobs that were deleted after their time",
                ),
            )?,
            storage: in_registry(
                &registry,
                IntCounterVec::new(
                    Opts::new(
                        "lakh_origin_storage_total",
                        "What providers of storage were asked for, after all attempts",
                    ),
                    &["provider", "operation", "outcome"],
                ),
            )?,
            repairs: in_registry(
                &registry,
                IntCounterVec::new(
                    Opts::new(
                        "lakh_origin_storage_repairs_total",
                        "Chunks of large files that providers had lost: copied anew, or not (yet)",
                    ),
                    &["outcome"],
                ),
            )?,
            uploads: gauge("lakh_origin_uploads", "Uploads of this process", &["state"])?,
            acknowledgements: in_registry(
                &registry,
                Histogram::with_opts(
                    HistogramOpts::new(
                        "lakh_origin_acknowledgement_seconds",
                        "Time from an upload's last byte to its acknowledgement",
                    )
                    .buckets(SECONDS.to_vec()),
                ),
            )?,
            chunks: gauge(
                "lakh_origin_chunks",
                "Chunks of large files that come to this process",
                &["state"],
            )?,
            connections: gauge(
                "lakh_origin_database_connections",
                "Connections of this process",
                &["pool", "state"],
            )?,
            nodes: gauge(
                "lakh_origin_database_nodes",
                "Nodes of the database: known, writable, and read as replicas",
                &["role"],
            )?,
            hub: in_registry(
                &registry,
                IntGauge::new(
                    "lakh_origin_hub_connections",
                    "Devices that listen to this process",
                ),
            )?,
            registry,
        })
    }

    /// A method's name, if it is one of those that mean something here.
    pub fn method(method: &Method) -> &'static str {
        match method.as_str() {
            "GET" => "GET",
            "HEAD" => "HEAD",
            "POST" => "POST",
            "PUT" => "PUT",
            "PATCH" => "PATCH",
            "DELETE" => "DELETE",
            _ => "other",
        }
    }

    pub fn answered(&self, route: &str, method: &str, status: u16, time: Duration) {
        self.requests
            .with_label_values(&[route, method, &status.to_string()])
            .observe(time.as_secs_f64());
    }

    pub fn acknowledged(&self, time: Duration) {
        self.acknowledgements.observe(time.as_secs_f64());
    }

    pub fn worked(&self, kind: Kind, outcome: &str, time: Duration) {
        self.jobs
            .with_label_values(&[kind.to_string().as_str(), outcome])
            .observe(time.as_secs_f64());
    }

    /// Whether it could be.
    pub fn repaired(&self, done: bool) {
        let outcome = if done { "repaired" } else { "failed" };
        self.repairs.with_label_values(&[outcome]).inc();
    }

    pub fn forgot(&self, jobs: u64) {
        self.forgotten.inc_by(jobs);
    }

    /// In Prometheus' text format. What is a state, not an event, is looked at now.
    pub async fn text(&self, app: &App) -> sqlx::Result<String> {
        let now = Counts::of(app).await?;
        // Nothing of before is set to nothing first: another one may be reading.
        for (state, count) in now.jobs.iter().flatten() {
            self.queue.with_label_values(&[state.as_str()]).set(*count);
        }
        if now.jobs.is_none() {
            self.queue.reset();
        }
        for (labels, count) in now.connections {
            set(&self.connections, &labels, count);
        }
        for (role, count) in now.nodes {
            set(&self.nodes, &[role], count);
        }
        for (gauge, gate) in [(&self.uploads, &app.uploads), (&self.chunks, &app.chunks)] {
            let (running, waiting) = gate.counts();
            set(gauge, &["running"], running);
            set(gauge, &["waiting"], waiting);
        }
        let listening = app.shards.hub_count();
        self.hub.set(i64::try_from(listening).unwrap_or(i64::MAX));
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut text)
            .expect("memory can be written to");
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// Of all databases together.
#[derive(Default)]
struct Counts {
    /// By state. None where no database can be asked.
    jobs: Option<BTreeMap<String, i64>>,
    connections: BTreeMap<[&'static str; 2], usize>,
    nodes: BTreeMap<&'static str, usize>,
}

impl Counts {
    async fn of(app: &App) -> sqlx::Result<Self> {
        let mut counts = Self::default();
        for store in app.stores() {
            counts.add(store).await?;
        }
        Ok(counts)
    }

    async fn add(&mut self, store: &Store) -> sqlx::Result<()> {
        if store.is_reachable() {
            let none = || {
                State::ALL
                    .iter()
                    .map(|state| (state.to_string(), 0))
                    .collect()
            };
            let jobs = self.jobs.get_or_insert_with(none);
            for (state, count) in store.job_counts().await? {
                *jobs.entry(state).or_default() += count;
            }
        }
        for (pool, open, idle) in store.connections() {
            let used = (open as usize).saturating_sub(idle);
            *self.connections.entry([pool, "idle"]).or_default() += idle;
            *self.connections.entry([pool, "used"]).or_default() += used;
        }
        for (role, count) in store.node_counts() {
            *self.nodes.entry(role).or_default() += count;
        }
        Ok(())
    }
}

fn in_registry<M: Collector + Clone + 'static>(
    registry: &Registry,
    made: Result<M, Error>,
) -> Result<M, Error> {
    let metric = made?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn set(gauge: &IntGaugeVec, labels: &[&str], value: usize) {
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    gauge.with_label_values(labels).set(value);
}
