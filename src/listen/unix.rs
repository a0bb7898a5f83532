//! Unix sockets that are listened on, and their files: made where nobody listens, and removed when
//! nobody does any more.

use std::fs::{self, File, FileType, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use tokio::net::{UnixListener, UnixSocket};

/// A listening socket's file. Dropped, it is removed, unless another has come in its place, or somebody
/// else listens on.
pub struct SocketFile {
    path: PathBuf,
    inode: u64,
    ours: bool,
}

/// Listens at `path`, for those whom `mode` lets in. A file that was left behind is replaced.
pub fn listen(path: &Path, mode: u32, backlog: u32) -> io::Result<(UnixListener, SocketFile)> {
    make_room(path)?;
    let socket = UnixSocket::new_stream()?;
    // Before it has a name: so it is open to nobody else for a moment either. unix(7).
    let unnamed = File::from(socket.as_fd().try_clone_to_owned()?);
    unnamed.set_permissions(Permissions::from_mode(mode))?;
    socket.bind(path)?;
    let file = SocketFile::of(path, true)?;
    // What the process's umask took away.
    file.set_mode(mode)?;
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
        Ok(SocketFile {
            path: path.to_owned(),
            inode: fs::symlink_metadata(path)?.ino(),
            ours,
        })
    }

    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        fs::set_permissions(&self.path, Permissions::from_mode(mode))
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

impl Drop for SocketFile {
    fn drop(&mut self) {
        let still = || fs::symlink_metadata(&self.path).is_ok_and(|now| now.ino() == self.inode);
        if self.ours && still() {
            // Left behind, it is replaced at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}
