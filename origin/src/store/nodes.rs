//! The database's nodes: one for SQLite, a primary and its replicas for PostgreSQL. Each is asked all the time
//! what it is and how far, so that a promoted replica is written to without anybody being told.

use super::reading::Reader;
use super::standing::{History, LEASE, Report, Standing};
use super::timelines::Timelines;
use crate::observe::log;
use serde_json::json;
use sqlx::{AnyPool, ConnectOptions, Error, Result, query_as, query_scalar};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use tokio::{select, task::JoinSet, time};

const ASK_EVERY: Duration = Duration::from_millis(100);

/// A node that says nothing for that long is not there.
const MOST_SILENCE: Duration = Duration::from_millis(500);

/// Beginning of the log's last flush, or of what was replayed of it, in bytes; a timeline in hexadecimal digits,
/// which only a primary says; and the cluster.
const WHAT_ARE_YOU: &str = "SELECT (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() \
    ELSE pg_current_wal_flush_lsn() END - '0/0'::pg_lsn)::bigint, \
    CASE WHEN pg_is_in_recovery() THEN '' \
    ELSE substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8) END, \
    (SELECT system_identifier FROM pg_control_system())";

const FLUSHED: &str = "SELECT (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint";

pub struct Nodes {
    nodes: Vec<Node>,
    standing: watch::Sender<Standing>,
    timelines: Timelines,
    turn: AtomicUsize,
}

pub struct Node {
    pub read: AnyPool,
    /// SQLite's has one connection: writers of this process queue here, in order, instead of racing
    /// for its lock, where whoever waits longest has no better chance.
    pub write: AnyPool,
    /// For asking what the node is; None where that goes without saying.
    pub ask: Option<AnyPool>,
    /// Told when somebody waits for what it says.
    pub look: Notify,
}

impl Nodes {
    pub fn of(nodes: Vec<Node>, timelines: Timelines) -> Self {
        let mut standing = Standing::of(nodes.len());
        if nodes.iter().all(|node| node.ask.is_none()) {
            let history = History {
                cluster: 0,
                timeline: 1,
            };
            let alone = Report::Primary {
                history,
                position: 0,
            };
            standing.hear(0, Instant::now(), Some(alone));
        }
        Self {
            nodes,
            standing: watch::Sender::new(standing),
            timelines,
            turn: AtomicUsize::new(0),
        }
    }

    /// Asks until it is dropped.
    pub fn watch(self: &Arc<Self>) -> JoinSet<()> {
        let asked = (0..self.nodes.len()).filter(|node| self.nodes[*node].ask.is_some());
        asked.map(|node| ask_on(self.clone(), node)).collect()
    }

