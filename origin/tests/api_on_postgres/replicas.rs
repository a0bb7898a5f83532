//! A primary and a streaming replica: what is written is read at once, whatever happens to either.

use crate::backup::thing;
use crate::devices::{Listener, SOCKET, tell};
use crate::harness::{Client, Origin, PATIENCE};
use crate::postgres::Postgres;
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;
use tungstenite::Message;

struct Cluster {
    primary: Postgres,
    replica: Postgres,
    /// Two processes on it.
    origins: [Origin; 2],
    token: String,
}

fn cluster() -> Cluster {
    let primary = Postgres::primary();
    let replica = primary.replica();
    let urls = [&primary, &replica].map(|node| node.url("postgres"));
    let [writes, reads] = urls;
    let first = Origin::start_on(&["--database".into(), writes, "--replica".into(), reads]);
    let origins = [first.start_another(), first];
    let token = origins[0].register("ada@example.org");
    let cluster = Cluster {
        primary,
        replica,
        origins,
        token,
    };
    cluster.await_nodes("replica", 1);
    cluster
}

impl Cluster {
    /// Both see as many nodes in that role.
    fn await_nodes(&self, role: &str, count: u32) {
        let line = format!("lakh_origin_database_nodes{{role=\"{role}\"}} {count}\n");
        for origin in &self.origins {
            origin.wait_until(&line, || origin.get("/metrics").text().contains(&line));
        }
    }

    /// Written at one process, read at the other.
    fn write_and_read(&self) {
        let listing = self.origins[0].lend(&self.token, &thing("Ladder"));
        self.origins[1].get(&listing).expect_status(200);
    }

    fn is_writable(&self) -> bool {
        let reply = self.origins[0].post("/api/v1/listings", Some(&self.token), &thing("Drill"));
        match reply.status {
            201 => true,
            _ => {
                assert_eq!(reply.header("retry-after"), "1", "{}", reply.text());
                assert_eq!(reply.status, 503, "{}", reply.text());
                false
            }
        }
    }
}

#[test]
fn a_write_is_read_at_once_from_a_replica_and_one_that_lags_is_not_read() {
    let cluster = cluster();
    let scans = || {
        cluster
            .replica
            .say("SELECT idx_scan FROM pg_stat_user_tables WHERE relname = 'listings'")
    };
    let before = scans();
    (0..50).for_each(|_| cluster.write_and_read());
    cluster.origins[0].wait_until("the replica was read", || scans() != before);

    cluster.replica.say("SELECT pg_wal_replay_pause()");
    (0..5).for_each(|_| cluster.write_and_read());
    cluster.await_nodes("replica", 0);
    cluster.replica.say("SELECT pg_wal_replay_resume()");
    cluster.await_nodes("replica", 1);
    cluster.write_and_read();
}

#[test]
fn without_its_primary_reads_go_on_and_writes_resume_with_it_or_another() {
    let mut cluster = cluster();
    let listing = cluster.origins[0].lend(&cluster.token, &thing("Ladder"));
    let (over, reader) = (AtomicBool::new(false), (*cluster.origins[1]).clone());
    thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut count = 0;
            while !over.load(Ordering::Relaxed) {
                reader.get(&listing).expect_status(200);
                count += 1;
            }
            count
        });
        cluster.primary.stop();
        cluster.await_nodes("primary", 0);
        assert!(!cluster.is_writable());
        cluster.primary.start_again();
        cluster.origins[0].wait_until("it can be written", || cluster.is_writable());
        cluster.await_nodes("replica", 1);

        cluster.primary.stop();
        cluster.await_nodes("primary", 0);
        cluster.replica.promote();
        cluster.origins[0].wait_until("it can be written", || cluster.is_writable());
        over.store(true, Ordering::Relaxed);
        assert!(reading.join().expect("every read was answered") > 0);
    });
    cluster.write_and_read();
}

