//! What a request asks for, whichever way it was written: one plan, and where its source is.
//!
//! Called by the request path, once to learn whose route a path form is for (`source_target`), and
//! once for the plan. Pure: the clock and the client's fields are handed in. All ways write into one
//! `Wish`; only there it becomes a plan, so that the same wish has the same plan and the same key.

mod cloudflare;
mod hints;
mod imgproxy;
mod preset;
mod query;
mod sign;
mod source;
mod text;
mod value;
mod wish;

#[cfg(test)]
mod tests;

pub use hints::{Client, Vary};
pub use sign::Keys;
pub use source::{Place, Source};
pub use wish::{Field, Wish};

use super::plan::Plan;
use super::settings::{ImageSettings, PathForm};
use sign::Proof;

/// What is read of a request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    pub host: &'r str,
    /// As it was sent.
    pub path: &'r str,
    pub query: Option<&'r str>,
    pub client: Client<'r>,
    /// Unix time in seconds.
    pub now: u64,
}

/// A rendition that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub plan: Plan,
    pub source: Source,
    /// The request's fields that the plan was made by.
    pub vary: Vary,
}

/// Why there is no rendition, in words for whoever wrote the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    #[error("{} must be {}", .0.short(), .0.rule())]
    Value(Field),
    #[error("{} is given twice with different values; give it once", .0.short())]
    Twice(Field),
    #[error("preset must be one of: {0}")]
    Preset(String),
    #[error("{0}")]
    Watermark(String),
    #[error("{0} means nothing here")]
    Unknown(String),
    #[error("{0}")]
    Source(&'static str),
    #[error("it would have more than {0} pixels")]
    TooLarge(u64),
    #[error("only what is signed, or a preset alone, is made here")]
    Unsigned,
    #[error("the signature is not that of this URL")]
    Signature,
    #[error("its time is over")]
    Expired,
}

/// A request as one of the ways has it, before policy.
#[derive(Debug, Default)]
struct Written<'r> {
    presets: Vec<String>,
    wish: Wish,
    source: Source,
    proof: Proof<'r>,
}

/// The rendition that a request asks for; None when it asks for none.
pub fn ask(request: &Request<'_>, settings: &ImageSettings) -> Result<Option<Asked>, AskError> {
    match in_path(request, settings) {
        Some(written) => written?.resolve(request, settings).map(Some),
        None => ask_by_query(request, settings),
    }
}

/// As `ask`, for a path that only looks as if it were a way to ask: the query alone counts.
pub fn ask_by_query(
    request: &Request<'_>,
    settings: &ImageSettings,
) -> Result<Option<Asked>, AskError> {
    let written = query::read(request, settings)?;
    written
        .map(|written| written.resolve(request, settings))
        .transpose()
}

/// Path and query of the source, where a path form names one on the host that was asked: the request
/// is for whatever route that is for.
pub fn source_target(request: &Request<'_>, settings: &ImageSettings) -> Option<String> {
    match in_path(request, settings)?.ok()?.source {
        Source::Here(target) => Some(target),
        Source::Elsewhere(_) => None,
    }
}

/// Where the source is of what a request asks for, whether it would be made or not.
pub fn source_of(request: &Request<'_>, settings: &ImageSettings) -> Option<Source> {
    let written = match in_path(request, settings) {
        Some(written) => written.ok(),
        None => query::read(request, settings).ok().flatten(),
    };
    Some(written?.source)
}

fn in_path<'r>(
    request: &Request<'r>,
    settings: &ImageSettings,
) -> Option<Result<Written<'r>, AskError>> {
    let read = |form: &PathForm| match form {
        PathForm::Presets => preset::read(request, settings),
        PathForm::Cloudflare => cloudflare::read(request, settings),
        PathForm::Imgproxy => imgproxy::read(request, settings),
    };
    settings.paths.iter().find_map(read)
}

impl Plan {
    /// The plan that a query alone asks for, for those who have the source already. None when it
    /// holds no image parameter.
    pub fn from_request(
        query: Option<&str>,
        accept: Option<&str>,
        settings: &ImageSettings,
    ) -> Result<Option<Self>, AskError> {
        let client = Client {
            accept,
            ..Client::default()
        };
        let request = Request {
            host: "",
            path: "/",
            query,
            client,
            now: 0,
        };
        Ok(ask_by_query(&request, settings)?.map(|asked| asked.plan))
    }
}

impl Written<'_> {
    fn resolve(self, request: &Request<'_>, settings: &ImageSettings) -> Result<Asked, AskError> {
        self.admit(request.now, settings)?;
        let mut wish = Wish::default();
        for name in &self.presets {
            wish = find_preset(name, settings)?.clone().over(wish);
        }
        let (plan, vary) = self.wish.over(wish).plan(&request.client, settings)?;
        Ok(Asked {
            plan,
            source: self.source,
            vary,
        })
    }

    /// A preset alone is one of few; all else needs a signature where there are keys.
    fn admit(&self, now: u64, settings: &ImageSettings) -> Result<(), AskError> {
        if self.proof.expires.is_some_and(|end| end < now) {
            return Err(AskError::Expired);
        }
        let Some(keys) = &settings.signing else {
            return Ok(());
        };
        let is_here = matches!(self.source, Source::Here(_));
        let is_preset = is_here && !self.presets.is_empty() && self.wish == Wish::default();
        match &self.proof.signature {
            Some(signature) if keys.verify(&self.proof.message, signature) => Ok(()),
            _ if is_preset => Ok(()),
            Some(_) => Err(AskError::Signature),
            None => Err(AskError::Unsigned),
        }
    }
}

fn find_preset<'s>(name: &str, settings: &'s ImageSettings) -> Result<&'s Wish, AskError> {
    settings.presets.get(name).ok_or_else(|| {
        let names: Vec<&str> = settings.presets.keys().map(String::as_str).collect();
        AskError::Preset(names.join(", "))
    })
}
