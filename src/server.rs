//! The composition root: everything is made and wired here, in order.

mod deeds;

use crate::admin::Admin;
use crate::config::{Config, Loaded, Source};
use crate::lifecycle::{
    Bound, Door, Doors, Inherited, Reload, Scaler, Supervisor, Visitor, by_hand, look_at_files,
    say_ready, spawns, watch_config, watch_files,
};
use crate::listen::Arrival;
use crate::observe::Metrics;
use crate::proxy::{Edge, Front};
use crate::runtime::{Foundation, Runtime};
use crate::upstream::check_system_trust;
use arc_swap::ArcSwap;
use deeds::{Order, deeds, upgrade};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

/// How long the first clients wait for supervised processes to come up.
const SPAWN_PATIENCE: Duration = Duration::from_secs(15);
/// How long the first clients wait for servers' names to be looked up.
const LOOKUP_PATIENCE: Duration = Duration::from_secs(2);
/// How long it may take to tell those who came over UDP that this is the end.
const FAREWELL: Duration = Duration::from_millis(500);
/// How long the last lines of the access log may take to be written, and the last spans to arrive.
const LOG_PATIENCE: Duration = Duration::from_secs(2);
/// How long operators may take to hear what has become of an upgrade.
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);
/// How often it is tried to open what the process before still has.
const LATE: Duration = Duration::from_millis(500);
/// What supervised processes get to finish, after the last client has left.
const SPAWN_GRACE: Duration = Duration::from_secs(5);

/// Serves `config` until told to stop. Everything that can fail at start fails here, with a
/// message that says what to do.
pub fn run(source: Source, loaded: Loaded) -> ExitCode {
    raise_open_files();
    match check_system_trust().and_then(|()| serve_on_workers(source, loaded)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("lakh: {why}");
            ExitCode::FAILURE
        }
    }
}

fn serve_on_workers(source: Source, loaded: Loaded) -> Result<(), String> {
    let threads = loaded.config.process.threads;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("lakh-worker")
        .enable_all()
        .build()
        .map_err(|e| format!("can't start {threads} worker threads: {e}"))?;
    runtime.block_on(serve(source, loaded))
}

async fn serve(source: Source, loaded: Loaded) -> Result<(), String> {
    let metrics = started_now();
    let foundation = Arc::new(Foundation::new(metrics.clone()));
    let runtime = foundation.build(loaded.config, loaded.written)?;
    let threads = runtime.config.process.threads;
    let spawned = spawns(&runtime.config, &foundation);
    let current = Arc::new(ArcSwap::from_pointee(runtime));

    let (stop, stopping) = watch::channel(false);
    let edge = Arc::new(Edge {
        runtime: current.clone(),
        foundation: foundation.clone(),
    });
    let front = Arc::new(Front::new(edge.clone(), threads, stopping.clone()));
    let (deeds, told) = deeds(edge);
    let admin = Admin::new(current.clone(), foundation.clone(), deeds, stopping);
    let receive = receive(front.clone(), Arc::new(admin));
    let mut doors = Doors::new(current.clone(), foundation.clone(), receive);
    // Bound before anything is started, so that a busy address is known at once; clients that
    // come from now on wait in the kernel's queue.
    let mut inherited = Inherited::of_environment();
    let takes_over = !inherited.is_empty();
    let mut bound = doors.bind_with(&current.load(), &mut inherited)?;
    inherited.close();
    let mut signals = Signals::new()?;

    let supervisor = Arc::new(Supervisor::new(metrics));
    // Where another process serves still, operators see that one until this one does.
    if !takes_over {
        doors.apply_admin(&mut bound);
    }
    supervisor.apply(spawned).await;
    let (reload, scaler) = changes(source, current, foundation, supervisor);
    let first = reload.current.load_full();
    tokio::select! {
        () = wait_for_spawned(&first.config, &reload.foundation) => {}
        () = signals.stop() => {
            reload.supervisor.stop(SPAWN_GRACE).await;
            return Ok(());
        }
    }
    open(&reload.foundation, &first, &mut doors, bound).await;
    drop(first);
    let watching = watch_files(reload.current.clone(), reload.foundation.clone());
    let (change, changed) = mpsc::channel(1);
    let config = watch_config(reload.source.clone(), reload.current.clone(), change);
    let beside = [
        tokio::spawn(scaler.run()),
        tokio::spawn(watching),
        tokio::spawn(config),
    ];
    obey(&mut signals, told, changed, &reload, &mut doors).await;
    beside.iter().for_each(JoinHandle::abort);
    drain(&reload, &mut doors, &front, &stop, &mut signals).await;
    Ok(())
}

fn started_now() -> Arc<Metrics> {
    let metrics = Arc::new(Metrics::new());
    count_panics(&metrics);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    metrics.started().set(now.unwrap_or_default().as_secs_f64());
    metrics
}

/// Who has come in by a door goes to whom it is for.
fn receive(front: Arc<Front>, admin: Arc<Admin>) -> impl Fn(Visitor) + Send + Sync + 'static {
    move |v| match (v.door, v.arrival) {
        (Door::Web(listener), Arrival::Stream(socket, peer)) => drop(tokio::spawn(
            front.clone().serve(socket, peer, v.places, listener),
        )),
        (Door::Web(listener), Arrival::Quic(incoming, socket)) => drop(tokio::spawn(
            front.clone().http3(incoming, socket, v.places, listener),
        )),
        (Door::Admin, Arrival::Stream(socket, peer)) => drop(tokio::spawn(admin.clone().serve(
            socket,
            peer,
            v.places.all,
        ))),
        (Door::Admin, Arrival::Quic(..)) => unreachable!("no such door is opened for it"),
    }
}

