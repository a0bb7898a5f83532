//! What making pictures costs and saves.

use super::register::Make;
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge};

/// Of the image transformer.
#[derive(Clone)]
pub struct ImageMetrics {
    outcomes: IntCounterVec,
    time: HistogramVec,
    /// Seconds a transform waited for a worker, and for memory.
    pub wait: Histogram,
    /// Decodings of sources: one for all renditions that are made of it together.
    pub decodes: IntCounter,
    /// Transforms waiting for a worker.
    pub queue: IntGauge,
    /// Transforms on a worker.
    pub running: IntGauge,
    /// Bytes that those running may take.
    pub memory: IntGauge,
    /// Transforms that outlasted whoever waited for them.
    pub late: IntCounter,
    read: IntCounter,
    made: IntCounter,
    saved: IntCounter,
    stand_ins: IntCounterVec,
}

impl ImageMetrics {
    pub(super) fn new(make: &Make<'_>) -> ImageMetrics {
        let bytes = make.counters(
            "lakh_image_bytes_total",
            "Bytes of sources read (in) and of renditions made (out).",
            &["direction"],
        );
        ImageMetrics {
            outcomes: make.counters(
                "lakh_image_transforms_total",
                "Transforms, by what was asked for and outcome; a failed one answers with the original, where that may be seen.",
                &["format", "outcome"],
            ),
            time: make.histograms(
                "lakh_image_seconds",
                "Time that a transform takes, by what was asked for.",
                &["format"],
            ),
            wait: make.histogram(
                "lakh_image_wait_seconds",
                "Time that a transform waits for a worker and memory.",
            ),
            decodes: make.counter(
                "lakh_image_decodes_total",
                "Decodings of sources; renditions of one that wait at the same time share it.",
            ),
            queue: make.gauge("lakh_image_queue", "Transforms waiting for a worker."),
            running: make.gauge("lakh_image_running", "Transforms on a worker."),
            memory: make.gauge(
                "lakh_image_memory_bytes",
                "What running transforms may take, as told by their sources' heads.",
            ),
            late: make.counter(
                "lakh_image_late_total",
                "Transforms that outlasted whoever waited for them; stored all the same.",
            ),
            read: bytes.with_label_values(&["in"]),
            made: bytes.with_label_values(&["out"]),
            saved: make.counter(
                "lakh_image_saved_bytes_total",
                "Bytes that renditions are smaller than their sources.",
            ),
            stand_ins: make.counters(
                "lakh_image_stand_ins_total",
                "Answers with something else while no more could be made, or not in time.",
                &["with"],
            ),
        }
    }

    /// Both words are from fixed sets: an output's, and "transformed" or a failure's cause. Looked up
    /// by label, because a transform costs ten thousand times what the look-up does.
    pub fn count(&self, format: &'static str, outcome: &'static str) {
        self.outcomes.with_label_values(&[format, outcome]).inc();
    }

    /// Seconds from a transform's start to its end.
    pub fn took(&self, format: &'static str, seconds: f64) {
        self.time.with_label_values(&[format]).observe(seconds);
    }

    /// Of a transform that succeeded.
    pub fn bytes(&self, source: usize, made: usize) {
        self.read.inc_by(source as u64);
        self.made.inc_by(made as u64);
        self.saved.inc_by(source.saturating_sub(made) as u64);
    }

    /// `with`: "nearest", "original", "webp" or "nothing".
    pub fn stand_in(&self, with: &'static str) {
        self.stand_ins.with_label_values(&[with]).inc();
    }
}
