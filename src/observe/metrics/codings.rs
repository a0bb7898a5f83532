//! Metrics of content codings.

use super::register::Make;
use prometheus::{IntCounter, IntCounterVec, IntGauge};

/// Of content codings.
#[derive(Clone)]
pub struct CodingsMetrics {
    answers: IntCounterVec,
    bodies: IntCounterVec,
    bytes: IntCounterVec,
    /// Answers being coded as they pass.
    pub streams: IntGauge,
    /// Stored bodies being coded, and waiting for it.
    pub running: IntGauge,
    pub queue: IntGauge,
    /// Times that nothing was coded because as much was being coded as may be.
    pub dropped: IntCounter,
}

impl CodingsMetrics {
    pub fn of(&self, coding: &str) -> CodingMetrics {
        let answers = |from: &str| self.answers.with_label_values(&[coding, from]);
        let bodies = |outcome: &str| self.bodies.with_label_values(&[coding, outcome]);
        let bytes = |direction: &str| self.bytes.with_label_values(&[coding, direction]);
        CodingMetrics {
            stored: answers("cache"),
            streamed: answers("stream"),
            made: bodies("made"),
            useless: bodies("useless"),
            bytes_in: bytes("in"),
            bytes_out: bytes("out"),
        }
    }
}

impl CodingsMetrics {
    pub fn new(make: &Make<'_>) -> CodingsMetrics {
        CodingsMetrics {
            answers: make.counters(
                "lakh_coded_answers_total",
                "Answers sent in a content coding, made once of a stored body or as they passed.",
                &["coding", "from"],
            ),
            bodies: make.counters(
                "lakh_coded_bodies_total",
                "Stored bodies coded; a useless one came out no smaller.",
                &["coding", "outcome"],
            ),
            bytes: make.counters(
                "lakh_coded_bytes_total",
                "Bytes of bodies before and after coding.",
                &["coding", "direction"],
            ),
            streams: make.gauge("lakh_coding_streams", "Answers being coded as they pass."),
            running: make.gauge("lakh_coding_running", "Stored bodies being coded now."),
            queue: make.gauge("lakh_coding_queue", "Stored bodies waiting to be coded."),
            dropped: make.counter(
                "lakh_coding_dropped_total",
                "Times that nothing was coded because as much was being coded as may be.",
            ),
        }
    }
}

/// Per content coding.
#[derive(Clone)]
pub struct CodingMetrics {
    /// Answers sent with what was made once of a stored body.
    pub stored: IntCounter,
    /// Answers coded as they passed.
    pub streamed: IntCounter,
    /// Stored bodies coded.
    pub made: IntCounter,
    /// Stored bodies that coding made no smaller.
    pub useless: IntCounter,
    /// Bytes that were coded, and what they became.
    pub bytes_in: IntCounter,
    pub bytes_out: IntCounter,
}
