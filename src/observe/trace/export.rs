//! Spans on their way to the collector.

use super::Trace;
use super::otlp::{self, Span};
use crate::observe::TraceMetrics;
use crate::observe::settings::TracingSettings;
use http::HeaderMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// Requests whose spans may wait.
const QUEUE: usize = 2048;
/// Spans that are sent at once, at most some more.
const BATCH: usize = 512;
/// How long they gather.
const GATHER: Duration = Duration::from_secs(1);
/// What can't be delivered is tried again after these pauses.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];

type Delivery = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// Sends one request to the collector. The error says why it did not take it.
pub type Deliver = Arc<dyn Fn(Vec<u8>) -> Delivery + Send + Sync>;

/// Of one Runtime. When it is dropped what waits is delivered, and its task ends.
pub struct Tracer {
    sample: f64,
    orders: Sender<Order>,
    metrics: TraceMetrics,
    /// Until it starts.
    exporter: Mutex<Option<Exporter>>,
}

enum Order {
    Spans(Vec<Span>),
    /// All before this are to be delivered; say so.
    Flush(oneshot::Sender<()>),
}

struct Exporter {
    orders: Receiver<Order>,
    service: String,
    deliver: Deliver,
    metrics: TraceMetrics,
    /// The last delivery failed: one line in the log is enough.
    failing: bool,
}

impl Tracer {
    /// Sends nothing until `start`.
    pub fn new(settings: &TracingSettings, deliver: Deliver, metrics: TraceMetrics) -> Tracer {
        let (sender, orders) = channel(QUEUE);
        let exporter = Exporter {
            orders,
            service: settings.service.clone(),
            deliver,
            metrics: metrics.clone(),
            failing: false,
        };
        Tracer {
            sample: settings.sample,
            orders: sender,
            metrics,
            exporter: Mutex::new(Some(exporter)),
        }
    }

    pub fn start(&self) {
        let exporter = self.exporter.lock().expect("no code panics with it").take();
        if let Some(exporter) = exporter {
            tokio::spawn(exporter.run());
        }
    }

    /// Whether the request that begins is traced.
    pub fn begin(&self, fields: &HeaderMap, trusted: bool) -> Option<Trace> {
        Trace::begin(fields, trusted, self.sample, fastrand::f64)
    }

    pub fn send(&self, spans: Vec<Span>) {
        let count = spans.len() as u64;
        if count > 0 && self.orders.try_send(Order::Spans(spans)).is_err() {
            self.metrics.dropped.inc_by(count);
        }
    }

    /// Waits until all spans handed over so far are delivered, for as long as `limit`.
    pub async fn flush(&self, limit: Duration) {
        let (done, delivered) = oneshot::channel();
        let flushed = async {
            if self.orders.send(Order::Flush(done)).await.is_ok() {
                // An error means that the task has ended, and with it all that waited.
                let _ = delivered.await;
            }
        };
        // At exit a collector that hangs must not hold the process.
        let _ = timeout(limit, flushed).await;
    }
}

impl Exporter {
    async fn run(mut self) {
        while let Some(first) = self.orders.recv().await {
            let (spans, asked) = self.gather(first).await;
            if !spans.is_empty() {
                self.deliver(&spans).await;
            }
            if let Some(asked) = asked {
                // Whoever asked may have stopped waiting.
                let _ = asked.send(());
            }
        }
    }

    /// Until there are enough, or it is time.
    async fn gather(&mut self, first: Order) -> (Vec<Span>, Option<oneshot::Sender<()>>) {
        let (mut spans, mut next) = (Vec::new(), Some(first));
        let until = Instant::now() + GATHER;
        loop {
            match next {
                Some(Order::Spans(more)) => spans.extend(more),
                Some(Order::Flush(asked)) => return (spans, Some(asked)),
                None => return (spans, None),
            }
            if spans.len() >= BATCH {
                return (spans, None);
            }
            next = timeout_at(until, self.orders.recv()).await.ok().flatten();
        }
    }

    async fn deliver(&mut self, spans: &[Span]) {
        let request = otlp::request(&self.service, spans);
        let mut pauses = PAUSES.iter();
        let count = spans.len() as u64;
        loop {
            let why = match (self.deliver)(request.clone()).await {
                Ok(()) => {
                    self.failing = false;
                    return self.metrics.exported.inc_by(count);
                }
                Err(why) => why,
            };
            if !self.failing {
                tracing::warn!(why, "traces: the collector does not take them");
            }
            // While it is away, each batch has one try: the next ones wait.
            let pause = pauses.next().filter(|_| !self.failing);
            let Some(pause) = pause else {
                self.failing = true;
                return self.metrics.failed.inc_by(count);
            };
            sleep(*pause).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, SpanId, TraceId};
    use super::*;
    use crate::observe::Metrics;
    use serde_json::Value;
    use std::time::SystemTime;

    fn span(name: &str) -> Span {
        Span {
            trace: TraceId::new(),
            id: SpanId::new(),
            parent: None,
            kind: Kind::Server,
            name: name.into(),
            begun: SystemTime::UNIX_EPOCH,
            took: Duration::from_nanos(5),
            attributes: vec![("http.response.status_code", 200.into())],
            error: None,
        }
    }

    fn tracer(answer: Result<(), String>) -> (Tracer, Arc<Mutex<Vec<Value>>>) {
        let taken = Arc::new(Mutex::new(Vec::new()));
        let takes = taken.clone();
        let deliver: Deliver = Arc::new(move |request: Vec<u8>| {
            let json = serde_json::from_slice(&request).expect("JSON");
            takes.lock().expect("no panic").push(json);
            let answer = answer.clone();
            Box::pin(async move { answer })
        });
        let settings = TracingSettings::default();
        let metrics = Metrics::new().traces;
        (Tracer::new(&settings, deliver, metrics), taken)
    }

    #[tokio::test(start_paused = true)]
    async fn many_spans_are_one_request() {
        let (tracer, taken) = tracer(Ok(()));
        tracer.start();
        (0..10).for_each(|_| tracer.send(vec![span("a"), span("b")]));
        tracer.flush(Duration::from_secs(5)).await;
        let taken = taken.lock().expect("no panic");
        assert_eq!(taken.len(), 1);
        let spans = &taken[0]["resourceSpans"][0]["scopeSpans"][0]["spans"];
        assert_eq!(spans.as_array().map(Vec::len), Some(20));
        assert_eq!(spans[0]["endTimeUnixNano"], "5");
        assert_eq!(spans[0]["attributes"][0]["value"]["intValue"], "200");
        assert_eq!(tracer.metrics.exported.get(), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_takes_is_counted_and_forgotten() {
        let (tracer, taken) = tracer(Err("away".into()));
        (0..QUEUE + 5).for_each(|_| tracer.send(vec![span("a")]));
        assert_eq!(tracer.metrics.dropped.get(), 5, "it has not started");
        tracer.start();
        tracer.flush(Duration::from_secs(60)).await;
        assert_eq!(tracer.metrics.failed.get(), QUEUE as u64);
        let batches = QUEUE.div_ceil(BATCH);
        assert_eq!(
            taken.lock().expect("no panic").len(),
            batches + PAUSES.len()
        );
    }
}
