//! Handing over to a new process: it gets the listening sockets, and once it serves, the old one drains.
//! If it never does, nothing has happened.
//!
//! Connections that nobody has accepted yet wait in the sockets' queues, whichever process takes them.

use super::inherited::{COUNT, FIRST, NAMES, OWNER, OWNS_FILE};
use crate::listen::Heirloom;
use crate::runtime::ByHand;
use command_fds::{CommandFdExt, FdMapping};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use tokio::process::Child;
use tokio::time::timeout;

/// From its start until it serves.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Where a new process says that it serves.
const SAY_READY: &str = "LAKH_READY_SOCKET";
/// What operators have ordered, as JSON.
const BY_HAND: &str = "LAKH_BY_HAND";
/// Where the service manager is told; sd_notify(3).
const MANAGER: &str = "NOTIFY_SOCKET";

/// Starts the program anew, as it is on disk now, with the same arguments, these sockets, and what was ordered
/// by hand. Gives the id of the process once it serves.
pub async fn hand_over(sockets: Vec<Heirloom>, by_hand: &ByHand) -> Result<u32, String> {
    let failed = |what: &str, e: io::Error| format!("{what}: {e}");
    let name = format!("lakh-upgrade-{:032x}", fastrand::u128(..));
    let ready = listen(&name).map_err(|e| failed("no socket to be told on", e))?;
    let program = program().map_err(|e| failed("which program this is can't be told", e))?;
    let mut command = Command::new(&program);
    command
        .args(std::env::args_os().skip(1))
        .env(COUNT, sockets.len().to_string())
        .env(NAMES, names(&sockets))
        .env_remove(OWNER)
        .env(
            BY_HAND,
            serde_json::to_string(by_hand).map_err(|e| e.to_string())?,
        )
        .env(SAY_READY, format!("@{name}"));
    let mapped = sockets.into_iter().zip(FIRST..);
    let mapped = mapped.map(|(heirloom, child_fd)| FdMapping {
        parent_fd: heirloom.socket,
        child_fd,
    });
    let mapped = command.fd_mappings(mapped.collect());
    mapped.map_err(|e| format!("the sockets can't be passed on: {e}"))?;
    let child = tokio::process::Command::from(command).spawn();
    let mut child = child.map_err(|e| failed(&program.display().to_string(), e))?;
    let pid = child.id().ok_or("it has ended at once")?;
    tracing::info!(pid, program = %program.display(), "handing over to a new process");
    await_ready(&mut child, &ready).await?;
    tell(MANAGER, &format!("MAINPID={pid}\nREADY=1"));
    Ok(pid)
}

fn names(sockets: &[Heirloom]) -> String {
    let name = |heirloom: &Heirloom| match heirloom.owns_file {
        true => OWNS_FILE,
        false => "lakh",
    };
    sockets.iter().map(name).collect::<Vec<_>>().join(":")
}

async fn await_ready(child: &mut Child, ready: &tokio::net::UnixDatagram) -> Result<(), String> {
    let mut said = [0; 64];
    let serves = tokio::select! {
        told = timeout(PATIENCE, ready.recv(&mut said)) => matches!(told, Ok(Ok(_))),
        ended = child.wait() => {
            let how = ended.map_or_else(|e| e.to_string(), |status| status.to_string());
            return Err(format!("the new process has ended before it served ({how}); its log says why"));
        }
    };
    if !serves {
        // It is our child, and not yet waited for.
        let killed = child.kill().await;
        let end = killed.map_or_else(
            |e| format!("and can't be ended: {e}"),
            |()| "and was ended".into(),
        );
        let patience = PATIENCE.as_secs();
        return Err(format!(
            "the new process did not serve within {patience} s, {end}"
        ));
    }
    Ok(())
}

/// What was ordered of the process before this one; nothing where there was none.
pub fn by_hand() -> ByHand {
    let Ok(said) = std::env::var(BY_HAND) else {
        return ByHand::default();
    };
    serde_json::from_str(&said).unwrap_or_else(|e| {
        tracing::warn!("what was ordered by hand is forgotten: {BY_HAND} can't be read: {e}");
        ByHand::default()
    })
}

/// From here on this process serves: whoever started it for that is told, once.
pub fn say_ready() {
    match std::env::var_os(SAY_READY) {
        Some(_) => tell(SAY_READY, "READY=1"),
        None => tell(MANAGER, "READY=1"),
    }
}

/// Who is not there to be told need not be.
fn tell(whom: &str, what: &str) {
    let Ok(path) = std::env::var(whom) else {
        return;
    };
    let told = UnixDatagram::unbound().and_then(|socket| match path.strip_prefix('@') {
        Some(name) => socket.send_to_addr(what.as_bytes(), &SocketAddr::from_abstract_name(name)?),
        None => socket.send_to(what.as_bytes(), &path),
    });
    if let Err(e) = told {
        tracing::warn!("{whom} can't be told that this process serves: {e}");
    }
}

/// The name has no file, and is gone with the socket. Nobody can guess it.
fn listen(name: &str) -> io::Result<tokio::net::UnixDatagram> {
    let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
    socket.set_nonblocking(true)?;
    tokio::net::UnixDatagram::from_std(socket)
}

/// What is at the path that this process was started from: a new file, where it was replaced.
fn program() -> io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let text = program.to_string_lossy();
    // So the kernel names what was replaced; proc_pid_exe(5).
    Ok(text
        .strip_suffix(" (deleted)")
        .map_or(program.clone(), PathBuf::from))
}
