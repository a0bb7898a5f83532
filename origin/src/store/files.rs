//! The photos' folder. A file appears under its name whole or not at all, and never changes after;
//! an upload that breaks off leaves nothing behind.

use crate::domain::photo::{MAGIC_BYTES, MOST_BYTES, PhotoKind, PhotoName};
use axum::body::Bytes;
use futures_util::{Stream, StreamExt};
use std::fs::DirEntry;
use std::io::{self, Write};
use std::mem;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};
use tempfile::NamedTempFile;
use tokio::fs;
use tokio::task::{self, JoinHandle};

/// What is gathered of an upload before it is written.
const WRITE_BYTES: usize = 256 * 1024;

/// Names of what is not whole yet begin so: `tempfile`'s do.
const UNFINISHED: &[u8] = b".tmp";

/// Has an empty file under the name of each photo of which it is not known whether anything shows it.
const DOUBTFUL: &str = ".doubtful";

/// Many times what an upload may take.
const MOST_AGE: Duration = Duration::from_secs(3600);

pub struct PhotoFiles {
    folder: PathBuf,
}

/// An upload that is kept.
pub struct Received {
    pub name: PhotoName,
    /// When the last of it had come.
    pub whole: Instant,
}

/// Why an upload was not kept.
pub enum Refused {
    TooLarge,
    /// The first bytes are not those of the format that the label names.
    Mislabelled,
    BrokenOff,
    Failed(io::Error),
}

impl PhotoFiles {
    pub fn open(data: &Path) -> io::Result<Self> {
        let folder = data.join("photos");
        std::fs::create_dir_all(&folder)?;
        Ok(Self { folder })
    }

    pub fn path(&self, name: &PhotoName) -> PathBuf {
        self.folder.join(name.to_string())
    }

    /// Streams an upload to the folder: memory holds twice `WRITE_BYTES` of it.
    pub async fn receive(
        &self,
        kind: PhotoKind,
        mut chunks: impl Stream<Item = io::Result<Bytes>> + Unpin,
    ) -> Result<Received, Refused> {
        let mut head = Vec::new();
        while head.len() < MAGIC_BYTES {
            match next_chunk(&mut chunks).await? {
                Some(chunk) => head.extend_from_slice(&chunk),
                None => break,
            }
        }
        if !kind.is_start_of(&head) {
            return Err(Refused::Mislabelled);
        }
        let name = PhotoName::unguessable(kind, random()?);
        let mut sink = Sink::new(self.folder.clone());
        let mut length = 0;
        let mut next = Some(Bytes::from(head));
        while let Some(chunk) = next {
            length += chunk.len() as u64;
            if length > MOST_BYTES {
                return Err(Refused::TooLarge);
            }
            sink.take(chunk).await?;
            next = next_chunk(&mut chunks).await?;
        }
        let whole = Instant::now();
        sink.keep_as(self.path(&name)).await?;
        Ok(Received { name, whole })
    }

    /// Whoever uploads is answered when the kernel has the photo, as with what is written to the database; what
    /// is made of it waits until the disk has it too.
    pub fn settle(&self, name: &PhotoName) -> io::Result<()> {
        std::fs::File::open(self.path(name))?.sync_data()
    }

    /// Keeps a photo made here, under a name of its own; one already there is replaced.
    pub fn put(&self, name: &PhotoName, bytes: &[u8]) -> io::Result<()> {
        let mut file = NamedTempFile::new_in(&self.folder)?;
        file.write_all(bytes)?;
        keep(file, &self.path(name))
    }

