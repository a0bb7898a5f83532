//! Records in Redis, sealed, and the lease that one edge of a fleet has to write them.

use super::seal::Seal;
use crate::acme::settings::Secrets;
use crate::breaker::Down;
use crate::observe::LinkMetrics;
use crate::redis::{Link, RedisSettings, Script};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// What is done without Redis.
const MEANWHILE: &str = "no certificate is ordered or renewed, and those that are here stay in use";
/// How long a lease is kept for one who doesn't come again.
const LEASE: Duration = Duration::from_secs(30);

/// Takes, or keeps, the lease of ARGV[1] for ARGV[2] milliseconds; gives it back for 0. Answers whether
/// it is ARGV[1]'s.
const CLAIM: &str = "
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return {0} end
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return {1}
";

pub struct Remote {
    link: Arc<Link>,
    claim: Arc<Script>,
    seal: Seal,
    place: String,
}

pub struct Lease {
    link: Arc<Link>,
    claim: Arc<Script>,
    key: String,
    owner: String,
}

impl Remote {
    pub fn new(
        settings: &RedisSettings,
        secrets: &Secrets,
        place: &str,
        metrics: LinkMetrics,
    ) -> Remote {
        Remote {
            link: Arc::new(Link::new(settings.clone(), metrics, MEANWHILE)),
            claim: Arc::new(Script::new(CLAIM)),
            seal: Seal::new(secrets),
            place: place.to_owned(),
        }
    }

    pub fn connect(&self) {
        self.link.connect();
    }

    pub async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, String> {
        // At the start the connection may not be there yet.
        self.link.ready().await.map_err(down)?;
        let key = self.key(name);
        let Some(sealed) = self.link.get(&key).await.map_err(down)? else {
            return Ok(None);
        };
        let opened = self.seal.open(&key, &sealed);
        let why = || {
            format!("{key} in Redis was not sealed with a line of acme.secret_file, or is damaged")
        };
        opened.map(Some).ok_or_else(why)
    }

    pub async fn put(&self, name: &str, record: &[u8]) -> Result<(), String> {
        let key = self.key(name);
        let sealed = self.seal.seal(&key, record);
        self.link.keep(&key, sealed.into()).await.map_err(down)
    }

    pub async fn lease(&self) -> Result<Option<Lease>, String> {
        let lease = Lease {
            link: self.link.clone(),
            claim: self.claim.clone(),
            key: self.key("lock"),
            owner: format!("{:032x}", fastrand::u128(..)),
        };
        let is_ours = lease.claim(LEASE).await.map_err(down)?;
        Ok(is_ours.then_some(lease))
    }

    fn key(&self, name: &str) -> String {
        format!("lakh:acme:{}:{name}", self.place)
    }
}

impl Lease {
    /// Until another one may have it.
    pub async fn keep(&self) {
        let mut since = Instant::now();
        loop {
            sleep(LEASE / 3).await;
            let now = Instant::now();
            match self.claim(LEASE).await {
                Ok(true) => since = now,
                Ok(false) => return,
                Err(Down) if since.elapsed() > LEASE => return,
                Err(Down) => {}
            }
        }
    }

    /// Without an answer it ends by itself.
    pub async fn release(self) {
        let _ = self.claim(Duration::ZERO).await;
    }

    async fn claim(&self, time: Duration) -> Result<bool, Down> {
        let words = vec![self.owner.clone(), time.as_millis().to_string()];
        let answers = self
            .link
            .run(&self.claim, &[(self.key.clone(), words)])
            .await?;
        Ok(answers == [[1]])
    }
}

fn down(Down: Down) -> String {
    "acme.storage: Redis does not answer".to_owned()
}
