//! A folder, of this machine or one that a fleet shares. Its files are their owner's alone.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use tokio::task::spawn_blocking;

pub struct Folder(PathBuf);

const LOCK: &str = "lock";

impl Folder {
    /// Makes it where it isn't there.
    pub fn open(path: PathBuf) -> Result<Folder, String> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map_err(|e| {
            let shown = path.display();
            format!("acme.storage: {shown} can't be made: {e}; make it, as this process's user's")
        })?;
        Ok(Folder(path))
    }

    pub async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, String> {
        let path = self.path(name);
        aside(path, "read", |path| match fs::read(path) {
            Ok(record) => Ok(Some(record)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        })
        .await
    }

    pub async fn put(&self, name: &str, record: Vec<u8>) -> Result<(), String> {
        let path = self.path(name);
        aside(path, "written", move |path| replace(path, &record)).await
    }

    /// The system lets go of it when this process ends, however that is.
    pub async fn lock(&self) -> Result<Option<File>, String> {
        let path = self.path(LOCK);
        aside(path, "locked", |path| {
            let mut options = owners();
            let file = options.create(true).truncate(false).open(path)?;
            match file.try_lock() {
                Ok(()) => Ok(Some(file)),
                Err(TryLockError::WouldBlock) => Ok(None),
                Err(TryLockError::Error(e)) => Err(e),
            }
        })
        .await
    }

    /// Names are hosts', or our own.
    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// Does what may wait for a disk where nobody waits for it.
async fn aside<T: Send + 'static>(
    path: PathBuf,
    what: &'static str,
    work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> Result<T, String> {
    let done = spawn_blocking(move || {
        work(&path).map_err(|e| format!("acme.storage: {} can't be {what}: {e}", path.display()))
    });
    done.await
        .unwrap_or_else(|e| Err(format!("acme.storage: {e}")))
}

/// Whole or not at all, even where the power fails.
fn replace(path: &Path, record: &[u8]) -> io::Result<()> {
    let beside = path.with_added_extension("new");
    // One of a process that was stopped there.
    match fs::remove_file(&beside) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = owners().create_new(true).open(&beside)?;
    file.write_all(record)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn owners() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn records_are_their_owners_alone_and_replaced_whole() {
        let dir = std::env::temp_dir().join(format!("lakh-acme-{}", std::process::id()));
        let folder = Folder::open(dir.join("place")).expect("a folder");
        assert_eq!(folder.get("a.test").await, Ok(None));
        // Of one that was stopped while it wrote.
        fs::write(dir.join("place/a.test.new"), "half").expect("written");
        for text in ["one", "another"] {
            folder.put("a.test", text.into()).await.expect("written");
            assert_eq!(folder.get("a.test").await, Ok(Some(text.into())));
        }
        let mode = |path: PathBuf| {
            fs::metadata(path)
                .expect("it is there")
                .permissions()
                .mode()
        };
        assert_eq!(mode(dir.join("place")) & 0o777, 0o700);
        assert_eq!(mode(dir.join("place/a.test")) & 0o777, 0o600);

        let lock = folder.lock().await.expect("a lock");
        assert!(lock.is_some());
        let other = Folder::open(dir.join("place")).expect("the same");
        assert!(other.lock().await.expect("no error").is_none(), "it is had");
        drop(lock);
        assert!(other.lock().await.expect("no error").is_some());
        fs::remove_dir_all(&dir).expect("removed");
    }

    #[tokio::test]
    async fn what_can_not_be_used_is_named() {
        let why = Folder::open("/proc/no/such".into())
            .err()
            .expect("no folder");
        assert!(why.starts_with("acme.storage: /proc/no/such can't be made: "));
        let dir = std::env::temp_dir().join(format!("lakh-acme-{}-gone", std::process::id()));
        let folder = Folder::open(dir.clone()).expect("a folder");
        fs::remove_dir_all(&dir).expect("removed");
        let why = folder.put("a.test", Vec::new()).await.expect_err("gone");
        assert!(why.contains("a.test can't be written: "), "{why}");
    }
}
