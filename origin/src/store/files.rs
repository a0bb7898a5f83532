//! The photos' folder. A file appears under its name whole or not at all, and never changes after;
//! an upload that breaks off leaves nothing behind.

use crate::domain::photo::{MAGIC_BYTES, MOST_BYTES, PhotoKind, PhotoName};
use axum::body::Bytes;
use futures_util::{Stream, StreamExt};
use std::io::{self, Write};
use std::mem;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tempfile::NamedTempFile;
use tokio::fs;
use tokio::task::{self, JoinHandle};

/// What is gathered of an upload before it is written.
const WRITE_BYTES: usize = 256 * 1024;

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

    /// A file that is already gone is as good as removed.
    pub async fn remove(&self, name: &PhotoName) -> io::Result<()> {
        match fs::remove_file(self.path(name)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
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
