//! What codings are made with: threads for stored bodies, places for streams.

use super::stream::{Open, Stream, brotli};
use crate::coding::Coding;
use crate::observe::{CodingMetrics, CodingsMetrics};
use crate::pool::{Pool, PoolError};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::{self, Write};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Answers that are coded as they pass at one time; a MiB each at most. Those past it are sent as
/// they are.
const STREAMS: usize = 512;

/// Stored bodies that wait for a thread.
const QUEUE: usize = 256;

/// For a stored body: brotli makes 19 MB a second on one core at a ratio of 6.9, zstd 22 at 6.8,
/// gzip 31 at 5.7 (pages, scripts and JSON of 120 KiB on average). A step further costs three times
/// as much for 1 to 3 per cent.
const BROTLI_QUALITY: i32 = 7;
const BROTLI_WINDOW: i32 = 22;
const ZSTD_LEVEL: i32 = 12;
const GZIP_LEVEL: u32 = 7;

/// One for the process.
pub struct Encoders {
    pool: Pool,
    streams: Arc<Semaphore>,
    metrics: CodingsMetrics,
    by_coding: [CodingMetrics; Coding::ALL.len()],
}

impl Encoders {
    /// Where several codings weigh the same to a client: for a stored body the smallest first, for
    /// a stream the cheapest.
    pub const STORED: [Coding; 3] = [Coding::Brotli, Coding::Zstd, Coding::Gzip];
    pub const STREAMED: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];

    pub fn new(workers: usize, metrics: CodingsMetrics) -> Encoders {
        Encoders {
            pool: Pool::new("coding", workers, QUEUE),
            streams: Arc::new(Semaphore::new(STREAMS)),
            by_coding: Coding::ALL.map(|coding| metrics.of(coding.token())),
            metrics,
        }
    }

    /// None: as many are open as may be, and the answer goes as it is.
    pub fn stream(&self, coding: Coding, length: Option<u64>) -> Option<Stream> {
        let Ok(permit) = self.streams.clone().try_acquire_owned() else {
            self.metrics.dropped.inc();
            return None;
        };
        let open = Open::new(self.metrics.streams.clone(), permit);
        Stream::new(coding, length, self.of(coding).clone(), open).ok()
    }

    /// Starts coding a whole body on a thread. What comes of it is None when it is no smaller. The
    /// error: the queue is full, so nothing will come.
    pub fn start(
        &self,
        coding: Coding,
        body: Bytes,
    ) -> Result<impl Future<Output = Option<Bytes>> + use<>, PoolError> {
        let length = body.len() as u64;
        let metrics = self.of(coding).clone();
        let job = self
            .pool
            .start(move || encode(coding, &body))
            .inspect_err(|_| self.metrics.dropped.inc())?;
        Ok(async move {
            let coded = job.answer().await.ok().and_then(Result::ok);
            let smaller = coded.filter(|coded| (coded.len() as u64) < length);
            metrics.bytes_in.inc_by(length);
            match &smaller {
                Some(coded) => {
                    metrics.made.inc();
                    metrics.bytes_out.inc_by(coded.len() as u64);
                }
                None => metrics.useless.inc(),
            }
            smaller
        })
    }

    /// What is counted for a coding.
    pub fn of(&self, coding: Coding) -> &CodingMetrics {
        &self.by_coding[coding as usize]
    }

    /// Brings the gauges up to date; called when metrics are read.
    pub fn report(&self) {
        self.metrics.running.set(self.pool.running() as i64);
        self.metrics.queue.set(self.pool.waiting() as i64);
    }
}

