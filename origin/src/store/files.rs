//! The photos' folder. A file appears under its name whole or not at all, and never changes after;
//! an upload that breaks off leaves nothing behind.

use crate::domain::photo::{MAGIC_BYTES, MOST_BYTES, PhotoKind, PhotoName};
use axum::body::{Body, Bytes};
use http_body_util::BodyExt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;
use tokio::{fs, io::AsyncWriteExt, task};

pub struct PhotoFiles {
    folder: PathBuf,
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

    /// Streams an upload to the folder: memory holds one chunk of it at a time.
    pub async fn receive(&self, kind: PhotoKind, body: &mut Body) -> Result<PhotoName, Refused> {
        let mut head = Vec::new();
        while head.len() < MAGIC_BYTES {
            match next_chunk(body).await? {
                Some(chunk) => head.extend_from_slice(&chunk),
                None => break,
            }
        }
        if !kind.is_start_of(&head) {
            return Err(Refused::Mislabelled);
        }
        let file = NamedTempFile::new_in(&self.folder)?;
        self.write(&file, head.into(), body).await?;

        let name = PhotoName::unguessable(kind, random()?);
        let path = self.path(&name);
        let kept = task::spawn_blocking(move || file.persist(&path).map(drop)).await;
        kept.map_err(io::Error::other)?.map_err(io::Error::from)?;
        Ok(name)
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

    async fn write(
        &self,
        file: &NamedTempFile,
        head: Bytes,
        body: &mut Body,
    ) -> Result<(), Refused> {
        let mut file = fs::File::from_std(file.reopen()?);
        let mut length = 0;
        let mut next = Some(head);
        while let Some(chunk) = next {
            length += chunk.len() as u64;
            if length > MOST_BYTES {
                return Err(Refused::TooLarge);
            }
            file.write_all(&chunk).await?;
            next = next_chunk(body).await?;
        }
        Ok(file.flush().await?)
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

async fn next_chunk(body: &mut Body) -> Result<Option<Bytes>, Refused> {
    while let Some(frame) = body.frame().await {
        // Frames that are not data are trailers; they say nothing about a photo.
        if let Ok(chunk) = frame.map_err(|_| Refused::BrokenOff)?.into_data() {
            return Ok(Some(chunk));
        }
    }
    Ok(None)
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
