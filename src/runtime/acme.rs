//! What orders certificates: found again by a configuration that wants the same, and given a way to its
//! authority.

use super::Foundation;
use crate::acme::{Agent, Exchange, Wanted};
use crate::config::Config;
use crate::upstream::Tls;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of what an authority says, and how long it may take to say it.
const AUTHORITY: usize = 1 << 20;
const AUTHORITY_PATIENCE: Duration = Duration::from_secs(30);

impl Foundation {
    /// Until certificates are to be had that there were not.
    pub async fn certificates_changed(&self) {
        self.held.changed().await;
    }

    /// Until what is kept of certificates is in hand, as far as it could be read.
    pub(super) async fn certificates_looked_for(&self) {
        let acme = self.acme.lock().expect("no code panics with it").clone();
        if let Some(acme) = acme {
            acme.looked_once().await;
        }
    }

    /// As `redis_for`, of what orders certificates.
    pub(super) fn acme_for(&self, config: &Config) -> Result<Option<Arc<Agent>>, String> {
        let Some(wanted) = config.wanted_certificates() else {
            return Ok(None);
        };
        let known = self.acme.lock().expect("no code panics with it").clone();
        if let Some(known) = known.filter(|agent| *agent.wanted() == wanted) {
            return Ok(Some(known));
        }
        let (exchange, metrics) = (self.authority(&wanted)?, self.metrics.acme.clone());
        let agent = Agent::new(wanted, self.held.clone(), exchange, metrics)?;
        Ok(Some(Arc::new(agent)))
    }

    /// How an authority is asked.
    fn authority(&self, wanted: &Wanted) -> Result<Exchange, String> {
        let (client, trust) = (self.client.clone(), Tls::new(None));
        let trust = Arc::new(match &wanted.acme.ca_file {
            Some(file) => trust.trusting(file)?,
            None => trust,
        });
        Ok(Arc::new(move |request| {
            let (client, trust) = (client.clone(), trust.clone());
            let limit = AUTHORITY_PATIENCE;
            let asked = async move { client.exchange(request, &trust, AUTHORITY, limit).await };
            Box::pin(asked)
        }))
    }

    pub(super) fn commit_acme(&self, acme: Option<Arc<Agent>>) {
        let mut known = self.acme.lock().expect("no code panics with it");
        let is_known = known.as_ref().map(Arc::as_ptr) == acme.as_ref().map(Arc::as_ptr);
        if is_known {
            return;
        }
        if let Some(before) = &*known {
            before.stop();
        }
        if let Some(agent) = &acme {
            agent.start();
        }
        *known = acme;
    }
}