    /// Where to read, each in its turn.
    pub fn reader(&self) -> Reader<'_> {
        let standing = self.standing.borrow();
        let readable = match self.nodes.len() {
            1 => Vec::new(),
            _ => standing.readable(Instant::now()),
        };
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let node = match readable.len() {
            0 => standing.leader(),
            several => readable[turn % several],
        };
        Reader::at(self, node)
    }

    pub fn read_pool(&self, node: usize) -> &AnyPool {
        &self.nodes[node].read
    }

    pub fn is_readable(&self) -> bool {
        let standing = self.standing.borrow();
        standing.primary().is_some() || !standing.readable(Instant::now()).is_empty()
    }

    pub fn primary_now(&self) -> Option<usize> {
        self.standing.borrow().primary()
    }

    /// Once a node answers no more.
    pub async fn silence_of(&self, node: usize) -> Error {
        let mut standing = self.standing.subscribe();
        // The other end is `self`'s.
        let _ = standing.wait_for(|standing| !standing.answers(node)).await;
        Error::Io(io::Error::new(
            io::ErrorKind::TimedOut,
            "a replica fell silent",
        ))
    }

    pub fn writer(&self) -> Result<&AnyPool> {
        let primary = self.standing.borrow().primary();
        let primary = primary.map(|node| &self.nodes[node].write);
        let nobody = || io::Error::new(io::ErrorKind::NotConnected, "no node takes writes");
        primary.ok_or_else(|| Error::Io(nobody()))
    }

    /// Of what is written to.
    pub fn history(&self) -> Option<History> {
        self.standing.borrow().history()
    }

    /// Until there is a node that takes writes.
    pub async fn primary(&self) {
        let mut standing = self.standing.subscribe();
        let there = standing.wait_for(|standing| standing.primary().is_some());
        // The other end is `self`'s.
        let _ = there.await;
    }

    /// Until whoever reads, in any process, sees what was just committed.
    pub async fn seen_everywhere(&self) {
        if self.nodes.len() > 1 {
            // Over after a lease: then a replica that doesn't have it is read no more.
            let _ = time::timeout(LEASE, self.replayed()).await;
        }
    }

    async fn replayed(&self) -> Result<()> {
        let flushed: i64 = query_scalar(FLUSHED).fetch_one(self.writer()?).await?;
        let mut standing = self.standing.subscribe();
        while !standing
            .borrow_and_update()
            .all_have(flushed, Instant::now())
        {
            for node in &self.nodes {
                node.look.notify_one();
            }
            if standing.changed().await.is_err() {
                break;
            }
        }
        // An unanswered question takes the whole lease: nobody knows what its replicas have.
        Ok(())
    }

    pub async fn close(&self) {
        for node in &self.nodes {
            let pools = [&node.read, &node.write].into_iter().chain(&node.ask);
            for pool in pools {
                pool.close().await;
            }
        }
    }

    /// By pool: connections that are open, and those of them that nobody uses.
    pub fn connections(&self) -> [(&'static str, u32, usize); 2] {
        let of = |name, pool: fn(&Node) -> &AnyPool| {
            let pools = || self.nodes.iter().map(pool);
            let open = pools().map(AnyPool::size).sum();
            (name, open, pools().map(AnyPool::num_idle).sum())
        };
        [
            of("read", |node| &node.read),
            of("write", |node| &node.write),
        ]
    }

    /// How many there are, take writes, and are read as replicas.
    pub fn counts(&self) -> [(&'static str, usize); 3] {
        let standing = self.standing.borrow();
        let readable = standing.readable(Instant::now()).len();
        [
            ("known", self.nodes.len()),
            ("primary", standing.primary().iter().count()),
            ("replica", readable),
        ]
    }
}

async fn ask_on(nodes: Arc<Nodes>, number: usize) {
    let node = &nodes.nodes[number];
    let mut told = None;
    while let Some(pool) = &node.ask {
        let asked = Instant::now();
        let said = time::timeout(MOST_SILENCE, ask(pool, &nodes.timelines)).await;
        let said = match said {
            Ok(Ok(report)) => Ok(report),
            Ok(Err(error)) if !matches!(error, Error::PoolTimedOut) => Err(error.to_string()),
            _ if told.is_some() => Err(told.clone().unwrap_or_default()),
            _ => Err(why_silent(pool).await),
        };
        tell_once(&mut told, number, said.as_ref().err());
        let said = said.ok();
        nodes.standing.send_modify(|standing| {
            let before = standing.primary();
            standing.hear(number, asked, said);
            if before != standing.primary() {
                log::info("primary", json!({ "node": standing.primary() }));
            }
        });
        select! {
            () = time::sleep(ASK_EVERY) => {}
            // Many wait for one answer; between two of them they gather.
            () = node.look.notified() => time::sleep(Duration::from_millis(1)).await,
        }
    }
}

/// Why a node says nothing. A pool goes on trying where it is refused, and does not tell.
async fn why_silent(pool: &AnyPool) -> String {
    let options = pool.connect_options();
    match time::timeout(MOST_SILENCE, options.connect()).await {
        Ok(Err(error)) => error.to_string(),
        _ => format!("it says nothing for {} ms", MOST_SILENCE.as_millis()),
    }
}

/// Where that is not what was told before.
fn tell_once(told: &mut Option<String>, node: usize, failed: Option<&String>) {
    if let Some(reason) = failed.filter(|reason| Some(*reason) != told.as_ref()) {
        log::error("database_node", json!({ "node": node, "reason": reason }));
    }
    *told = failed.cloned();
}

async fn ask(pool: &AnyPool, timelines: &Timelines) -> Result<Report> {
    let (position, timeline, cluster): (i64, String, i64) =
        query_as(WHAT_ARE_YOU).fetch_one(pool).await?;
    let Ok(timeline) = i64::from_str_radix(&timeline, 16) else {
        return Ok(Report::Replica { position });
    };
    let history = History { cluster, timeline };
    timelines.admit(history).await?;
    Ok(Report::Primary { history, position })
}
