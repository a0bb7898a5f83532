//! How a process is started, and reached with all that it starts itself.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use super::board::Instance;
use crate::lifecycle::inherited::{COUNT, OWNER};

/// In a process group of its own: Ctrl-C in a terminal goes to Lakh alone, which drains first.
pub fn command(instance: &Instance) -> io::Result<std::process::Command> {
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
pub fn signal_group(pid: u32, signal: libc::c_int) -> bool {
    // SAFETY: kill takes numbers only; a child's pid is above 1, so this is never kill(-1).
    unsafe { libc::kill(-pid.cast_signed(), signal) == 0 }
}
