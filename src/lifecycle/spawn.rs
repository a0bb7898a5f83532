//! Supervised pools: processes that Lakh starts, watches, starts again and stops.
//!
//! The composition root owns the one `Supervisor` and applies each configuration to it; what it
//! runs are ordinary servers to the `upstream` room. No process may outlive Lakh, however Lakh
//! ends, and one that can't run must never be started in a hot loop.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::process::Child;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{error, info, warn};

use super::inherited::{COUNT, OWNER};
use crate::observe::{Metrics, PoolMetrics};
use crate::upstream::SpawnSettings;
use crate::upstream::spawn_ports;

/// From SIGTERM to SIGKILL for a process that left the configuration.
const LEAVE_GRACE: Duration = Duration::from_secs(10);

/// Runs the processes on a thread of its own that lives as long as they do.
///
/// The kernel ends them when the thread that forked them ends (`PR_SET_PDEATHSIG` looks at the
/// thread, not at the process), so a worker thread of some runtime would be the wrong parent.
/// Dropped, it stops them as `stop` does, without anybody waiting.
pub struct Supervisor {
    orders: mpsc::UnboundedSender<Order>,
    desk: Arc<Desk>,
}

/// A supervised process as the admin API shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Supervised {
    pub upstream: String,
    pub port: u16,
    /// None while it waits to be started again.
    pub pid: Option<u32>,
    pub restarts: u64,
}

/// Each carries whom to tell that it is done.
enum Order {
    Apply(Vec<(String, SpawnSettings)>, oneshot::Sender<()>),
    Stop(Duration, oneshot::Sender<()>),
}

/// What the supervisor's thread shows to others.
struct Desk {
    metrics: Arc<Metrics>,
    board: Mutex<BTreeMap<Place, Supervised>>,
}

/// Upstream and port.
type Place = (String, u16);

/// One process to keep running. Changed in any part it is another one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Instance {
    upstream: String,
    port: u16,
    command: Vec<String>,
}

/// Tells a keeper by when its process must have ended; closed once it has.
type Keeper = watch::Sender<Option<Instant>>;
type Asked = watch::Receiver<Option<Instant>>;

/// All keepers; only the supervisor's thread has it.
struct Crew {
    desk: Arc<Desk>,
    keepers: HashMap<Instance, Keeper>,
    leaving: Vec<(u16, Keeper)>,
}

/// How long to wait before a process is started again.
#[derive(Debug)]
struct Backoff {
    next: Duration,
}

