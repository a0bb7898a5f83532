//! What an operator is told about a request: as JSON, and as lines to read.

use serde::{Deserialize, Serialize};
use std::fmt;

#[derive(Debug, Deserialize, Serialize)]
pub struct Explanation {
    pub listener: Spot,
    pub client: Spot,
    /// None: no route fits.
    pub route: Option<Spot>,
    /// Routes that nearly got it.
    pub others: Vec<Other>,
    pub limits: Vec<Fill>,
    pub outcome: Outcome,
    pub cache: Option<CacheSaid>,
    pub image: Option<ImageSaid>,
    pub upstream: Option<UpstreamSaid>,
}

/// Something that was found, and why that.
#[derive(Debug, Deserialize, Serialize)]
pub struct Spot {
    pub name: String,
    pub why: String,
}

#[derive(Debug, Deserialize, Serialize)]
pub struct Other {
    pub name: String,
    pub why: String,
}

/// How a limit stands, before this request.
#[derive(Debug, Deserialize, Serialize)]
pub struct Fill {
    pub name: String,
    pub remaining: u32,
    pub burst: u32,
    /// Seconds until there is more; on a refusal, until there is enough.
    pub more_in: u32,
    pub refuses: bool,
    pub dry_run: bool,
}

/// What the edge does with it.
#[derive(Debug, Deserialize, Serialize)]
pub struct Outcome {
    pub what: What,
    /// Of what the edge itself answers.
    pub status: Option<u16>,
    /// As in the answer's `type`.
    pub problem: Option<String>,
    pub why: String,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    Refused,
    /// What an authority that issues certificates looks for.
    Challenge,
    /// What a page may ask is said by the edge.
    Preflight,
    /// It may be sent on no more: Max-Forwards.
    Options,
    Purge,
    Hit,
    Stale,
    /// Fetched from a server, for the cache.
    Miss,
    /// A picture that is made first.
    Render,
    /// Asked of a server, for this client alone.
    Pass,
}

#[derive(Debug, Deserialize, Serialize)]
pub struct CacheSaid {
    pub zone: String,
    /// What tells the object from others.
    pub key: String,
    /// hit, stale, miss, pass.
    pub state: String,
    pub why: String,
    /// Seconds that it is still fresh; negative when it is stale.
    pub ttl: Option<i64>,
    pub age: Option<u64>,
}

#[derive(Debug, Deserialize, Serialize)]
pub struct ImageSaid {
    pub plan: String,
    /// hit, stale, miss: of the rendition.
    pub state: String,
    /// Of the original, where that has to be looked for.
    pub source: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
pub struct UpstreamSaid {
    pub name: String,
    /// The one that would be asked now. None: none can be.
    pub server: Option<String>,
    pub why: String,
    /// Requests at its servers, and that wait for them.
    pub running: usize,
    pub waiting: usize,
    /// As many may be at the servers; none: any.
    pub concurrency: Option<usize>,
    pub servers: Vec<ServerSaid>,
}

#[derive(Debug, Deserialize, Serialize)]
pub struct ServerSaid {
    pub address: String,
    pub state: String,
    pub in_flight: usize,
    pub why: Option<String>,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        spot(f, "listener", &self.listener)?;
        spot(f, "client", &self.client)?;
        match &self.route {
            Some(route) => spot(f, "route", route)?,
            None => line(f, "route", "none")?,
        }
        for other in &self.others {
            line(f, "", &format!("not {}: it {}", other.name, other.why))?;
        }
        self.limits
            .iter()
            .try_for_each(|limit| line(f, "limit", &limit.to_string()))?;
        if let Some(cache) = &self.cache {
            line(f, "cache", &cache.to_string())?;
        }
        if let Some(image) = &self.image {
            line(f, "image", &image.to_string())?;
        }
        if let Some(upstream) = &self.upstream {
            line(f, "upstream", &upstream.to_string())?;
            for server in &upstream.servers {
                line(f, "", &server.to_string())?;
            }
        }
        write!(f, "{:<10}{}", "outcome", self.outcome)
    }
}

fn spot(f: &mut fmt::Formatter<'_>, name: &str, spot: &Spot) -> fmt::Result {
    match spot.why.is_empty() {
        true => line(f, name, &spot.name),
        false => line(f, name, &format!("{} ({})", spot.name, spot.why)),
    }
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, said: &str) -> fmt::Result {
    writeln!(f, "{name:<10}{said}")
}

impl fmt::Display for Fill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} of {} left",
            self.name, self.remaining, self.burst
        )?;
        match (self.refuses, self.dry_run) {
            (true, false) => write!(f, "; it refuses, for {}s", self.more_in),
            (true, true) => write!(f, "; it would refuse, but for dry_run"),
            (false, _) if self.remaining < self.burst => write!(f, ", more in {}s", self.more_in),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for CacheSaid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {} as {}", self.state, self.zone, self.key)?;
        if let Some(ttl) = self.ttl {
            write!(f, ", ttl {ttl}s")?;
        }
        match self.why.is_empty() {
            true => Ok(()),
            false => write!(f, " ({})", self.why),
        }
    }
}

impl fmt::Display for ImageSaid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.plan, self.state)?;
        match &self.source {
            Some(source) => write!(f, ", its original: {source}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for UpstreamSaid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = self.server.as_deref().unwrap_or("no server");
        write!(f, "{}, {server} ({})", self.name, self.why)?;
        match self.concurrency {
            Some(most) => write!(
                f,
                ", {} of {most} at once, {} wait",
                self.running, self.waiting
            ),
            None => Ok(()),
        }
    }
}

impl fmt::Display for ServerSaid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}, {} in flight",
            self.address, self.state, self.in_flight
        )?;
        match &self.why {
            Some(why) => write!(f, ": {why}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.what {
            What::Refused => "refused",
            What::Challenge => "answered here: what an authority looks for (ACME)",
            What::Preflight => "answered here: what a page may ask",
            What::Options => "answered here: it may be sent on no more",
            What::Purge => "takes back what is stored",
            What::Hit => "answered from the cache",
            What::Stale => "answered from the cache, and fetched anew behind it",
            What::Miss => "fetched for the cache",
            What::Render => "a picture that is made first",
            What::Pass => "asked of a server, for this client alone",
        };
        f.write_str(what)?;
        if let (Some(status), Some(problem)) = (self.status, &self.problem) {
            write!(f, " with {status} {problem}")?;
        }
        match self.why.is_empty() {
            true => Ok(()),
            false => write!(f, ": {}", self.why),
        }
    }
}
