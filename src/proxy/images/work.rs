//! What a request asks for, if it asks for a rendition.

use super::super::answer::Problem;
use super::super::cached::is_passed;
use super::super::context::Context;
use super::super::request::Request;
use super::super::resource::{Elsewhere, Resource, unix_now};
use crate::cache::{CacheControl, Found, Key, Name, Object, Use, usable};
use crate::compress::no_transform;
use crate::runtime::{Images, Runtime};
use http::header::ACCEPT;
use http::{HeaderMap, HeaderName};
use lakh_image::{AskError, Asked, Client, Output, Plan, Source, SourcePlace, Vary};
use std::borrow::Cow;
use std::sync::Arc;

const SEC_CH_DPR: HeaderName = HeaderName::from_static("sec-ch-dpr");
const SEC_CH_WIDTH: HeaderName = HeaderName::from_static("sec-ch-width");
const WIDTH: HeaderName = HeaderName::from_static("width");

const NOT_LISTED: &str = "Images are not fetched from that host.";

/// A rendition that is asked for.
#[derive(Clone)]
pub struct Work {
    pub images: Arc<Images>,
    pub goal: Goal,
    /// The request's fields that the plan was made by.
    pub vary: Vary,
    pub source: Resource,
    /// Of the source's variant that this request gets, as far as is known.
    pub variant: Key,
    /// The client wants nothing changed: it gets the original. RFC 9111 §5.2.1.6.
    pub as_it_is: bool,
}

/// What is to be made, and where it goes.
#[derive(Clone)]
pub struct Goal {
    pub plan: Plan,
    pub key: Key,
}

impl Goal {
    fn new(plan: Plan, variant: &Key, images: &Images) -> Goal {
        let key = variant.derived(&images.settings.key(&plan));
        Goal { plan, key }
    }
}

impl Work {
    /// What renditions are purged by beside what their sources are: where they are asked for.
    pub fn folders(&self, host: &str) -> Vec<Name> {
        let folders = self.images.settings.folders();
        folders
            .map(|folder| Name::folder(host, folder.as_bytes()))
            .collect()
    }

    /// What the client may have instead before what it waits for is ready.
    pub fn sooner(&self) -> Option<Goal> {
        let plan = self.goal.plan.sooner()?;
        Some(Goal::new(plan, &self.variant, &self.images))
    }

    /// By what is known of the source's variants now.
    pub fn look_again(&mut self, request: &HeaderMap) {
        let source = &self.source;
        self.be_of(source.zone().variant(&source.key, &source.told(request)));
    }

    /// It is made of this variant.
    pub fn be_of(&mut self, variant: Key) {
        let plan = self.goal.plan.clone();
        self.goal = Goal::new(plan, &variant, &self.images);
        self.variant = variant;
    }

    /// Whether nobody is to wait for it together with others: it is no rendition, nothing is to be
    /// stored, or its source is known not to be for sharing.
    pub fn is_apart(&self, request: &HeaderMap, ctx: &Context, now: u64) -> bool {
        if self.as_it_is {
            return true;
        }
        let (source, fields) = (&self.source, self.source.told(request));
        let found = || source.zone().look(source.key.clone(), &fields, now);
        CacheControl::parse(request).no_store
            || matches!(found(), Found::Pass { whose, .. } if is_passed(whose, &fields, ctx))
    }

    /// The original must not stand in for a picture with a watermark, nor for words about it; and
    /// what a stranger has may be anything.
    pub fn may_be_original(&self) -> bool {
        let plan = &self.goal.plan;
        self.source.elsewhere.is_none()
            && plan.watermark().is_none()
            && !matches!(plan.output(), Output::Info | Output::Placeholder)
    }

