//! Limits that a fleet shares: their buckets are in Redis, which decides by its own clock, so that
//! the edges' clocks don't matter.
//!
//! A bucket is one key, and a request takes from it by one call of a script, which nothing can come
//! between. All that a request asks goes in one round trip; keys have no slot of a cluster in
//! common, so each call names one.

use super::asker::Asker;
use super::buckets::Slot;
use super::rate::Limiter;
use super::settings::Quota;
use crate::breaker::Down;
use crate::observe::LinkMetrics;
use crate::redis::{Link, RedisSettings, Script};
use governor::clock::Clock;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

/// What is done without Redis.
const MEANWHILE: &str = "each limit does what its `on_store_error` says";

/// Takes ARGV[3] units, or gives back as many if that is negative, of a bucket of ARGV[2] that gets
/// one every ARGV[1] microseconds. Kept is the time at which the bucket will be full. One that would
/// be later than of an empty bucket is of another clock or another rate.
///
/// Answers, in microseconds: until the bucket is full, a little less so that what rounding adds is
/// no unit more; until there is enough, or -1.
const DRAW: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, burst, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local function left(at) return math.max(0, math.floor(at - now - 1)) end
local full_at = tonumber(redis.call('GET', KEYS[1]) or now)
full_at = math.max(now, math.min(full_at, now + burst * interval))
local next = full_at + cost * interval
local wait = next - now - burst * interval
if wait >= 1 then
  return {left(full_at), math.ceil(wait)}
end
if next > now then
  redis.call('SET', KEYS[1], string.format('%.3f', next), 'PX', math.ceil((next - now) / 1000))
else
  redis.call('DEL', KEYS[1])
end
return {left(next), -1}
";

/// The way to the buckets of a fleet.
pub struct Fleet {
    pub settings: RedisSettings,
    link: Arc<Link>,
    draw: Arc<Script>,
}

/// A question to one bucket.
pub struct Call {
    key: String,
    quota: Quota,
    cost: i64,
}

/// What a bucket says.
pub struct Drawn {
    pub full_in: Duration,
    /// Until there is enough. None: it was taken.
    pub wait: Option<Duration>,
}

impl Fleet {
    /// Does nothing until `connect`.
    pub fn new(settings: RedisSettings, metrics: LinkMetrics) -> Fleet {
        Fleet {
            link: Arc::new(Link::new(settings.clone(), metrics, MEANWHILE)),
            draw: Arc::new(Script::new(DRAW)),
            settings,
        }
    }

    pub fn connect(&self) {
        self.link.connect();
    }

    /// One answer for each call, in order.
    pub(super) async fn draw(
        &self,
        calls: impl Iterator<Item = &Call>,
    ) -> Result<Vec<Drawn>, Down> {
        let calls: Vec<_> = calls.map(Call::words).collect();
        let answers = self.link.run(&self.draw, &calls).await?;
        answers.iter().map(|answer| Drawn::read(answer)).collect()
    }

    /// Behind everybody's back. Should it fail, the bucket is fuller than it says for a while.
    pub(super) fn give_back(&self, calls: Vec<Call>) {
        if calls.is_empty() {
            return;
        }
        let back = |call: Call| Call {
            cost: -call.cost,
            ..call
        };
        let words: Vec<_> = calls.into_iter().map(|call| back(call).words()).collect();
        let (link, draw) = (self.link.clone(), self.draw.clone());
        tokio::spawn(async move {
            let _ = link.run(&draw, &words).await;
        });
    }
}

impl Call {
    pub(super) fn new<C: Clock + Clone>(
        limiter: &Limiter<C>,
        slot: &Slot,
        asker: &Asker<'_>,
    ) -> Call {
        let mut hash = Sha256::new();
        asker.tell(&limiter.settings.key, |bytes| hash.update(bytes));
        let mut key = format!("lakh:limit:{{{}:{}:", limiter.settings.name, slot.tier);
        for byte in &hash.finalize()[..16] {
            // Writing to a String can't fail.
            let _ = write!(key, "{byte:02x}");
        }
        key.push('}');
        Call {
            key,
            quota: *limiter.quota(slot.tier),
            cost: slot.cost.into(),
        }
    }

    /// As `new`, taking nothing.
    pub(super) fn looking<C: Clock + Clone>(
        limiter: &Limiter<C>,
        slot: &Slot,
        asker: &Asker<'_>,
    ) -> Call {
        Call {
            cost: 0,
            ..Call::new(limiter, slot, asker)
        }
    }

    fn words(&self) -> (String, Vec<String>) {
        let interval = self.quota.interval().as_nanos() as f64 / 1000.0;
        let words = vec![
            interval.to_string(),
            self.quota.burst.to_string(),
            self.cost.to_string(),
        ];
        (self.key.clone(), words)
    }
}

impl Drawn {
    fn read(answer: &[i64]) -> Result<Drawn, Down> {
        let &[full_in, wait] = answer else {
            return Err(Down);
        };
        let micros = |n: i64| u64::try_from(n).ok().map(Duration::from_micros);
        Ok(Drawn {
            full_in: micros(full_in).ok_or(Down)?,
            wait: micros(wait),
        })
    }
}