/// A whole body, for keeping.
fn encode(coding: Coding, body: &[u8]) -> io::Result<Bytes> {
    // Few come out larger than a quarter.
    let output = Vec::with_capacity(body.len() / 4);
    let coded = match coding {
        Coding::Brotli => {
            let length = Some(body.len() as u64);
            let mut writer = brotli(output, BROTLI_QUALITY, BROTLI_WINDOW, length);
            writer.write_all(body)?;
            writer.into_inner()
        }
        Coding::Zstd => zstd::bulk::compress(body, ZSTD_LEVEL)?,
        Coding::Gzip => {
            let mut writer = GzEncoder::new(output, Compression::new(GZIP_LEVEL));
            writer.write_all(body)?;
            writer.finish()?
        }
    };
    Ok(coded.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Metrics;
    use proptest::prelude::*;
    use std::io::Read;

    fn encoders() -> Encoders {
        Encoders::new(1, Metrics::new().codings)
    }

    fn decode(coding: Coding, coded: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        let read = match coding {
            Coding::Brotli => brotli::Decompressor::new(coded, 4096).read_to_end(&mut body),
            Coding::Zstd => zstd::Decoder::new(coded)
                .expect("a decoder")
                .read_to_end(&mut body),
            Coding::Gzip => flate2::read::GzDecoder::new(coded).read_to_end(&mut body),
        };
        read.unwrap_or_else(|e| panic!("{coding:?}: {e}"));
        body
    }

    /// What can be read of a body that goes on.
    fn decode_beginning(coding: Coding, coded: &[u8], length: usize) -> Vec<u8> {
        let mut body = vec![0; length];
        let read = match coding {
            Coding::Brotli => brotli::Decompressor::new(coded, 4096).read_exact(&mut body),
            Coding::Zstd => zstd::Decoder::new(coded)
                .expect("a decoder")
                .read_exact(&mut body),
            Coding::Gzip => flate2::read::GzDecoder::new(coded).read_exact(&mut body),
        };
        read.unwrap_or_else(|e| panic!("{coding:?}: {e}"));
        body
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        /// However a body is cut into chunks, and whichever way it is coded, it comes back.
        #[test]
        fn what_is_coded_is_decoded(
            chunks in prop::collection::vec("[a-e ]{0,3000}", 0..8),
            which in 0usize..3,
            known: bool,
        ) {
            let coding = Coding::ALL[which];
            let whole = chunks.concat();
            let length = known.then_some(whole.len() as u64);
            let mut stream = encoders().stream(coding, length).expect("a place");
            let mut coded = Vec::new();
            for chunk in &chunks {
                coded.extend(stream.push(chunk.as_bytes()).expect("it can be coded"));
            }
            coded.extend(stream.finish(b"").expect("it can be finished"));
            prop_assert_eq!(decode(coding, &coded), whole.as_bytes());
            let at_once = encode(coding, whole.as_bytes()).expect("it can be coded");
            prop_assert_eq!(decode(coding, &at_once), whole.as_bytes());
        }
    }

    #[test]
    fn a_chunk_of_a_body_without_length_can_be_read_at_once() {
        for coding in Coding::ALL {
            let mut stream = encoders().stream(coding, None).expect("a place");
            let mut coded = stream.push(b"first").expect("it can be coded").to_vec();
            assert_eq!(decode_beginning(coding, &coded, 5), b"first");
            coded.extend(stream.push(b"").expect("it can be coded"));
            coded.extend(stream.push(b"second").expect("it can be coded"));
            assert_eq!(decode_beginning(coding, &coded, 11), b"firstsecond");
        }
    }

    #[test]
    fn streams_are_bounded_and_a_place_is_given_back() {
        let metrics = Metrics::new();
        let encoders = Encoders::new(1, metrics.codings.clone());
        let open = || encoders.stream(Coding::Gzip, None);
        let mut streams: Vec<_> = (0..STREAMS).map(|_| open().expect("a place")).collect();
        assert!(open().is_none());
        assert_eq!(metrics.codings.dropped.get(), 1);
        assert_eq!(metrics.codings.streams.get(), STREAMS as i64);
        streams.pop();
        assert!(open().is_some());
    }

    #[tokio::test]
    async fn what_comes_out_no_smaller_is_useless() {
        let encoders = encoders();
        let body = Bytes::from(fastrand::Rng::with_seed(1).u128(..).to_le_bytes().to_vec());
        let text = Bytes::from("so it goes ".repeat(1000));
        for coding in Coding::ALL {
            let noise = encoders.start(coding, body.clone()).expect("a place");
            assert_eq!(noise.await, None);
            let coded = encoders.start(coding, text.clone()).expect("a place").await;
            let coded = coded.expect("it is smaller");
            assert_eq!(decode(coding, &coded), text);
            let metrics = encoders.of(coding);
            assert_eq!((metrics.made.get(), metrics.useless.get()), (1, 1));
            assert_eq!(metrics.bytes_out.get(), coded.len() as u64);
        }
    }
}
