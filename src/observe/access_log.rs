//! One JSON line per request, written by a thread of its own.
//!
//! A worker formats the line and hands it over; when the writer can't keep up the line is dropped
//! and counted, for a slow disk must not slow a request down. No field holds a secret: neither
//! query strings' values nor header fields are written.

use super::metrics::Metrics;
use super::settings::{AccessLogSettings, LogTarget};
use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, SystemTime};

/// Lines that may wait for the writer.
const QUEUE: usize = 8192;

/// The log of one Runtime. When it is dropped its writer finishes the queue and ends.
pub struct AccessLog {
    sample: f64,
    lines: Option<SyncSender<Message>>,
    metrics: Arc<Metrics>,
}

enum Message {
    Line(String),
    /// All lines before this one are written; say so.
    Flush(SyncSender<()>),
}

/// What is written of a request.
pub struct Line<'a> {
    pub time: SystemTime,
    pub request_id: &'a str,
    pub client: IpAddr,
    pub method: &'a str,
    pub host: &'a str,
    pub path: &'a str,
    pub version: &'static str,
    /// Version, cipher and the name that was asked for, inside TLS.
    pub tls: Option<(&'static str, &'static str, Option<&'a str>)>,
    pub status: u16,
    pub bytes: usize,
    pub duration: Duration,
    pub route: &'a str,
    pub server: Option<&'a str>,
    pub cache: Option<&'a str>,
    /// The rate limit that refused it, or would have but for `dry_run`.
    pub limit: Option<&'a str>,
    pub dry_limit: Option<&'a str>,
    /// For a failed request: why.
    pub error: Option<&'a str>,
}

impl AccessLog {
    pub fn open(settings: &AccessLogSettings, metrics: Arc<Metrics>) -> io::Result<AccessLog> {
        let target: Box<dyn Write + Send> = match &settings.to {
            LogTarget::None => {
                return Ok(AccessLog {
                    sample: 0.0,
                    lines: None,
                    metrics,
                });
            }
            LogTarget::Stdout => Box::new(io::stdout()),
            LogTarget::File(path) => Box::new(
                std::fs::OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(path)?,
            ),
        };
        let (lines, queue) = sync_channel(QUEUE);
        std::thread::Builder::new()
            .name("lakh-access-log".into())
            .spawn(move || write_lines(queue, target))?;
        Ok(AccessLog {
            sample: settings.sample,
            lines: Some(lines),
            metrics,
        })
    }

    /// Whether this request's line is wanted; asked before anything is formatted. Server errors
    /// always are. `draw` is a random number of [0, 1).
    pub fn wants(&self, status: u16, draw: impl FnOnce() -> f64) -> bool {
        self.lines.is_some() && (status >= 500 || self.sample >= 1.0 || draw() < self.sample)
    }

    /// Waits until all lines handed over so far are written, for as long as `limit`.
    pub fn flush(&self, limit: Duration) {
        let Some(lines) = &self.lines else { return };
        let (done, written) = sync_channel(1);
        if lines.send(Message::Flush(done)).is_ok() {
            // At exit a target that hangs must not hold the process.
            let _ = written.recv_timeout(limit);
        }
    }

    pub fn write(&self, line: &Line<'_>) {
        let Some(lines) = &self.lines else { return };
        match lines.try_send(Message::Line(line.to_json())) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.metrics.log_dropped.inc();
            }
        }
    }
}

/// Writes until every sender is gone; flushes whenever nothing more waits.
fn write_lines(queue: Receiver<Message>, target: Box<dyn Write + Send>) {
    let mut out = BufWriter::with_capacity(64 << 10, target);
    while let Ok(first) = queue.recv() {
        let written = std::iter::once(first)
            .chain(queue.try_iter())
            .try_for_each(|message| write_message(message, &mut out))
            .and_then(|()| out.flush());
        if let Err(e) = written {
            // The target is gone (a full disk, a closed pipe); later lines may fare better.
            tracing::warn!(error = %e, "access log: a write failed");
        }
    }
}

