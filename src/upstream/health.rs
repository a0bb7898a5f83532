//! Active health: one probe per server, and the streaks that turn probes into up or down.
//!
//! The registry starts `watch` for a server when a configuration with a health check takes
//! effect, and aborts it when one without takes its place. A single answer must never flip a
//! server, unless the thresholds say 1; a probe must never wait longer than its deadline.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::balance::random_below;
use super::server::Server;
use super::settings::HealthCheckSettings;

/// The start of an answer that says it all: `HTTP/1.1 200`.
const STATUS_END: usize = 12;

/// A server's health as the admin API shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    pub up: bool,
    /// When it came up or went down.
    pub since: SystemTime,
    /// Why it is down, or the last probe's error while it is still up.
    pub last_error: Option<String>,
}

/// Up or down, and how many probes in a row have said the opposite.
#[derive(Debug)]
pub(super) struct Streak {
    up: bool,
    against: u32,
}

/// Probes a server until the task is aborted.
pub(super) async fn watch(server: Arc<Server>, check: HealthCheckSettings) {
    // The first probe comes at once, to find a dead server early; a random wait after it keeps
    // the probes of many servers, and of many edges, from coming together.
    let wait = probe_once(&server, &check).await;
    pause(&server, wait.mul_f64(random_between(0.0, 1.0))).await;
    loop {
        let wait = probe_once(&server, &check).await;
        pause(&server, wait.mul_f64(random_between(0.9, 1.1))).await;
    }
}

async fn probe_once(server: &Server, check: &HealthCheckSettings) -> Duration {
    server.probed(probe(server.address, check).await, check)
}

async fn pause(server: &Server, wait: Duration) {
    tokio::select! {
        _ = sleep(wait) => {}
        _ = server.suspected.notified() => {}
    }
}

async fn probe(address: SocketAddr, check: &HealthCheckSettings) -> Result<(), String> {
    let status = timeout(check.timeout, ask(address, &check.path))
        .await
        .map_err(|_| format!("no answer within {:?}", check.timeout))??;
    match check.status.contains(&status) {
        true => Ok(()),
        false => Err(format!("status {status}")),
    }
}

async fn ask(address: SocketAddr, path: &str) -> Result<u16, String> {
    let failed = |what: &'static str| move |why: io::Error| format!("{what}: {why}");
    let mut stream = TcpStream::connect(address)
        .await
        .map_err(failed("connect"))?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: lakh-health\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n"
    );
    stream
        .write_all(request.as_bytes())
        .await
        .map_err(failed("send"))?;
    let mut start = [0; STATUS_END];
    stream
        .read_exact(&mut start)
        .await
        .map_err(failed("no answer"))?;
    status(&start).ok_or_else(|| "the answer is not HTTP/1".into())
}

fn status(start: &[u8; STATUS_END]) -> Option<u16> {
    let (version, code) = start.split_at(9);
    if !matches!(version, b"HTTP/1.1 " | b"HTTP/1.0 ") {
        return None;
    }
    std::str::from_utf8(code).ok()?.parse().ok()
}

fn random_between(low: f64, high: f64) -> f64 {
    low + (high - low) * random_below(1 << 32) as f64 / (1u64 << 32) as f64
}

impl Streak {
    pub(super) fn new() -> Streak {
        Streak {
            up: true,
            against: 0,
        }
    }

    pub(super) fn up(&self) -> bool {
        self.up
    }

    /// Up, with nothing lately that speaks against it.
    pub(super) fn settled_up(&self) -> bool {
        self.up && self.against == 0
    }

    /// Takes a probe's result; true when it turned the state.
    pub(super) fn observe(&mut self, healthy: bool, check: &HealthCheckSettings) -> bool {
        if healthy == self.up {
            self.against = 0;
            return false;
        }
        self.against += 1;
        let enough = if self.up {
            check.unhealthy_after
        } else {
            check.healthy_after
        };
        self.against >= enough && self.set(healthy)
    }

    /// Down whatever the streak; true when it was up.
    pub(super) fn fall(&mut self) -> bool {
        self.set(false)
    }

    /// Up whatever the streak; true when it was down.
    pub(super) fn rise(&mut self) -> bool {
        self.set(true)
    }

    fn set(&mut self, up: bool) -> bool {
        self.against = 0;
        std::mem::replace(&mut self.up, up) != up
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::net::TcpListener;

    fn check() -> HealthCheckSettings {
        let timeout = Duration::from_millis(300);
        HealthCheckSettings {
            timeout,
            status: vec![200, 204],
            ..Default::default()
        }
    }

    /// Answers one connection with `answer` after its request; gives the request.
    async fn origin(answer: &'static str) -> (SocketAddr, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let task = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("the probe connects");
            let mut request = vec![0; 1024];
            let length = stream.read(&mut request).await.expect("the probe asks");
            stream
                .write_all(answer.as_bytes())
                .await
                .expect("the probe listens");
            String::from_utf8(request[..length].to_vec()).expect("text")
        });
        (address, task)
    }

    #[tokio::test]
    async fn a_probe_asks_politely() {
        let (address, request) = origin("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(probe(address, &check()).await, Ok(()));
        let request = request.await.expect("the origin ran");
        assert!(request.starts_with("GET /health HTTP/1.1\r\n"), "{request}");
        assert!(
            request.contains(&format!("\r\nHost: {address}\r\n")),
            "{request}"
        );
        assert!(
            request.ends_with("\r\nConnection: close\r\n\r\n"),
            "{request}"
        );
    }

    #[tokio::test]
    async fn what_is_wrong_is_said() {
        for (answer, why) in [
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", "status 503"),
            ("SSH-2.0-OpenSSH_9.6\r\n", "the answer is not HTTP/1"),
            ("HTTP/1.1 ", "no answer: early eof"),
        ] {
            let (address, _origin) = origin(answer).await;
            assert_eq!(probe(address, &check()).await, Err(why.into()), "{answer}");
        }
    }

    #[tokio::test]
    async fn nobody_there_is_said() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        drop(listener);
        let why = probe(address, &check()).await.expect_err("nobody listens");
        assert!(why.starts_with("connect: Connection refused"), "{why}");
    }

    #[tokio::test]
    async fn a_silent_server_meets_the_deadline() {
        // The kernel accepts; nobody ever answers.
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let why = probe(address, &check()).await.expect_err("nobody answers");
        assert_eq!(why, "no answer within 300ms");
    }

    proptest! {
        /// The state is what the last run of equal results, as long as its threshold, has said.
        #[test]
        fn a_streak_turns_exactly_at_its_threshold(
            results in proptest::collection::vec(any::<bool>(), 0..60),
            unhealthy_after in 1..4u32,
            healthy_after in 1..4u32,
        ) {
            let check = HealthCheckSettings { unhealthy_after, healthy_after, ..check() };
            let mut streak = Streak::new();
            let (mut up, mut last, mut run) = (true, true, 0);
            for healthy in results {
                run = if healthy == last { run + 1 } else { 1 };
                last = healthy;
                let enough = if healthy { healthy_after } else { unhealthy_after };
                let turns = healthy != up && run >= enough;
                prop_assert_eq!(streak.observe(healthy, &check), turns);
                up ^= turns;
                prop_assert_eq!(streak.up(), up);
            }
        }

        #[test]
        fn jitter_stays_in_its_bounds(_ in 0..100) {
            let factor = random_between(0.9, 1.1);
            prop_assert!((0.9..1.1).contains(&factor));
        }
    }
}
