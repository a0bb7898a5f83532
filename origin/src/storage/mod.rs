//! Where large files are: with providers, each of which has its share, and in a folder of our own where one of
//! them fails. Objects are chunks, named by their file's key and their SHA-256; so a copy is what it says or is
//! passed by, and writing one twice changes nothing. What is read is asked of whoever may have it.

mod place;
mod provider;

pub use place::Place;

use crate::domain::file::Checksum;
use crate::domain::shares::order_of;
use axum::body::Bytes;
use object_store::path::Path;
use prometheus::IntCounterVec;
use provider::Provider;
use std::error::Error;
use std::{fmt, path};
use tokio::task;

/// Of each chunk, where there are as many providers.
const COPIES: usize = 2;

pub struct Storage {
    providers: Vec<Provider>,
    /// Takes what a provider doesn't, and everything where there is none.
    local: Provider,
}

/// A chunk of a file.
#[derive(Clone, Copy)]
pub struct Object<'a> {
    pub file: &'a str,
    pub checksum: Checksum,
}

/// Nobody has it who answers, or too few take it.
#[derive(Debug)]
pub struct Unavailable(String);

impl Storage {
    /// `counts` are by provider, operation and outcome.
    pub fn open(
        places: &[Place],
        data: &path::Path,
        counts: &IntCounterVec,
    ) -> Result<Self, Box<dyn Error>> {
        let local = place::folder(&data.join("files"))?;
        let providers = places.iter().map(|place| {
            let store = place.open()?;
            Ok(Provider::new(place.name(), place.weight, store, counts))
        });
        Ok(Self {
            providers: providers.collect::<Result<_, Box<dyn Error>>>()?,
            local: Provider::new("local".into(), 1, local, counts),
        })
    }

    /// Keeps one copy: with the provider whose share it is, or here.
    pub async fn put(&self, object: Object<'_>, bytes: &Bytes) -> Result<(), Unavailable> {
        if let Some(first) = self.order(object).first()
            && first.may_be_asked()
            && first.put(&object.path(), bytes).await.is_ok()
        {
            return Ok(());
        }
        Ok(self.local.put(&object.path(), bytes).await?)
    }

    /// Its bytes, from whoever has them as they were. Who failed lately is asked last.
    pub async fn get(&self, object: Object<'_>) -> Result<Bytes, Unavailable> {
        let mut order = self.order(object);
        order.push(&self.local);
        order.sort_by_key(|provider| provider.rests());
        let mut reason = String::new();
        for provider in order {
            match provider.get(&object.path()).await {
                Ok(bytes) if is_intact(&bytes, object.checksum).await => return Ok(bytes),
                Ok(_) => reason = format!("{provider} has something else"),
                Err(error) => reason = error.to_string(),
            }
        }
        Err(Unavailable(reason))
    }

    /// Has as many providers keep it as are to have a copy, those first whose share it is; then it is not kept
    /// here any more.
    pub async fn replicate(&self, object: Object<'_>) -> Result<(), Unavailable> {
        let wanted = COPIES.min(self.providers.len());
        let mut copies = 0;
        let mut reason = String::new();
        let mut bytes = None;
        for provider in self.order(object) {
            if copies == wanted {
                break;
            }
            if !provider.may_be_asked() {
                reason = format!("{provider} has failed lately");
                continue;
            }
            // What it has may be what it kept of a chunk that it refused.
            if let Ok(found) = provider.get(&object.path()).await
                && is_intact(&found, object.checksum).await
            {
                copies += 1;
                bytes.get_or_insert(found);
                continue;
            }
            let read = match &bytes {
                Some(read) => read,
                None => bytes.insert(self.get(object).await?),
            };
            match provider.put(&object.path(), read).await {
                Ok(()) => copies += 1,
                Err(error) => reason = error.to_string(),
            }
        }
        if copies < wanted {
            return Err(Unavailable(reason));
        }
        if wanted > 0 {
            self.local.remove(&object.path()).await?;
        }
        Ok(())
    }

    /// Whether anybody but this machine keeps anything.
    pub fn has_providers(&self) -> bool {
        !self.providers.is_empty()
    }

    /// Whether as many providers as are to have a copy say that they have one, of so many bytes; nothing is read. Can't
    /// be told while one of those that are asked fails: what it has is not lost.
    pub async fn has_copies(&self, object: Object<'_>, bytes: u64) -> Result<bool, Unavailable> {
        let wanted = COPIES.min(self.providers.len());
        let mut copies = 0;
        for provider in self.order(object) {
            if copies == wanted {
                break;
            }
            if !provider.may_be_asked() {
                return Err(Unavailable(format!("{provider} has failed lately")));
            }
            match provider.size(&object.path()).await {
                Ok(size) => copies += usize::from(size == bytes),
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(copies == wanted)
    }

    /// All there is of a file, wherever it is.
    pub async fn remove(&self, file: &str) -> Result<(), Unavailable> {
        for provider in self.providers.iter().chain([&self.local]) {
            provider.remove_all(&Path::from(file)).await?;
        }
        Ok(())
    }

    fn order(&self, object: Object) -> Vec<&Provider> {
        let weights: Vec<_> = self.providers.iter().map(Provider::weight).collect();
        let order = order_of(object.path().as_ref(), &weights);
        order.iter().map(|place| &self.providers[*place]).collect()
    }
}

impl Object<'_> {
    fn path(&self) -> Path {
        Path::from_iter([self.file, &self.checksum.to_string()])
    }
}

/// Ten megabytes take some milliseconds, in which a worker answers others.
async fn is_intact(bytes: &Bytes, checksum: Checksum) -> bool {
    checksum_of(bytes.clone()).await == Some(checksum)
}

/// None: the process is about to end.
pub async fn checksum_of(bytes: Bytes) -> Option<Checksum> {
    let sum = task::spawn_blocking(move || Checksum::of(&bytes));
    sum.await.ok()
}

impl From<object_store::Error> for Unavailable {
    fn from(error: object_store::Error) -> Self {
        Self(error.to_string())
    }
}

impl Error for Unavailable {}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "files can't be stored or read: {}", self.0)
    }
}

#[cfg(test)]
mod tests;
