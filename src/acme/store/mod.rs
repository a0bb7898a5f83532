//! Where account, certificates and the book are kept, and whose turn it is to write.

mod folder;
mod lease;
mod seal;

use super::settings::{Storage, Wanted};
use crate::observe::LinkMetrics;
use folder::Folder;
use lease::{Lease, Remote};

pub enum Store {
    Folder(Folder),
    Redis(Remote),
}

/// The right to write, which one edge of a fleet has at a time.
pub enum Lock {
    /// Held for as long as it is open.
    File {
        _open: std::fs::File,
    },
    Lease(Lease),
}

impl Store {
    /// An error where it can't be used. Connects to nothing until `connect`.
    pub fn new(wanted: &Wanted, metrics: LinkMetrics) -> Result<Store, String> {
        let place = place(&wanted.acme.directory);
        Ok(match &wanted.acme.storage {
            Storage::Folder(path) => Store::Folder(Folder::open(path.join(place))?),
            Storage::Redis(secrets) => {
                let redis = wanted
                    .redis
                    .as_ref()
                    .ok_or("acme.storage: there is no `redis`")?;
                Store::Redis(Remote::new(redis, secrets, &place, metrics))
            }
        })
    }

    pub fn connect(&self) {
        if let Store::Redis(remote) = self {
            remote.connect();
        }
    }

    pub async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, String> {
        match self {
            Store::Folder(folder) => folder.get(name).await,
            Store::Redis(remote) => remote.get(name).await,
        }
    }

    /// It is there, and whole, or as it was before.
    pub async fn put(&self, name: &str, record: Vec<u8>) -> Result<(), String> {
        match self {
            Store::Folder(folder) => folder.put(name, record).await,
            Store::Redis(remote) => remote.put(name, &record).await,
        }
    }

    /// None: another one has it.
    pub async fn lock(&self) -> Result<Option<Lock>, String> {
        match self {
            Store::Folder(folder) => {
                Ok(folder.lock().await?.map(|open| Lock::File { _open: open }))
            }
            Store::Redis(remote) => Ok(remote.lease().await?.map(Lock::Lease)),
        }
    }
}

impl Lock {
    /// Until it is no longer ours. Has to be waited for meanwhile: that is what keeps it.
    pub async fn lost(&self) {
        match self {
            Lock::File { .. } => std::future::pending().await,
            Lock::Lease(lease) => lease.keep().await,
        }
    }

    pub async fn release(self) {
        if let Lock::Lease(lease) = self {
            lease.release().await;
        }
    }
}

/// What one authority has signed is nothing to another: each has a place of its own, called by its URL.
fn place(directory: &str) -> String {
    let (_, rest) = directory.split_once("://").unwrap_or(("", directory));
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    rest.chars()
        .map(|c| if is_plain(c) { c } else { '_' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn each_authority_has_a_place_of_its_own() {
        let url = "https://acme-v02.api.letsencrypt.org/directory";
        assert_eq!(place(url), "acme-v02.api.letsencrypt.org_directory");
        assert_eq!(place("http://[::1]:1/../x"), "___1__1_.._x");
    }
}
