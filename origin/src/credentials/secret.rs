//! Secrets that tokens and events are signed with: made once, at random, in the data folder, so that
//! every process on that folder agrees, and no secret is ever part of the source.

use crate::domain::random::hex;
use std::io::{self, ErrorKind, Write};
use std::{fs, path::Path};
use tempfile::NamedTempFile;

/// The bytes of that file (64 hexadecimal digits), created on first use. The file appears whole and
/// never replaces another, so of processes that start together the first decides for all.
pub fn signing_secret(folder: &Path, name: &str) -> io::Result<Vec<u8>> {
    let path = folder.join(name);
    if let Err(error) = fs::metadata(&path) {
        if error.kind() != ErrorKind::NotFound {
            return Err(error);
        }
        create(folder, &path)?;
    }
    Ok(fs::read_to_string(&path)?.trim().as_bytes().to_vec())
}

fn create(folder: &Path, path: &Path) -> io::Result<()> {
    // Temporary files are created with mode 0600, and keep it.
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(hex::<32>().as_bytes())?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Err(lost) if lost.error.kind() != ErrorKind::AlreadyExists => Err(lost.error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::thread;

    #[test]
    fn those_who_start_together_agree_and_nobody_else_may_read() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let secrets: Vec<_> = thread::scope(|scope| {
            let started: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| signing_secret(folder.path(), "jwt.secret")))
                .collect();
            started
                .into_iter()
                .map(|one| one.join().expect("no panic").expect("a secret"))
                .collect()
        });
        assert_eq!(secrets[0].len(), 64);
        assert!(secrets.iter().all(|secret| *secret == secrets[0]));

        let mode = fs::metadata(folder.path().join("jwt.secret"))
            .expect("the file")
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
    }
}