#[test]
fn a_replica_that_hangs_or_ends_costs_no_answer() {
    let mut cluster = cluster();
    let listing = cluster.origins[0].lend(&cluster.token, &thing("Ladder"));
    let over = AtomicBool::new(false);
    let reader: &Client = &cluster.origins[1].clone();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    reader.get(&listing).expect_status(200);
                }
            });
        }
        // Also where it fails, nobody reads on for ever.
        let done = Over(&over);
        let hung = cluster.replica.hang();
        cluster.await_nodes("replica", 0);
        (0..20).for_each(|_| drop(cluster.origins[0].get(&listing).expect_status(200)));
        drop(hung);
        cluster.await_nodes("replica", 1);
        cluster.replica.stop();
        cluster.await_nodes("replica", 0);
        drop(done);
    });
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn an_old_primary_is_not_written_to_while_the_new_one_is_silent_nor_after_a_restart() {
    let mut cluster = cluster();
    cluster.primary.stop();
    cluster.await_nodes("primary", 0);
    cluster.replica.promote();
    cluster.origins[0].wait_until("it can be written", || cluster.is_writable());
    // It comes back as what it was.
    cluster.primary.start_again();
    let others = cluster.primary.say("SELECT count(*) FROM listings");
    cluster.write_and_read();

    cluster.replica.stop();
    cluster.await_nodes("primary", 0);
    assert!(!cluster.is_writable());
    let mut starting = cluster.origins[0].start_unawaited();
    let refused = |line: &Value| line["event"] == "database_node" && line["node"] == 0;
    let told = |line: &Value| refused(line) || line["event"] == "primary";
    let first = starting.log.by_ref().find(told).expect("it goes on");
    assert!(refused(&first), "{first}");
    assert!(
        first["reason"].to_string().contains("old primary"),
        "{first}"
    );
    assert!(!cluster.is_writable());
    cluster.replica.start_again();
    let chosen = starting.log.find(|line| line["event"] == "primary");
    assert_eq!(chosen.expect("it goes on")["node"], 1);
    cluster.origins[0].wait_until("it can be written", || cluster.is_writable());
    assert_eq!(cluster.primary.say("SELECT count(*) FROM listings"), others);
}

#[test]
fn what_is_said_after_a_failover_is_heard_where_the_new_primary_lacks_what_was_said_before() {
    let mut cluster = cluster();
    let [origin, other] = &cluster.origins;
    let open = |origin: &Origin, path: &str| Listener::open(origin, &cluster.token, path);
    let mut listeners = [open(origin, SOCKET), open(other, SOCKET)];
    for listener in &mut listeners {
        listener.welcomed();
    }
    tell(origin, &cluster.token, "one");
    cluster
        .replica
        .say("ALTER SYSTEM SET primary_conninfo = ''");
    cluster.replica.say("SELECT pg_reload_conf()");
    other.wait_until("it streams no more", || {
        cluster
            .primary
            .say("SELECT count(*) FROM pg_stat_replication")
            == "0"
    });
    // More than the numbers that PostgreSQL leaves out when it goes on after a crash.
    (0..50).for_each(|_| tell(origin, &cluster.token, "lost"));
    let mut last = 0;
    for listener in &mut listeners {
        let heard = (0..51).map(|_| listener.hear()["id"].as_i64());
        last = heard.last().flatten().expect("a number");
    }

    cluster.primary.stop();
    cluster.await_nodes("primary", 0);
    cluster.replica.promote();
    for mut listener in listeners {
        let start = Instant::now();
        while !matches!(listener.0.read().expect("a message"), Message::Close(_)) {
            assert!(start.elapsed() < PATIENCE, "it is not let go");
        }
    }
    let mut again = open(origin, &format!("{SOCKET}?after={last}"));
    assert_eq!(again.welcomed()["gap"], true);
    let mut new = open(other, SOCKET);
    new.welcomed();
    tell(other, &cluster.token, "two");
    for listener in [&mut again, &mut new] {
        let heard = listener.hear();
        assert_eq!(heard["body"]["text"], "two");
        assert!(heard["id"].as_i64() < Some(last), "{heard}");
    }
}

#[test]
fn a_device_that_comes_back_misses_nothing_where_one_replica_has_less_than_the_other() {
    let primary = Postgres::primary();
    let (ahead, behind) = (primary.replica(), primary.replica());
    let [writes, reads, lags] = [&primary, &ahead, &behind].map(|node| node.url("postgres"));
    let replicas = format!("{reads},{lags}");
    let origin = Origin::start_on(&["--database".into(), writes, "--replica".into(), replicas]);
    let both = "lakh_origin_database_nodes{role=\"replica\"} 2\n";
    let await_both = || origin.wait_until(both, || origin.get("/metrics").text().contains(both));
    await_both();
    let token = origin.register("ada@example.org");
    let mut first = Listener::open(&origin, &token, SOCKET);
    first.welcomed();
    for round in ["one", "two", "three"] {
        behind.say("SELECT pg_wal_replay_pause()");
        thread::scope(|scope| {
            // Answered once that replica is read no more; until then it is.
            scope.spawn(|| tell(&origin, &token, round));
            let heard = first.hear();
            let before = heard["id"].as_i64().expect("a number") - 1;
            for _ in 0..6 {
                let mut again =
                    Listener::open(&origin, &token, &format!("{SOCKET}?after={before}"));
                assert_eq!(again.welcomed()["gap"], false);
                assert_eq!(again.hear()["id"], heard["id"]);
            }
        });
        behind.say("SELECT pg_wal_replay_resume()");
        await_both();
    }
}