    /// Uploads that were cut off with their process leave what had come of them; none takes so long.
    pub fn sweep(&self, now: SystemTime) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            if !entry.file_name().as_encoded_bytes().starts_with(UNFINISHED) {
                continue;
            }
            if is_old(&entry, now) {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Has somebody look later whether anything shows the photo: the database did not say.
    pub async fn doubt(&self, name: &PhotoName) -> io::Result<()> {
        let doubtful = self.folder.join(DOUBTFUL);
        fs::create_dir_all(&doubtful).await?;
        fs::write(doubtful.join(name.to_string()), "").await
    }

    /// Those that have been doubtful for so long that nobody writes of them any more.
    pub fn doubtful(&self, now: SystemTime) -> io::Result<Vec<PhotoName>> {
        let entries = match std::fs::read_dir(self.folder.join(DOUBTFUL)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            if is_old(&entry, now) {
                let name = entry.file_name();
                names.extend(name.to_str().and_then(|name| name.parse().ok()));
            }
        }
        Ok(names)
    }

    /// What shows the photo, if anything does, is known now.
    pub async fn decide(&self, name: &PhotoName, is_shown: bool) -> io::Result<()> {
        if !is_shown {
            self.remove(name).await?;
        }
        fs::remove_file(self.folder.join(DOUBTFUL).join(name.to_string())).await
    }

    /// A file that is already gone is as good as removed.
    pub async fn remove(&self, name: &PhotoName) -> io::Result<()> {
        match fs::remove_file(self.path(name)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// What has gone meanwhile is not old.
fn is_old(entry: &DirEntry, now: SystemTime) -> bool {
    let written = entry.metadata().and_then(|about| about.modified());
    let age = written
        .ok()
        .and_then(|written| now.duration_since(written).ok());
    age.is_some_and(|age| age > MOST_AGE)
}

/// A file that is written beside what reads for it: while a thread writes some chunks, the next ones come.
struct Sink {
    /// Of what came before those that wait.
    written: JoinHandle<io::Result<NamedTempFile>>,
    waiting: Vec<Bytes>,
    bytes: usize,
}

impl Sink {
    fn new(folder: PathBuf) -> Self {
        Self {
            written: task::spawn_blocking(|| NamedTempFile::new_in(folder)),
            waiting: Vec::new(),
            bytes: 0,
        }
    }

    async fn take(&mut self, chunk: Bytes) -> io::Result<()> {
        self.bytes += chunk.len();
        self.waiting.push(chunk);
        if self.bytes < WRITE_BYTES {
            return Ok(());
        }
        let mut file = (&mut self.written).await??;
        let chunks = mem::take(&mut self.waiting);
        self.bytes = 0;
        self.written = task::spawn_blocking(move || {
            write(&mut file, &chunks)?;
            Ok(file)
        });
        Ok(())
    }

    /// All of it, under that name.
    async fn keep_as(self, path: PathBuf) -> io::Result<()> {
        let mut file = self.written.await??;
        let keeping = task::spawn_blocking(move || {
            write(&mut file, &self.waiting)?;
            file.persist(path)?;
            Ok(())
        });
        keeping.await?
    }
}

fn write(file: &mut NamedTempFile, chunks: &[Bytes]) -> io::Result<()> {
    chunks.iter().try_for_each(|chunk| file.write_all(chunk))
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

async fn next_chunk(
    chunks: &mut (impl Stream<Item = io::Result<Bytes>> + Unpin),
) -> Result<Option<Bytes>, Refused> {
    let chunk = chunks.next().await.transpose();
    chunk.map_err(|_| Refused::BrokenOff)
}

fn keep(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.as_file().sync_data()?;
    file.persist(path)?;
    Ok(())
}

fn random() -> io::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_writes_any_more_is_swept_and_nothing_else() {
        let data = tempfile::tempdir().expect("a temporary folder");
        let files = PhotoFiles::open(data.path()).expect("the folder is ours");
        let folder = data.path().join("photos");
        let now = SystemTime::now();
        let left = NamedTempFile::new_in(&folder).expect("the folder is ours");
        std::fs::write(folder.join("photo.jpg"), "x").expect("the folder is ours");
        let names = || std::fs::read_dir(&folder).expect("it is there").count();
        files.sweep(now + MOST_AGE / 2).expect("it can be read");
        assert_eq!(names(), 2);
        files.sweep(now + 2 * MOST_AGE).expect("it can be read");
        assert_eq!(names(), 1);
        assert!(!left.path().exists() && folder.join("photo.jpg").exists());
    }

    #[tokio::test]
    async fn what_is_doubtful_is_looked_at_later_and_goes_where_nothing_shows_it() {
        let data = tempfile::tempdir().expect("a temporary folder");
        let files = PhotoFiles::open(data.path()).expect("the folder is ours");
        let now = SystemTime::now();
        let later = now + 2 * MOST_AGE;
        assert_eq!(files.doubtful(later).expect("it can be read"), []);
        let names = ["a.jpg", "b.jpg"].map(|name| name.parse().expect("a good name"));
        for name in &names {
            files.put(name, b"x").expect("the folder is ours");
            files.doubt(name).await.expect("the folder is ours");
        }
        assert_eq!(files.doubtful(now).expect("it can be read"), []);
        assert_eq!(files.doubtful(later).expect("it can be read").len(), 2);
        for (name, is_shown) in names.iter().zip([true, false]) {
            let decided = files.decide(name, is_shown).await;
            decided.expect("the folder is ours");
            assert_eq!(files.path(name).exists(), is_shown);
        }
        assert_eq!(files.doubtful(later).expect("it can be read"), []);
    }
}