impl Supervisor {
    pub fn new(metrics: Arc<Metrics>) -> Supervisor {
        let desk = Arc::new(Desk {
            metrics,
            board: Mutex::default(),
        });
        let (orders, inbox) = mpsc::unbounded_channel();
        let crew = Crew {
            desk: desk.clone(),
            keepers: HashMap::new(),
            leaving: Vec::new(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a process that serves may have one more event loop");
        std::thread::Builder::new()
            .name("lakh-supervisor".into())
            .spawn(move || runtime.block_on(crew.work(inbox)))
            .expect("a process that serves may start one more thread");
        Supervisor { orders, desk }
    }

    /// Starts what is new, stops what left, and leaves alone what stays. Returns when all of it
    /// is under way; a process on the port of one that leaves starts when that one has ended.
    pub async fn apply(&self, wanted: Vec<(String, SpawnSettings)>) {
        self.order(|done| Order::Apply(wanted, done)).await;
    }

    /// Stops all processes: SIGTERM now, SIGKILL after `grace`. Returns when all have ended.
    pub async fn stop(&self, grace: Duration) {
        self.order(|done| Order::Stop(grace, done)).await;
    }

    pub fn status(&self) -> Vec<Supervised> {
        self.desk.board().values().cloned().collect()
    }

    async fn order(&self, order: impl FnOnce(oneshot::Sender<()>) -> Order) {
        let (done, told) = oneshot::channel();
        self.orders
            .send(order(done))
            .expect("the supervisor's thread lives as long as this");
        told.await.expect("the supervisor answers every order");
    }
}

impl Crew {
    async fn work(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        while let Some(order) = orders.recv().await {
            let done = match order {
                Order::Apply(wanted, done) => {
                    self.apply(&wanted);
                    done
                }
                Order::Stop(grace, done) => {
                    self.stop(grace).await;
                    done
                }
            };
            // Whoever asked may have stopped waiting.
            let _ = done.send(());
        }
        self.stop(LEAVE_GRACE).await;
    }

    fn apply(&mut self, wanted: &[(String, SpawnSettings)]) {
        let wanted: HashSet<Instance> = wanted.iter().flat_map(instances).collect();
        self.dismiss(LEAVE_GRACE, |instance| !wanted.contains(instance));
        for instance in wanted {
            if !self.keepers.contains_key(&instance) {
                let keeper = self.hire(instance.clone());
                self.keepers.insert(instance, keeper);
            }
        }
    }

    async fn stop(&mut self, grace: Duration) {
        self.dismiss(grace, |_| true);
        for (_, keeper) in &self.leaving {
            end_by(keeper, Instant::now() + grace);
        }
        for (_, keeper) in self.leaving.drain(..) {
            keeper.closed().await;
        }
    }

    fn dismiss(&mut self, grace: Duration, leaves: impl Fn(&Instance) -> bool) {
        self.leaving.retain(|(_, keeper)| !keeper.is_closed());
        for (instance, keeper) in self.keepers.extract_if(|instance, _| leaves(instance)) {
            end_by(&keeper, Instant::now() + grace);
            self.leaving.push((instance.port, keeper));
        }
    }

    fn hire(&self, instance: Instance) -> Keeper {
        let same_port = self
            .leaving
            .iter()
            .filter(|(port, _)| *port == instance.port);
        let before: Vec<Keeper> = same_port.map(|(_, keeper)| keeper.clone()).collect();
        let (keeper, asked) = watch::channel(None);
        tokio::spawn(keep(instance, before, asked, self.desk.clone()));
        keeper
    }
}

/// Keeps one process running until it is asked to end it. `asked` goes last: its end says that
/// the port is free.
async fn keep(instance: Instance, before: Vec<Keeper>, mut asked: Asked, desk: Arc<Desk>) {
    for predecessor in before {
        predecessor.closed().await;
    }
    let metrics = desk.metrics.pool(&instance.upstream);
    let mut backoff = Backoff::new();
    while asked.borrow().is_none() {
        let started = Instant::now();
        let result = run(&instance, &mut asked, &desk, &metrics).await;
        if asked.borrow().is_some() {
            break;
        }
        let wait = backoff.after(started.elapsed());
        report(&instance, result, wait);
        tokio::select! {
            _ = sleep(wait) => {
                desk.show(&instance, |shown| shown.restarts += 1);
                metrics.restarts.inc();
            }
            _ = asked_to_end(&mut asked) => {}
        }
    }
    desk.board().remove(&instance.place());
}

/// One life of a process, and of whatever it starts.
async fn run(
    instance: &Instance,
    asked: &mut Asked,
    desk: &Desk,
    metrics: &PoolMetrics,
) -> io::Result<ExitStatus> {
    let (upstream, port) = (&instance.upstream, instance.port);
    desk.show(instance, |shown| shown.pid = None);
    let mut child = tokio::process::Command::from(command(instance)?).spawn()?;
    let pid = child
        .id()
        .expect("a process has an id until it was waited for");
    info!(%upstream, port, pid, "process started");
    desk.show(instance, |shown| shown.pid = Some(pid));
    metrics.spawned.inc();
    let status = see_through(&mut child, pid, asked).await;
    metrics.spawned.dec();
    desk.show(instance, |shown| shown.pid = None);
    status
}

async fn see_through(child: &mut Child, pid: u32, asked: &mut Asked) -> io::Result<ExitStatus> {
    let ended = tokio::select! {
        _ = child.wait() => true,
        _ = asked_to_end(asked) => false,
    };
    if !ended {
        signal_group(pid, libc::SIGTERM);
        tokio::select! {
            _ = group_end(child, pid) => {}
            _ = time_is_up(asked) => {}
        }
    }
    // Also when it ended by itself: what it left behind would hold the port.
    signal_group(pid, libc::SIGKILL);
    child.wait().await
}

/// A shell ends at once by SIGTERM while the server that it started still drains.
async fn group_end(child: &mut Child, pid: u32) {
    // An error means that it can't be waited for: then it has ended.
    let _ = child.wait().await;
    while signal_group(pid, 0) {
        sleep(Duration::from_millis(20)).await;
    }
}

async fn asked_to_end(asked: &mut Asked) {
    // An error means that the crew is gone, which asks for the same.
    let _ = asked.wait_for(Option::is_some).await;
}

/// The deadline may come nearer while we wait.
async fn time_is_up(asked: &mut Asked) {
    loop {
        let Some(deadline) = *asked.borrow_and_update() else {
            return;
        };
        let Ok(Ok(())) = timeout_at(deadline, asked.changed()).await else {
            return;
        };
    }
}

fn end_by(keeper: &Keeper, deadline: Instant) {
    keeper.send_modify(|by| *by = Some(by.map_or(deadline, |by| by.min(deadline))));
}

fn instances((upstream, spawn): &(String, SpawnSettings)) -> impl Iterator<Item = Instance> {
    spawn_ports(spawn).map(|port| Instance {
        upstream: upstream.clone(),
        port,
        command: spawn.command.clone(),
    })
}

/// In a process group of its own: Ctrl-C in a terminal goes to Lakh alone, which drains first.
fn command(instance: &Instance) -> io::Result<std::process::Command> {
    let Some((program, arguments)) = instance.command.split_first() else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the command is empty",
        ));
    };
    let mut command = std::process::Command::new(program);
    command
        .args(arguments)
        .env("PORT", instance.port.to_string())
        // Ours, not theirs.
        .env_remove(COUNT)
        .env_remove(OWNER)
        .stdin(Stdio::null())
        .process_group(0);
    #[cfg(target_os = "linux")]
    {
        let parent = std::process::id();
        // SAFETY: between fork and exec only async-signal-safe functions may be called, as
        // another thread may have held a lock when we forked. `end_with` makes two system calls
        // and builds its errors from numbers: it takes no lock and allocates nothing.
        unsafe { command.pre_exec(move || end_with(parent)) };
    }
    Ok(command)
}