fn write_message(message: Message, out: &mut impl Write) -> io::Result<()> {
    match message {
        Message::Line(line) => out.write_all(line.as_bytes()),
        Message::Flush(done) => {
            let flushed = out.flush();
            // Whoever asked may have stopped waiting.
            let _ = done.send(());
            flushed
        }
    }
}

impl Line<'_> {
    pub fn to_json(&self) -> String {
        let mut out = String::with_capacity(320);
        let time = humantime::format_rfc3339_millis(self.time);
        // Writing to a String can't fail.
        let _ = write!(out, r#"{{"time":"{time}","id":"#);
        json_string(&mut out, self.request_id);
        let _ = write!(out, r#","client":"{}","method":"#, self.client);
        json_string(&mut out, self.method);
        out.push_str(r#","host":"#);
        json_string(&mut out, self.host);
        out.push_str(r#","path":"#);
        json_string(&mut out, self.path);
        let _ = write!(
            out,
            r#","version":"{}","status":{},"bytes":{},"ms":{:.3},"route":"#,
            self.version,
            self.status,
            self.bytes,
            self.duration.as_secs_f64() * 1000.0
        );
        json_string(&mut out, self.route);
        let (tls, cipher, sni) = match self.tls {
            Some((version, cipher, sni)) => (Some(version), Some(cipher), sni),
            None => (None, None, None),
        };
        for (name, value) in [
            ("tls", tls),
            ("cipher", cipher),
            ("sni", sni),
            ("server", self.server),
            ("cache", self.cache),
            ("limit", self.limit),
            ("dry_limit", self.dry_limit),
            ("error", self.error),
        ] {
            if let Some(value) = value {
                let _ = write!(out, r#","{name}":"#);
                json_string(&mut out, value);
            }
        }
        out.push_str("}\n");
        out
    }
}

#[cfg(test)]
impl Line<'_> {
    pub fn example(path: &str, status: u16) -> Line<'_> {
        Line {
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_709_210_096_789),
            request_id: "abc",
            client: IpAddr::from([127, 0, 0, 1]),
            method: "GET",
            host: "shop.example",
            path,
            version: "HTTP/1.1",
            tls: None,
            status,
            bytes: 12,
            duration: Duration::from_micros(1500),
            route: "home",
            server: None,
            cache: Some("hit"),
            limit: None,
            dry_limit: None,
            error: None,
        }
    }
}

/// RFC 8259 §7.
fn json_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(path: &str) -> Line<'_> {
        Line::example(path, 200)
    }

    #[test]
    fn a_line_is_json_whatever_the_path_holds() {
        let text = line("/a\"b\\c\u{1}\u{e9}").to_json();
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(json["path"], "/a\"b\\c\u{1}\u{e9}");
        assert_eq!(json["time"], "2024-02-29T12:34:56.789Z");
        assert_eq!(json["ms"], 1.5);
        assert_eq!(json["cache"], "hit");
        assert!(json.get("server").is_none());
        assert!(text.ends_with("}\n"));
    }

    #[test]
    fn what_is_queued_is_written_by_a_flush() {
        let path = std::env::temp_dir().join(format!("lakh-log-{}", std::process::id()));
        let settings = AccessLogSettings {
            to: LogTarget::File(path.clone()),
            sample: 1.0,
        };
        let log = AccessLog::open(&settings, Arc::new(Metrics::new())).expect("a log");
        for _ in 0..100 {
            log.write(&line("/x"));
        }
        log.flush(Duration::from_secs(5));
        let written = std::fs::read_to_string(&path).expect("the file");
        assert_eq!(written.lines().count(), 100);
        std::fs::remove_file(path).expect("removed");
    }

    #[test]
    fn server_errors_are_always_wanted() {
        let settings = AccessLogSettings {
            to: LogTarget::Stdout,
            sample: 0.1,
        };
        let log = AccessLog::open(&settings, Arc::new(Metrics::new())).expect("a log");
        assert!(log.wants(500, || 0.9));
        assert!(!log.wants(200, || 0.9));
        assert!(log.wants(200, || 0.05));
    }
}
