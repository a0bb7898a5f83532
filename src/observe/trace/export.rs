//! Spans on their way to the collector.

use super::Trace;
use super::otlp::{self, Span};
use crate::observe::settings::TracingSettings;
use crate::observe::{TraceMetrics, Trouble};
use http::HeaderMap;
use std::future::Future;
use std::mem::take;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::time::{sleep, timeout};

/// Spans that may wait.
const ROOM: usize = 4096;
/// Spans that are sent at once.
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
    queue: Arc<Queue>,
    metrics: TraceMetrics,
    /// Until it starts.
    exporter: Mutex<Option<Exporter>>,
}

/// Spans that gather. The exporter is woken for the first of many: to be woken costs more than all else
/// that a span does.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    /// There is something to do.
    wake: Notify,
    /// Some did not fit since the last delivery, which was told.
    overflows: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    spans: Vec<Span>,
    /// To be told when all that waits is delivered.
    asked: Vec<oneshot::Sender<()>>,
    /// Nobody will send any more.
    closed: bool,
}

struct Exporter {
    queue: Arc<Queue>,
    service: String,
    deliver: Deliver,
    metrics: TraceMetrics,
    trouble: Trouble,
}

impl Tracer {
    /// Sends nothing until `start`.
    pub fn new(settings: &TracingSettings, deliver: Deliver, metrics: TraceMetrics) -> Tracer {
        let queue = Arc::new(Queue::default());
        let exporter = Exporter {
            queue: queue.clone(),
            service: settings.service.clone(),
            deliver,
            metrics: metrics.clone(),
            trouble: Trouble::default(),
        };
        Tracer {
            sample: settings.sample,
            queue,
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
        let count = spans.len();
        if !self.queue.push(spans) {
            self.metrics.dropped.inc_by(count as u64);
            if !self.queue.overflows.swap(true, Relaxed) {
                tracing::warn!(
                    "traces: spans are dropped, because {ROOM} wait for the collector at tracing.otlp already; \
                     see that it keeps up, or lower tracing.sample"
                );
            }
        }
    }

    /// Waits until all spans handed over so far are delivered, for as long as `limit`.
    pub async fn flush(&self, limit: Duration) {
        let (done, delivered) = oneshot::channel();
        self.queue.lock().asked.push(done);
        self.queue.wake.notify_one();
        // At exit a collector that hangs must not hold the process.
        let _ = timeout(limit, delivered).await;
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.wake.notify_one();
    }
}

impl Queue {
    /// False: they don't fit.
    fn push(&self, spans: Vec<Span>) -> bool {
        let mut waiting = self.lock();
        let before = waiting.spans.len();
        let after = before + spans.len();
        if after > ROOM {
            return false;
        }
        waiting.spans.extend(spans);
        drop(waiting);
        if before == 0 || (before < BATCH && after >= BATCH) {
            self.wake.notify_one();
        }
        true
    }

    async fn until(&self, is_so: impl Fn(&Waiting) -> bool) {
        while !is_so(&self.lock()) {
            self.wake.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("no code panics with it")
    }
}

impl Waiting {
    fn is_urgent(&self) -> bool {
        self.closed || !self.asked.is_empty() || self.spans.len() >= BATCH
    }
}

impl Exporter {
    async fn run(mut self) {
        let queue = self.queue.clone();
        loop {
            queue.until(|w| w.is_urgent() || !w.spans.is_empty()).await;
            // Too late is as good: then they are fewer than a batch.
            let _ = timeout(GATHER, queue.until(Waiting::is_urgent)).await;
            let (spans, asked, closed) = {
                let mut waiting = queue.lock();
                let spans = take(&mut waiting.spans);
                (spans, take(&mut waiting.asked), waiting.closed)
            };
            for batch in spans.chunks(BATCH) {
                self.deliver(batch).await;
            }
            for asked in asked {
                // Whoever asked may have stopped waiting.
                let _ = asked.send(());
            }
            if closed {
                return;
            }
        }
    }

    async fn deliver(&mut self, spans: &[Span]) {
        let request = otlp::request(&self.service, spans);
        let mut pauses = PAUSES.iter();
        let (count, is_away) = (spans.len() as u64, self.trouble.lasts());
        loop {
            let why = match (self.deliver)(request.clone()).await {
                Ok(()) => {
                    if self.trouble.is_over() {
                        tracing::info!("traces: the collector takes them again");
                    }
                    self.queue.overflows.store(false, Relaxed);
                    return self.metrics.exported.inc_by(count);
                }
                Err(why) => why,
            };
            if self.trouble.is_news(&why) {
                tracing::warn!(
                    why,
                    "traces: the collector does not take them; see that it answers at tracing.otlp"
                );
            }
            // While it is away, each batch has one try: the next ones wait.
            let pause = pauses.next().filter(|_| !is_away);
            let Some(pause) = pause else {
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
        (0..ROOM + 5).for_each(|_| tracer.send(vec![span("a")]));
        assert_eq!(tracer.metrics.dropped.get(), 5, "it has not started");
        assert!(tracer.queue.overflows.load(Relaxed), "and that is told");
        tracer.start();
        tracer.flush(Duration::from_secs(60)).await;
        assert_eq!(tracer.metrics.failed.get(), ROOM as u64);
        let batches = ROOM.div_ceil(BATCH);
        assert_eq!(
            taken.lock().expect("no panic").len(),
            batches + PAUSES.len()
        );
    }
}
