//! Argon2 takes 19 MiB and tens of milliseconds by design: it runs on blocking threads, on no more
//! of them than there are cores, and those who would wait long are sent away.

use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use argon2::{Argon2, password_hash};
use std::{sync::Arc, thread, time::Duration};
use tokio::{sync::Semaphore, task, time};

const PATIENCE: Duration = Duration::from_secs(5);

pub struct Passwords {
    cores: Arc<Semaphore>,
    decoy: Arc<str>,
}

/// More people are logging in than the processor can serve.
pub struct Crowded;

impl Passwords {
    pub fn new() -> Result<Self, password_hash::Error> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            cores: Arc::new(Semaphore::new(cores)),
            decoy: hash("nobody's password")?.into(),
        })
    }

    pub async fn hash(&self, password: String) -> Result<String, Crowded> {
        let hashed = self.on_a_core(move || hash(&password)).await?;
        Ok(hashed.expect("passwords are bounded and the default parameters are valid"))
    }

    /// Takes as long for somebody unknown as for somebody known, so that the time an answer takes
    /// doesn't tell who is registered.
    pub async fn verify(&self, password: String, stored: Option<String>) -> Result<bool, Crowded> {
        let decoy = self.decoy.clone();
        self.on_a_core(move || {
            let matches = matches(&password, stored.as_deref().unwrap_or(&decoy));
            matches && stored.is_some()
        })
        .await
    }

    async fn on_a_core<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Crowded> {
        let waiting = time::timeout(PATIENCE, self.cores.clone().acquire_owned());
        let core = waiting
            .await
            .map_err(|_| Crowded)?
            .expect("the semaphore is never closed");
        // The work keeps its core even when the client leaves and this future is dropped.
        let working = task::spawn_blocking(move || {
            let _core = core;
            work()
        });
        Ok(working.await.expect("hashing does not panic"))
    }
}

fn hash(password: &str) -> Result<String, password_hash::Error> {
    let hash = Argon2::default().hash_password(password.as_bytes())?;
    Ok(hash.to_string())
}

fn matches(password: &str, stored: &str) -> bool {
    PasswordHash::new(stored).is_ok_and(|hash| {
        Argon2::default()
            .verify_password(password.as_bytes(), &hash)
            .is_ok()
    })
}
