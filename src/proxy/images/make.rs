//! How a rendition is made: on a task of its own, so that it survives the client that asked first,
//! and so that what comes too late for its clients is stored for the next ones.

use super::super::context::Context;
use super::super::fill;
use super::super::request::Request;
use super::keep::made_in;
use super::made::{for_now, promote, recall};
use super::obtain::{self, Obtain, Obtained, Unread};
use super::render::{Rendering, Unmade};
use super::work::Goal;
use super::{Edge, Work};
use crate::cache::{Filling, Key, Name, Object, Opening};
use crate::compress::no_transform;
use crate::error::Kind;
use crate::runtime::Validators;
use crate::upstream::Response;
use http::{HeaderMap, HeaderName, StatusCode};
use lakh_image::Rendition;
use pingora::http::RequestHeader;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// For whom a rendition is made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// All who wait for it now.
    All,
    /// One client that waits with nobody.
    One,
    /// Those who come: it is made ahead of them.
    Later,
}

/// Starts the making of a rendition.
pub fn make(
    edge: &Arc<Edge>,
    request: &RequestHeader,
    ctx: &Context,
    work: Work,
    filling: Filling<Response>,
    whose: For,
) -> pingora::Result<()> {
    // The source of what is not made is like anybody's.
    let alone = whose == For::One && !work.as_it_is;
    let max_source = work.images.settings.max_source;
    let folders = work.folders(Request::of(request).host);
    let obtain = Obtain::new(
        edge,
        request,
        ctx,
        &work.source,
        max_source,
        alone,
        &folders,
    )?;
    let making = Making {
        edge: edge.clone(),
        root: work.source.root(&Request::of(request), ctx),
        fields: work.source.told(&request.headers).into_owned(),
        kept: !work.as_it_is,
        work,
        folders,
        filling: Arc::new(filling),
        whose,
    };
    tokio::spawn(making.run(obtain));
    Ok(())
}

/// One that is being made: `keep` says what is stored of it, `instead` what goes out in its place.
pub(super) struct Making {
    pub edge: Arc<Edge>,
    pub work: Work,
    /// What it is purged by beside its source's names.
    pub folders: Vec<Name>,
    /// What it hangs on in slower tiers.
    pub root: Key,
    /// What the source's server is told of the request.
    pub fields: HeaderMap,
    pub filling: Arc<Filling<Response>>,
    whose: For,
    /// Its source may be shared, and so may what is made of it.
    pub kept: bool,
}

impl Making {
    async fn run(mut self, obtain: Obtain) {
        if self.whose != For::One
            && let Some((object, tier)) = self.recall().await
        {
            self.open(Opening::Recalled(object, tier));
            return obtain.abandon();
        }
        match obtain.run(&self.work.images).await {
            Obtained::Object(original) => {
                self.is_of(&original);
                self.work_on(&original).await;
            }
            Obtained::Own(original) => {
                self.kept = false;
                self.work_on(&original).await;
            }
            Obtained::Private(answer) => {
                self.kept = false;
                self.work_on_private(answer).await;
            }
            Obtained::NotShared => self.filling.open(Opening::Private(None)),
            Obtained::Failed(Kind::Full) => self.open(self.stand_in(None)),
            Obtained::Failed(kind) => self.open(Opening::Failed(kind)),
        }
    }

    /// What the source varies by is known now.
    fn is_of(&mut self, original: &Object) {
        let (source, vary) = (&self.work.source, self.vary(original));
        let place = source
            .zone()
            .place(&source.key, &vary, &self.fields, &original.names);
        self.work.be_of(place);
    }

    pub fn vary(&self, original: &Object) -> Vec<HeaderName> {
        fill::selecting(&self.work.source.route, &original.headers)
    }

    async fn work_on(&self, original: &Arc<Object>) {
        if original.status != StatusCode::OK {
            let refused = self.refused(original.status);
            let opening = refused.unwrap_or_else(|| Opening::Object(original.clone()));
            return self.open(opening);
        }
        if self.work.as_it_is || no_transform(&original.headers) {
            return self.open(self.unmade(Unmade::Failed, original));
        }
        match self.kept {
            true => self.render(original).await,
            // Nobody leads; who follows looks again.
            false if self.whose == For::Later => self.filling.open(Opening::Private(None)),
            false => self.render_once(original).await,
        }
    }

    async fn work_on_private(&self, answer: Response) {
        if answer.head().status != StatusCode::OK {
            return self.open(self.unworked(answer));
        }
        let names = self.filling.names().clone();
        let tell = self.edge.runtime.load().invalidate_headers.clone();
        match obtain::whole(answer, &self.work.images, names, &tell).await {
            Ok(original) => self.work_on(&original).await,
            Err(Unread::TooLarge(answer)) => self.open(self.unworked(answer)),
            Err(Unread::Full(answer)) => self.open(self.unread(answer)),
            Err(Unread::Failed(kind)) => self.open(Opening::Failed(kind)),
        }
    }

