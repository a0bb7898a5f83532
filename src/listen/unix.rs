//! Unix sockets that are listened on, and their files: made where nobody listens, and removed when
//! nobody does any more.

use super::settings::Access;
use nix::unistd::{Group, User};
use std::fs::{self, File, FileType, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use tokio::net::{UnixListener, UnixSocket};

/// A listening socket's file. Dropped, it is removed, unless another has come in its place, or somebody
/// else listens on.
pub struct SocketFile {
    path: PathBuf,
    inode: u64,
    /// Whose it was when it was made, or inherited.
    owner: u32,
    group: u32,
    ours: bool,
}

/// Listens at `path`, for those whom `access` lets in. A file that was left behind is replaced.
pub fn listen(
    path: &Path,
    access: &Access,
    backlog: u32,
) -> io::Result<(UnixListener, SocketFile)> {
    make_room(path)?;
    let socket = UnixSocket::new_stream()?;
    // Before it has a name: so it is open to nobody else for a moment either. unix(7).
    let unnamed = File::from(socket.as_fd().try_clone_to_owned()?);
    unnamed.set_permissions(Permissions::from_mode(access.mode))?;
    socket.bind(path)?;
    let file = SocketFile::of(path, true)?;
    // What the process's umask took away, too.
    file.open_to(access)?;
    Ok((socket.listen(backlog)?, file))
}

/// Removes a socket that nobody has open.
fn make_room(path: &Path) -> io::Result<()> {
    let kind = match fs::symlink_metadata(path) {
        Ok(found) => found.file_type(),
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    if !FileType::is_socket(&kind) {
        let why = "there is a file that is no socket; remove it, or choose another path";
        return Err(io::Error::new(ErrorKind::AlreadyExists, why));
    }
    // Who is there is of another kind, and that is said at once; asked for a connection, a busy one
    // would let us wait.
    match UnixDatagram::unbound()?.connect(path) {
        Err(e) if e.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(e) if matches!(e.kind(), ErrorKind::PermissionDenied | ErrorKind::NotFound) => Err(e),
        _ => Err(ErrorKind::AddrInUse.into()),
    }
}

impl SocketFile {
    /// Of a socket that another process listens on still: see `take_over`.
    pub fn inherited(path: &Path) -> io::Result<SocketFile> {
        SocketFile::of(path, false)
    }

    fn of(path: &Path, ours: bool) -> io::Result<SocketFile> {
        let made = fs::symlink_metadata(path)?;
        Ok(SocketFile {
            path: path.to_owned(),
            inode: made.ino(),
            owner: made.uid(),
            group: made.gid(),
            ours,
        })
    }

    pub fn open_to(&self, access: &Access) -> io::Result<()> {
        let owner = access.owner.as_deref().map_or(Ok(self.owner), user)?;
        let group = access.group.as_deref().map_or(Ok(self.group), group)?;
        let now = fs::symlink_metadata(&self.path)?;
        if (owner, group) != (now.uid(), now.gid()) {
            lchown(&self.path, Some(owner), Some(group)).map_err(|e| {
                let why = format!(
                    "it can't be given to owner {owner} and group {group}: {e}; only root gives files to others, \
                     and who owns one to groups of their own"
                );
                io::Error::new(e.kind(), why)
            })?;
        }
        fs::set_permissions(&self.path, Permissions::from_mode(access.mode))
    }

    /// From here on it is this process that listens, and removes it.
    pub fn take_over(&mut self) {
        self.ours = true;
    }

    /// Another process listens on.
    pub fn leave(&mut self) {
        self.ours = false;
    }
}

fn user(name: &str) -> io::Result<u32> {
    id(name, "user", || {
        Ok(User::from_name(name)?.map(|user| user.uid.as_raw()))
    })
}

fn group(name: &str) -> io::Result<u32> {
    id(name, "group", || {
        Ok(Group::from_name(name)?.map(|group| group.gid.as_raw()))
    })
}

/// As chown(1) reads it: what is a name is one, and else a number.
fn id(name: &str, what: &str, known: impl Fn() -> io::Result<Option<u32>>) -> io::Result<u32> {
    let id = known()?.or_else(|| name.parse().ok());
    id.ok_or_else(|| {
        let why = format!("there is no {what} `{name}` on this machine; make it, or write another");
        io::Error::new(ErrorKind::NotFound, why)
    })
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let still = || fs::symlink_metadata(&self.path).is_ok_and(|now| now.ino() == self.inode);
        if self.ours && still() {
            // Left behind, it is replaced at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}