/// Asks the kernel for SIGTERM when the thread that forked us ends, were it by SIGKILL.
#[cfg(target_os = "linux")]
fn end_with(parent: u32) -> io::Result<()> {
    // SAFETY: prctl with PR_SET_PDEATHSIG takes numbers only.
    if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // It may have ended before we asked. SAFETY: getppid has no arguments and can't fail.
    if unsafe { libc::getppid() }.cast_unsigned() != parent {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    Ok(())
}

/// Signals whatever lives of the group that `pid`, a child of ours, leads or led; false when
/// nothing does. The kernel gives no new process that number while the group has a member, and
/// after that only once all other numbers had their turn.
fn signal_group(pid: u32, signal: libc::c_int) -> bool {
    // SAFETY: kill takes numbers only; a child's pid is above 1, so this is never kill(-1).
    unsafe { libc::kill(-pid.cast_signed(), signal) == 0 }
}

fn report(instance: &Instance, result: io::Result<ExitStatus>, wait: Duration) {
    let (upstream, port, command) = (&instance.upstream, instance.port, &instance.command);
    match result {
        Ok(status) => warn!(%upstream, port, %status, ?wait, "process ended; starting it again"),
        Err(why) => error!(
            %upstream, port, ?command, %why, ?wait,
            "cannot start the process; the first word of spawn.command must be a program, by its \
             path or on PATH, that may be executed; trying again"
        ),
    }
}

impl Instance {
    fn place(&self) -> Place {
        (self.upstream.clone(), self.port)
    }
}

impl Desk {
    fn show(&self, instance: &Instance, change: impl FnOnce(&mut Supervised)) {
        let mut board = self.board();
        change(board.entry(instance.place()).or_insert_with(|| Supervised {
            upstream: instance.upstream.clone(),
            port: instance.port,
            pid: None,
            restarts: 0,
        }));
    }

    fn board(&self) -> MutexGuard<'_, BTreeMap<Place, Supervised>> {
        self.board
            .lock()
            .expect("nothing panics while it holds the board")
    }
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(10);
    /// A process that ran this long was well: its end is a first failure again.
    const WELL: Duration = Duration::from_secs(10);

    fn new() -> Backoff {
        Backoff {
            next: Backoff::FIRST,
        }
    }

    fn after(&mut self, ran: Duration) -> Duration {
        if ran >= Backoff::WELL {
            self.next = Backoff::FIRST;
        }
        let wait = self.next;
        self.next = (wait * 2).min(Backoff::LONGEST);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn supervisor() -> Supervisor {
        Supervisor::new(Arc::new(Metrics::new()))
    }

    /// The processes never listen, so that their ports need not be free.
    fn spawn(script: &str, instances: u16) -> SpawnSettings {
        let command = ["sh", "-c", script].map(String::from).to_vec();
        SpawnSettings {
            command,
            instances,
            first_port: 9001,
            scale: None,
        }
    }

    fn app(spawn: SpawnSettings) -> Vec<(String, SpawnSettings)> {
        vec![("app".into(), spawn)]
    }

    async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(seen) = look() {
                return seen;
            }
            assert!(Instant::now() < deadline, "never seen: {what}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    fn pids(supervisor: &Supervisor) -> Vec<u32> {
        supervisor
            .status()
            .iter()
            .filter_map(|process| process.pid)
            .collect()
    }

    async fn running(supervisor: &Supervisor, count: usize) -> Vec<u32> {
        let all = || Some(pids(supervisor)).filter(|pids| pids.len() == count);
        until("all processes running", all).await
    }

    /// A zombie whose parent has not looked yet does not run either.
    fn runs(pid: u32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(") ")
            .next()
            .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
    }

    async fn gone(pid: u32) {
        until("the process gone", || (!runs(pid)).then_some(())).await;
    }

    fn kill(pid: u32) {
        // SAFETY: kill takes numbers only.
        unsafe { libc::kill(pid.cast_signed(), libc::SIGKILL) };
    }

    /// Gone with the test.
    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            // What can't be removed is left to the system's own tidying.
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn folder(name: &str) -> Folder {
        let name = format!("lakh-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).expect("the temporary folder can be written");
        Folder(folder)
    }

    fn written(file: &PathBuf) -> Option<String> {
        std::fs::read_to_string(file)
            .ok()
            .filter(|text| text.ends_with('\n'))
    }

    #[tokio::test]
    async fn each_instance_has_a_port_and_a_group_of_its_own() {
        let (supervisor, folder) = (supervisor(), folder("ports"));
        let script = format!("echo up > {}/$PORT; exec sleep 1000", folder.0.display());
        supervisor.apply(app(spawn(&script, 2))).await;
        for port in ["9001", "9002"] {
            until(port, || written(&folder.0.join(port))).await;
        }
        for pid in running(&supervisor, 2).await {
            // SAFETY: getpgid takes a number only.
            assert_eq!(
                unsafe { libc::getpgid(pid.cast_signed()) },
                pid.cast_signed()
            );
        }
        supervisor.stop(Duration::from_secs(10)).await;
    }

    #[tokio::test]
    async fn a_killed_process_is_back_and_counted() {
        let metrics = Arc::new(Metrics::new());
        let supervisor = Supervisor::new(metrics.clone());
        supervisor.apply(app(spawn("exec sleep 1000", 1))).await;
        let first = running(&supervisor, 1).await[0];
        kill(first);
        let back = || pids(&supervisor).into_iter().find(|pid| *pid != first);
        let second = until("another process", back).await;
        assert!(runs(second) && !runs(first));
        assert_eq!(supervisor.status()[0].restarts, 1);
        let pool = metrics.pool("app");
        assert_eq!((pool.spawned.get(), pool.restarts.get()), (1, 1));
        supervisor.stop(Duration::from_secs(10)).await;
        assert_eq!(pool.spawned.get(), 0);
        assert!(supervisor.status().is_empty() && !runs(second));
    }

    #[tokio::test]
    async fn what_stays_is_left_alone_and_what_left_is_stopped() {
        let supervisor = supervisor();
        supervisor.apply(app(spawn("exec sleep 1000", 3))).await;
        let before = running(&supervisor, 3).await;
        supervisor.apply(app(spawn("exec sleep 1000", 2))).await;
        gone(before[2]).await;
        assert_eq!(running(&supervisor, 2).await, before[..2]);
        supervisor.apply(vec![]).await;
        gone(before[0]).await;
        gone(before[1]).await;
    }

    #[tokio::test]
    async fn a_changed_command_starts_when_the_old_one_has_ended() {
        let (supervisor, folder) = (supervisor(), folder("changed"));
        let log = folder.0.join("log");
        let old = "trap 'echo old ends >> LOG; exit' TERM; echo old >> LOG; \
                   while :; do sleep 0.02; done";
        let new = "echo new >> LOG; exec sleep 1000";
        let script = |text: &str| text.replace("LOG", &log.display().to_string());
        supervisor.apply(app(spawn(&script(old), 1))).await;
        until("the old one", || written(&log)).await;
        supervisor.apply(app(spawn(&script(new), 1))).await;
        let log = until("the new one", || {
            written(&log).filter(|log| log.contains("new"))
        })
        .await;
        assert_eq!(log, "old\nold ends\nnew\n");
        supervisor.stop(Duration::from_secs(10)).await;
    }

    #[tokio::test]
    async fn one_that_ignores_sigterm_is_killed_after_the_grace() {
        let (supervisor, folder) = (supervisor(), folder("deaf"));
        let ready = folder.0.join("ready");
        let script = format!(
            "trap '' TERM; echo up > {}; while :; do sleep 0.02; done",
            ready.display()
        );
        supervisor.apply(app(spawn(&script, 1))).await;
        until("the trap set", || written(&ready)).await;
        let pid = running(&supervisor, 1).await[0];
        // Leaving with a long grace; the stop after it is in more of a hurry.
        supervisor.apply(vec![]).await;
        supervisor.stop(Duration::from_millis(50)).await;
        assert!(!runs(pid));
    }

    #[tokio::test]
    async fn what_a_process_leaves_behind_goes_with_it() {
        let (supervisor, folder) = (supervisor(), folder("left"));
        let file = folder.0.join("pid");
        let script = format!("sleep 1000 & echo $! > {}; exit 1", file.display());
        supervisor.apply(app(spawn(&script, 1))).await;
        let left = until("the one left behind", || written(&file)).await;
        gone(left.trim().parse().expect("a pid")).await;
        supervisor.stop(Duration::from_secs(10)).await;
    }

    #[tokio::test]
    async fn a_command_that_cannot_start_is_tried_again_with_pauses() {
        let supervisor = supervisor();
        let command = vec!["/nowhere/lakh-origin".into()];
        let started = Instant::now();
        supervisor
            .apply(app(SpawnSettings {
                command,
                instances: 1,
                first_port: 9001,
                scale: None,
            }))
            .await;
        let twice = || {
            supervisor
                .status()
                .first()
                .filter(|p| p.restarts >= 2)
                .cloned()
        };
        let process = until("two tries more", twice).await;
        assert_eq!(process.pid, None);
        assert!(
            started.elapsed() >= Duration::from_millis(300),
            "tried too soon"
        );
        supervisor.stop(Duration::from_secs(10)).await;
    }

    #[tokio::test]
    async fn a_dropped_supervisor_stops_its_processes() {
        let supervisor = supervisor();
        supervisor.apply(app(spawn("exec sleep 1000", 1))).await;
        let pid = running(&supervisor, 1).await[0];
        drop(supervisor);
        gone(pid).await;
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_kernel_ends_a_process_with_the_thread_that_forked_it() {
        let (upstream, port) = ("app".into(), 9001);
        let command_line = ["sleep", "1000"].map(String::from).to_vec();
        let instance = Instance {
            upstream,
            port,
            command: command_line,
        };
        let fork = move || {
            command(&instance)
                .and_then(|mut c| c.spawn())
                .expect("sleep is there")
        };
        let mut child = std::thread::spawn(fork).join().expect("it forks and ends");
        gone(child.id()).await;
        child.wait().expect("it is our child");
    }

    #[test]
    fn the_wait_doubles_up_to_its_longest_and_starts_over_after_a_good_run() {
        let mut backoff = Backoff::new();
        let waits: Vec<_> = (0..9)
            .map(|_| backoff.after(Duration::ZERO).as_millis())
            .collect();
        assert_eq!(
            waits,
            [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]
        );
        assert_eq!(backoff.after(Backoff::WELL), Backoff::FIRST);
        assert_eq!(backoff.after(Duration::ZERO), Backoff::FIRST * 2);
    }
}
