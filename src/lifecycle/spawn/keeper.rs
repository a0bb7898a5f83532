//! One process that is kept running until it is asked to end.

use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use tokio::process::Child;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{error, info, warn};

use super::board::{Desk, Instance};
use super::process::{command, signal_group};
use crate::observe::PoolMetrics;

/// Tells a keeper by when its process must have ended; closed once it has.
pub type Keeper = watch::Sender<Option<Instant>>;

pub type Asked = watch::Receiver<Option<Instant>>;

/// How long to wait before a process is started again.
#[derive(Debug)]
struct Backoff {
    next: Duration,
}

/// Keeps one process running until it is asked to end it. `asked` goes last: its end says that
/// the port is free.
pub async fn keep(instance: Instance, before: Vec<Keeper>, mut asked: Asked, desk: Arc<Desk>) {
    for predecessor in before {
        predecessor.closed().await;
    }
    let metrics = desk.metrics_of(&instance);
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
    desk.take_away(&instance);
}

pub fn end_by(keeper: &Keeper, deadline: Instant) {
    keeper.send_modify(|by| *by = Some(by.map_or(deadline, |by| by.min(deadline))));
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