    fn unworked(&self, answer: Response) -> Opening<Response> {
        let refused = self.refused(answer.head().status);
        refused.unwrap_or(Opening::Private(Some(answer)))
    }

    /// What is said instead of an answer that is not worked on, where that must not be seen.
    /// Redirects are not followed.
    fn refused(&self, status: StatusCode) -> Option<Opening<Response>> {
        if self.work.source.elsewhere.is_some() {
            return Some(Opening::Failed(Kind::BadAnswer));
        }
        let is_hidden = status.is_success() && !self.work.may_be_original();
        is_hidden.then_some(Opening::Failed(Kind::NotAPicture))
    }

    /// To all who wait, or to the one that leads, where others may have to get something else: they
    /// look again then.
    fn open(&self, opening: Opening<Response>) {
        let is_for_all = self.kept && self.work.goal.key == *self.filling.key();
        self.filling.open(match opening {
            _ if is_for_all => opening,
            Opening::Object(object) | Opening::Recalled(object, _) => Opening::Own(object),
            Opening::Failed(_) if self.whose != For::One => Opening::Private(None),
            opening => opening,
        });
    }

    /// What a slower tier has of it, fresh.
    async fn recall(&mut self) -> Option<(Arc<Object>, &'static str)> {
        let recalled = recall(&self.work, &self.root, &self.fields).await?;
        if self.filling.is_outdated() {
            return None;
        }
        self.work.goal.key = recalled.key.clone();
        Some(promote(self.work.source.zone(), recalled))
    }

    /// Answers all who wait; what takes longer than they should wait goes on without them.
    async fn render(&self, original: &Arc<Object>) {
        let (images, goal) = (&self.work.images, &self.work.goal);
        if let Some(object) = self.renewed(original).await {
            return self.open(Opening::Object(object));
        }
        if images.late.has(&goal.key) {
            let opening = self.meanwhile(original).await;
            return self.open(opening);
        }
        let mut rendering = self.begin(goal, original).await;
        match timeout(self.patience(), rendering.outcome()).await {
            Ok(outcome) => {
                let opening = self.settle(outcome, original);
                let made = made_in(&opening);
                self.open(opening);
                self.learn(made, &mut rendering, original).await;
            }
            Err(_) => {
                let _late = images.late.add(&goal.key);
                self.edge.foundation.image_metrics.late.inc();
                rendering.keep();
                let opening = self.meanwhile(original).await;
                self.open(opening);
                let outcome = rendering.outcome().await;
                let settled = self.settle(outcome, original);
                self.learn(made_in(&settled), &mut rendering, original)
                    .await;
            }
        }
    }

    /// For one client. What is not kept is not worth the time that takes longest.
    async fn render_once(&self, original: &Arc<Object>) {
        let sooner = self.work.sooner();
        let goal = sooner.as_ref().unwrap_or(&self.work.goal);
        let mut rendering = self.begin(goal, original).await;
        let max_time = self.work.images.settings.max_time;
        self.open(match timeout(max_time, rendering.outcome()).await {
            Ok(outcome) => self.settle(outcome, original),
            Err(_) => self.stand_in(Some(original)),
        });
    }

    async fn begin(&self, goal: &Goal, original: &Arc<Object>) -> Rendering {
        let awaited = (self.whose != For::Later).then(|| self.filling.clone());
        let is_unknown = self.kept && Validators::of(original).is_none();
        Rendering::begin(
            &self.edge,
            &self.work,
            &goal.plan,
            original.body.clone(),
            awaited,
            is_unknown.then(|| original.clone()),
        )
        .await
    }

    /// How long clients wait.
    fn patience(&self) -> Duration {
        let settings = &self.work.images.settings;
        match self.work.sooner() {
            Some(_) => settings.avif_wait.min(settings.max_time),
            None => settings.max_time,
        }
    }

    /// For those who would wait too long: WebP, where that is what they would have had without AVIF.
    async fn meanwhile(&self, original: &Arc<Object>) -> Opening<Response> {
        let Some(goal) = self.work.sooner() else {
            return self.stand_in(Some(original));
        };
        let object = match self.stored(&goal.key) {
            Some(object) => object,
            None => {
                let mut rendering = self.begin(&goal, original).await;
                let outcome = timeout(self.work.images.settings.max_time, rendering.outcome());
                match outcome.await {
                    Ok(Ok(made)) => self.keep(made, &goal, original),
                    _ => return self.stand_in(Some(original)),
                }
            }
        };
        self.edge.foundation.image_metrics.stand_in("webp");
        Opening::Object(for_now(&object, "webp"))
    }

    /// Stores what was made, or what is to be had instead.
    fn settle(
        &self,
        outcome: Result<Rendition, Unmade>,
        original: &Arc<Object>,
    ) -> Opening<Response> {
        match outcome {
            Ok(made) => Opening::Object(self.keep(made, &self.work.goal, original)),
            Err(unmade) => self.unmade(unmade, original),
        }
    }
}
