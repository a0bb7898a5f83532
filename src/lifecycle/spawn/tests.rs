//! Supervisors of real processes.

use super::process::command;
use super::*;
use std::path::PathBuf;
use tokio::time::sleep;

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