    /// None: the request asks for the original.
    pub fn of(
        request: &Request<'_>,
        images: &Arc<Images>,
        resource: &Resource,
        ctx: &Context,
    ) -> Result<Option<Work>, Problem> {
        let fields = Fields::of(request.headers);
        let Some(asked) = fields.read(request, unix_now()) else {
            return Ok(None);
        };
        // A path of the application's own, by the rules of this route.
        let is_own_path =
            ctx.target.is_none() && lakh_image::source_target(&asked, &images.settings).is_some();
        let asked = match is_own_path {
            true => lakh_image::ask_by_query(&asked, &images.settings),
            false => lakh_image::ask(&asked, &images.settings),
        };
        let Some(asked) = asked.map_err(refusal)? else {
            return Ok(None);
        };
        let Asked { plan, source, vary } = asked;
        let source = match source {
            Source::Here(target) => resource.beside(request, target.into_bytes(), ctx),
            Source::Elsewhere(place) => elsewhere(place, resource, ctx)?,
        };
        let zone = source.zone();
        let variant = zone.variant(&source.key, &source.told(request.headers));
        let work = Work {
            goal: Goal::new(plan, &variant, images),
            images: images.clone(),
            vary,
            source,
            variant,
            as_it_is: false,
        };
        let as_it_is = no_transform(request.headers) && work.may_be_original();
        Ok(Some(Work { as_it_is, ..work }))
    }

    /// The rendition, if there is a fresh one.
    pub fn stored(&self, request: &HeaderMap, ctx: &Context, now: u64) -> Option<Arc<Object>> {
        if self.as_it_is {
            return None;
        }
        let zone = self.source.zone();
        match ctx.find(zone, self.goal.key.clone(), &HeaderMap::new(), now) {
            Found::Object { object, .. }
                if usable(&object.freshness, request, now) == Use::Fresh =>
            {
                Some(object)
            }
            _ => None,
        }
    }
}

/// Only from hosts that the operator listed.
fn elsewhere(place: SourcePlace, asked: &Resource, ctx: &Context) -> Result<Resource, Problem> {
    let SourcePlace {
        https,
        host,
        target,
    } = place;
    let pool = match https {
        true => ctx.runtime.sources.get(&format!("https://{host}")),
        false => ctx.runtime.sources.get(&host),
    };
    let pool = pool.ok_or(Problem::ImageSource(NOT_LISTED))?.clone();
    Ok(asked.elsewhere(Elsewhere { host, pool }, target.into_bytes()))
}

/// Path and query of the source, where the request's path is in one of the ways to ask for a
/// rendition of it.
pub fn source_target(request: &Request<'_>, runtime: &Runtime) -> Option<String> {
    let images = runtime.images.as_ref()?;
    lakh_image::source_target(&Fields::default().read(request, 0)?, &images.settings)
}

fn refusal(why: AskError) -> Problem {
    match why {
        AskError::Unsigned | AskError::Signature | AskError::Expired => {
            Problem::ImageSignature(why.to_string())
        }
        why => Problem::ImageQuery(why.to_string()),
    }
}

/// The fields that plans are made by.
#[derive(Default)]
struct Fields<'r> {
    accept: Option<Cow<'r, str>>,
    sec_ch_dpr: Option<Cow<'r, str>>,
    sec_ch_width: Option<Cow<'r, str>>,
    width: Option<Cow<'r, str>>,
}

impl<'r> Fields<'r> {
    fn of(headers: &'r HeaderMap) -> Fields<'r> {
        Fields {
            accept: joined(headers, &ACCEPT),
            sec_ch_dpr: joined(headers, &SEC_CH_DPR),
            sec_ch_width: joined(headers, &SEC_CH_WIDTH),
            width: joined(headers, &WIDTH),
        }
    }

    /// None: what isn't UTF-8 is no way to ask.
    fn read<'a>(&'a self, request: &Request<'a>, now: u64) -> Option<lakh_image::Request<'a>> {
        let (path, query) = request.path_and_query();
        Some(lakh_image::Request {
            host: request.host,
            path: std::str::from_utf8(path).ok()?,
            query: match query {
                Some(query) => Some(std::str::from_utf8(query).ok()?),
                None => None,
            },
            client: Client {
                accept: self.accept.as_deref(),
                sec_ch_dpr: self.sec_ch_dpr.as_deref(),
                sec_ch_width: self.sec_ch_width.as_deref(),
                width: self.width.as_deref(),
            },
            now,
        })
    }
}

/// A field's lines as one. RFC 9110 §5.3.
fn joined<'r>(headers: &'r HeaderMap, name: &HeaderName) -> Option<Cow<'r, str>> {
    let lines = headers.get_all(name).into_iter();
    let mut lines = lines.filter_map(|line| line.to_str().ok());
    let first = Cow::Borrowed(lines.next()?);
    Some(lines.fold(first, |joined, line| Cow::Owned(format!("{joined},{line}"))))
}
