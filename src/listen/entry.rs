//! How a connection came in.

use super::tls::Secured;
use std::sync::Arc;

/// As far as requests on it have to know.
#[derive(Debug)]
pub struct Entry {
    /// Its listener's name.
    pub listener: Arc<str>,
    pub manner: Manner,
}

#[derive(Debug)]
pub enum Manner {
    Plain,
    Secured(Secured),
    /// By a listener that sends all to HTTPS, on this port.
    ToHttps(u16),
}

impl Entry {
    pub fn plain(listener: &str) -> Arc<Entry> {
        Arc::new(Entry {
            listener: listener.into(),
            manner: Manner::Plain,
        })
    }

    /// What was agreed on, inside TLS.
    pub fn secured(&self) -> Option<&Secured> {
        match &self.manner {
            Manner::Secured(secured) => Some(secured),
            Manner::Plain | Manner::ToHttps(_) => None,
        }
    }
}