/// What changes a running edge: orders, and what its servers have to do. One at a time.
fn changes(
    source: Source,
    current: Arc<ArcSwap<Runtime>>,
    foundation: Arc<Foundation>,
    supervisor: Arc<Supervisor>,
) -> (Reload, Scaler) {
    let changing = Arc::default();
    let scaler = Scaler {
        current: current.clone(),
        foundation: foundation.clone(),
        supervisor: supervisor.clone(),
        changing: Arc::clone(&changing),
    };
    let reload = Reload {
        source,
        current,
        foundation,
        supervisor,
        changing,
    };
    (reload, scaler)
}

/// The first clients are let in.
async fn open(foundation: &Arc<Foundation>, first: &Arc<Runtime>, doors: &mut Doors, bound: Bound) {
    foundation.commit(first);
    foundation.looked_up(LOOKUP_PATIENCE).await;
    foundation.take_by_hand(&by_hand());
    // Certificates that the store had are shown from the first client on.
    look_at_files(first.clone(), foundation.clone()).await;
    doors.apply(bound);
    foundation.in_force();
    foundation.set_ready(true);
    say_ready();
}

/// Does what it is told to, until that is to stop, or another process serves.
async fn obey(
    signals: &mut Signals,
    mut told: mpsc::Receiver<Order>,
    mut changed: mpsc::Receiver<()>,
    reload: &Reload,
    doors: &mut Doors,
) {
    loop {
        let late = doors.is_late();
        let next = tokio::select! {
            next = signals.next() => next,
            () = sleep(LATE), if late => {
                doors.open_late(&reload.current.load());
                continue;
            }
            Some(order) = told.recv() => Told::Order(order),
            Some(()) = changed.recv() => Told::Reload,
        };
        match next {
            Told::Stop => return,
            // Whatever it says is in the log.
            Told::Reload => drop(reload.reload(doors).await),
            Told::Reopen => reload.foundation.reopen_logs(&reload.current.load()),
            Told::Upgrade => {
                if upgrade(reload, doors).await.is_ok() {
                    return doors.close(Duration::ZERO).await;
                }
            }
            Told::Order(order) => {
                if order.run(reload, doors).await {
                    return doors.close(ANSWER_PATIENCE).await;
                }
            }
        }
    }
}

/// Takes no new work, finishes what is open within `process.drain`, stops what was started.
async fn drain(
    reload: &Reload,
    doors: &mut Doors,
    front: &Front,
    stop: &watch::Sender<bool>,
    signals: &mut Signals,
) {
    let (foundation, runtime) = (&reload.foundation, reload.current.load_full());
    let limit = runtime.config.process.drain;
    tracing::info!(
        open = foundation.caps.open(),
        "draining, for {limit:?} at most; again to stop at once"
    );
    foundation.set_ready(false);
    doors.close_web();
    stop.send_replace(true);
    front.close_idle().await;
    tokio::select! {
        never = doors.let_go() => match never {},
        () = foundation.caps.emptied() => {}
        () = sleep(limit) => tracing::warn!(open = foundation.caps.open(), "drain: time is up; process.drain gives more"),
        () = signals.stop() => tracing::warn!(open = foundation.caps.open(), "told to stop at once"),
    }
    doors.farewell(FAREWELL).await;
    reload.supervisor.stop(SPAWN_GRACE).await;
    foundation.flush().await;
    if let Some(tracer) = &runtime.tracer {
        tracer.flush(LOG_PATIENCE).await;
    }
    runtime.access_log.flush(LOG_PATIENCE);
    tracing::info!("stopped");
}

enum Told {
    Reload,
    /// Log files were moved away.
    Reopen,
    Upgrade,
    /// By the admin API.
    Order(Order),
    Stop,
}

struct Signals {
    hangup: tokio::signal::unix::Signal,
    user1: tokio::signal::unix::Signal,
    user2: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Signals, String> {
        let on = |kind| signal(kind).map_err(|e| format!("can't listen for signals: {e}"));
        Ok(Signals {
            hangup: on(SignalKind::hangup())?,
            user1: on(SignalKind::user_defined1())?,
            user2: on(SignalKind::user_defined2())?,
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.hangup.recv() => Told::Reload,
            _ = self.user1.recv() => Told::Reopen,
            _ = self.user2.recv() => Told::Upgrade,
            _ = self.terminate.recv() => Told::Stop,
            _ = self.interrupt.recv() => Told::Stop,
        }
    }

    /// A reload told meanwhile is not lost: `next` tells it.
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Until every supervised process takes connections, or patience ends; then health checks and
/// retries see to the rest.
async fn wait_for_spawned(config: &Config, foundation: &Foundation) {
    let deadline = Instant::now() + SPAWN_PATIENCE;
    for (upstream, spawn) in spawns(config, foundation) {
        for port in crate::upstream::spawn_ports(&spawn) {
            let connected = async {
                while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                    sleep(Duration::from_millis(20)).await;
                }
            };
            if timeout_at(deadline, connected).await.is_err() {
                tracing::warn!(
                    upstream,
                    port,
                    "a supervised process does not take connections yet"
                );
            }
        }
    }
}

/// As many connections as the system grants: a lakh of them needs more than the usual 1,024.
fn raise_open_files() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: both calls only read or write the struct that they are given.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 && limit.rlim_cur < limit.rlim_max
        {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}

/// A panic ends its own request, not the process; each one is a bug that operators must see.
fn count_panics(metrics: &Arc<Metrics>) {
    let metrics = metrics.clone();
    std::panic::set_hook(Box::new(move |info| {
        metrics.panics.inc();
        tracing::error!("panic: {info}");
    }));
}
