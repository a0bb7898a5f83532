//! Servers behind a name: all of its addresses, looked up again and again.
//!
//! A look-up that fails changes nothing but a counter: the last answer stays in use, and an
//! upstream whose name was never found is one without servers, not a reason to end.

use super::public::is_public;
use super::settings::{NameSettings, ServerSettings};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use tokio::task::AbortHandle;

/// More addresses than this behind one name are not used: an answer is somebody else's text.
const MOST: usize = 256;

/// Looks a host and port up.
pub type Resolver = Arc<dyn Fn(String, u16) -> Answer + Send + Sync>;
pub type Answer = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// The last answers, over reloads.
#[derive(Default)]
pub struct Answers(Mutex<HashMap<(String, u16), Vec<SocketAddr>>>);

/// A pool's names being looked up; dropped, that ends.
pub struct Watch {
    pub task: AbortHandle,
    /// True once each name has had an answer or a failure.
    pub looked: tokio::sync::watch::Receiver<bool>,
}

/// By the system's resolver: /etc/hosts, then DNS.
pub fn system() -> Resolver {
    Arc::new(|host, port| {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    })
}

impl Answers {
    /// All servers behind the names, as far as they are known.
    pub fn servers(&self, names: &[NameSettings]) -> Vec<ServerSettings> {
        let known = self.lock();
        let of = |name: &NameSettings| {
            let found = known.get(&(name.host.clone(), name.port));
            let (weight, backup, public) = (name.weight, name.backup, name.public);
            let found = found.into_iter().flatten();
            found
                .filter(move |address| !public || is_public(address.ip()))
                .map(move |address| ServerSettings {
                    address: (*address).into(),
                    weight,
                    backup,
                })
        };
        names.iter().flat_map(of).collect()
    }

    /// Takes a look-up's answer; true when it is another one than before.
    pub fn take(&self, name: &NameSettings, mut found: Vec<SocketAddr>) -> bool {
        found.sort_unstable();
        found.dedup();
        found.truncate(MOST);
        let key = (name.host.clone(), name.port);
        let before = self.lock().insert(key, found.clone());
        before != Some(found)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, u16), Vec<SocketAddr>>> {
        self.0
            .lock()
            .expect("nothing panics while it holds the answers")
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_answer_in_another_order_is_the_same() {
        let name = NameSettings {
            host: "app.internal".into(),
            port: 80,
            every: Duration::from_secs(1),
            weight: 3,
            backup: true,
            public: false,
        };
        let [one, two]: [SocketAddr; 2] = [([10, 0, 0, 1], 80).into(), ([10, 0, 0, 2], 80).into()];
        let answers = Answers::default();
        assert!(answers.servers(std::slice::from_ref(&name)).is_empty());
        assert!(answers.take(&name, vec![two, one]));
        assert!(!answers.take(&name, vec![one, two, one]));
        let servers = answers.servers(std::slice::from_ref(&name));
        assert_eq!(servers.len(), 2);
        assert!(servers.iter().all(|s| s.weight == 3 && s.backup));
        let public = NameSettings {
            public: true,
            ..name.clone()
        };
        assert!(answers.servers(&[public]).is_empty());
        assert!(answers.take(&name, vec![two]));
    }
}
