//! The way of a request through the cache, without its sockets: `ask` does what `proxy::cached`
//! does with policy, keys, zone and fills, `head_comes` and `body_ends` what `proxy::fill` does,
//! `write` what a write's answer does. The origin's answers take as long as the steps say, so that
//! fills, refreshes and writes overlap.

use super::script::{Ask, Say, Write, date};
use crate::cache::{
    Asked, CacheControl, CacheSettings, Filling, Follower, Found, Freshness, Head, Joined, Key,
    KeyRules, KeySettings, Name, Names, Object, Opened, Opening, Outcome, Parts, Progress, Purges,
    RouteTtl, Scheme, Tiers, Url, Use, Zone, confirms, invalidates, may_look_up, not_modified,
    parts, storable, usable, vary_names,
};
use crate::error::Kind;
use crate::observe::Metrics;
use bytes::Bytes;
use http::header::{AGE, DATE, ETAG, LAST_MODIFIED, RANGE};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// As in `proxy::cached` and `proxy::fill`.
const LOOKS: usize = 3;

/// Names an answer's exchange, so that the model knows where each stored field came from.
const EXCHANGE: HeaderName = HeaderName::from_static("x-exchange");

/// What the origin was asked by the cache, and what it said.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub uri: usize,
    pub client: usize,
    pub request: HeaderMap,
    pub status: u16,
    pub fields: HeaderMap,
    /// Seconds of Unix time, and the number of the step.
    pub asked_at: u64,
    pub asked_in: usize,
    pub answered_at: u64,
    pub answered_in: Option<usize>,
    pub stored_in: Option<usize>,
    /// The exchange that this one's 304 confirms.
    pub confirms: Option<usize>,
}

/// What a client got.
#[derive(Clone, Debug)]
pub struct Served {
    pub client: usize,
    pub ask: Ask,
    pub asked_at: u64,
    pub asked_in: usize,
    pub at: u64,
    pub how: How,
}

#[derive(Clone, Debug, PartialEq)]
pub enum How {
    /// From the store, without asking the origin before.
    Stored {
        shown: Shown,
        why: Why,
    },
    /// By a fill or a revalidation that it led or shared.
    Fetched {
        shown: Shown,
        led: bool,
    },
    /// The origin was asked for this client alone.
    Own(usize),
    Passed,
    OnlyIfCached,
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Why {
    Fresh,
    WhileRevalidating,
    OnError,
}

/// An answer made from what is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// The exchange that last changed its fields.
    pub exchange: usize,
    pub status: u16,
    pub body: Bytes,
    pub age: u64,
    /// Of the stored answer.
    pub fields: HeaderMap,
}

pub struct World {
    pub now: u64,
    pub step: usize,
    pub ttl: RouteTtl,
    pub key_headers: Vec<HeaderName>,
    pub exchanges: Vec<Exchange>,
    /// Which URI was written to, and in which step.
    pub writes: Vec<(usize, usize)>,
    pub served: Vec<Served>,
    zone: Zone<usize>,
    rules: KeyRules,
    fills: Vec<Fill>,
    waiting: Vec<Waiting>,
    clients: usize,
}

/// A fill under way; `head` once its head has come.
struct Fill {
    filling: Filling<usize>,
    key: Key,
    stale: Option<Arc<Object>>,
    exchange: usize,
    fails: bool,
    head: Option<(Key, Freshness)>,
}

struct Client {
    number: usize,
    ask: Ask,
    asked_at: u64,
    asked_in: usize,
    looks: usize,
}

struct Waiting {
    client: Client,
    follower: Follower<usize>,
    stale: Option<(Arc<Object>, bool)>,
}

impl World {
    pub fn new(ttl: RouteTtl, key_headers: Vec<HeaderName>) -> World {
        let settings = CacheSettings {
            invalidate_header: None,
            name: "z".into(),
            memory: 64 << 20,
            max_object: 1 << 20,
            disk: None,
            redis: None,
        };
        let metrics = Metrics::new().cache("z");
        World {
            now: 1_000_000,
            step: 0,
            ttl,
            key_headers: key_headers.clone(),
            exchanges: Vec::new(),
            writes: Vec::new(),
            served: Vec::new(),
            zone: Zone::new(
                settings,
                metrics,
                Arc::<Purges>::default(),
                Tiers::default(),
            ),
            rules: KeyRules::new(&KeySettings {
                headers: key_headers,
                ..KeySettings::default()
            }),
            fills: Vec::new(),
            waiting: Vec::new(),
            clients: 0,
        }
    }

    pub fn is_filling(&self) -> bool {
        !self.fills.is_empty()
    }

    /// `say` is what the origin says, should it be asked.
    pub fn ask(&mut self, ask: &Ask, say: &Say) {
        self.clients += 1;
        let client = Client {
            number: self.clients,
            ask: ask.clone(),
            asked_at: self.now,
            asked_in: self.step,
            looks: 0,
        };
        let asked = Asked {
            method: &ask.method,
            headers: &ask.fields,
            authorized: false,
        };
        if !may_look_up(&asked) || CacheControl::parse(&ask.fields).no_store {
            return self.serve(&client, How::Passed);
        }
        self.look(client, say);
        self.wake(say);
    }

    fn look(&mut self, mut client: Client, say: &Say) {
        let (base, fields) = (self.key(&client.ask), client.ask.fields.clone());
        client.looks += 1;
        if client.looks > LOOKS {
            return self.serve(&client, How::Passed);
        }
        let (key, stale) = match self.zone.find(base, &fields, self.now) {
            Found::Object { key, object } => match usable(&object.freshness, &fields, self.now) {
                Use::Fresh => return self.hit(&client, &object, Why::Fresh),
                Use::StaleWhileRevalidate => {
                    let names = |since| self.names(client.ask.uri, since);
                    if let Some(filling) = self.zone.fills.lead(&key, names) {
                        self.start(filling, &client, Some(object.clone()), say);
                    }
                    return self.hit(&client, &object, Why::WhileRevalidating);
                }
                Use::Revalidate { stale_if_error } => (key, Some((object, stale_if_error))),
            },
            Found::Pass { .. } => return self.serve(&client, How::Passed),
            Found::Nothing { key } => (key, None),
        };
        if CacheControl::parse(&fields).only_if_cached {
            return self.serve(&client, How::OnlyIfCached);
        }
        if fields.contains_key(RANGE) {
            return self.serve(&client, How::Passed);
        }
        let names = |since| self.names(client.ask.uri, since);
        let now = self.now;
        let will_do = |head: &Head| usable(&head.freshness, &fields, now) == Use::Fresh;
        let follower = match self.zone.fills.join(&key, will_do, names) {
            Joined::Follows(follower) => follower,
            Joined::Leads(filling, follower) => {
                let known = stale.as_ref().map(|(object, _)| object.clone());
                self.start(filling, &client, known, say);
                follower
            }
        };
        self.waiting.push(Waiting {
            client,
            follower,
            stale,
        });
    }

    /// `fill::run`, up to the request.
    fn start(
        &mut self,
        filling: Filling<usize>,
        client: &Client,
        stale: Option<Arc<Object>>,
        say: &Say,
    ) {
        let (key, fields) = (self.key(&client.ask), &client.ask.fields);
        if let Found::Object { object, .. } = self.zone.find(key.clone(), fields, self.now)
            && usable(&object.freshness, fields, self.now) == Use::Fresh
        {
            return filling.open(Opening::Object(object));
        }
        let number = self.exchanges.len();
        let mut fields = say.fields(self.now);
        let is_conditional = stale.as_ref().is_some_and(|stale| {
            stale.headers.contains_key(ETAG) || stale.headers.contains_key(LAST_MODIFIED)
        });
        let confirms = stale
            .as_ref()
            .filter(|_| is_conditional && say.not_modified)
            // Else it is asked again without a condition.
            .filter(|stale| confirms(&fields, &stale.headers))
            .map(|stale| exchange_of(&stale.headers));
        fields.insert(EXCHANGE, number.into());
        self.exchanges.push(Exchange {
            uri: client.ask.uri,
            client: client.number,
            request: client.ask.fields.clone(),
            status: if confirms.is_some() { 304 } else { say.status },
            fields,
            asked_at: self.now,
            asked_in: self.step,
            answered_at: 0,
            answered_in: None,
            stored_in: None,
            confirms,
        });
        self.fills.push(Fill {
            filling,
            key,
            stale,
            exchange: number,
            fails: say.fails,
            head: None,
        });
    }

    /// The head of one of the answers that are still to come; 0 is the one asked for last.
    pub fn head_comes(&mut self, which: usize, say: &Say) {
        let open = (0..self.fills.len()).filter(|i| self.fills[*i].head.is_none());
        let open: Vec<_> = open.collect();
        if let Some(i) = open.iter().nth_back(which % open.len().max(1)) {
            self.settle(*i);
            self.wake(say);
        }
    }

    /// The rest of one of the bodies that are still to come.
    pub fn body_ends(&mut self, which: usize) {
        let open = (0..self.fills.len()).filter(|i| self.fills[*i].head.is_some());
        let open: Vec<_> = open.collect();
        if let Some(i) = open.iter().nth_back(which % open.len().max(1)) {
            self.finish(*i);
        }
    }

    /// `fill::settle`.
    fn settle(&mut self, i: usize) {
        let now = self.now;
        let fill = &self.fills[i];
        if fill.fails {
            let fill = self.fills.remove(i);
            return fill.filling.open(Opening::Failed(Kind::Connect));
        }
        let exchange = &mut self.exchanges[fill.exchange];
        exchange.fields.entry(DATE).or_insert_with(|| date(now));
        exchange.answered_at = now;
        exchange.answered_in = Some(self.step);
        let status = StatusCode::from_u16(exchange.status).expect("a status");
        if let Some(stale) = &fill.stale {
            if status == StatusCode::NOT_MODIFIED {
                return self.revalidated(i);
            }
            if status.is_server_error() && stale.freshness.hides_errors(now) {
                let fill = self.fills.remove(i);
                return fill.filling.open(Opening::Failed(Kind::BadAnswer));
            }
        }
        let asked = Asked {
            method: &Method::GET,
            headers: &exchange.request,
            authorized: false,
        };
        let asked_at = exchange.asked_at;
        match storable(&asked, status, &exchange.fields, &self.ttl, asked_at, now) {
            Ok(freshness) => self.open(i, status, freshness),
            Err(refused) => {
                let fill = self.fills.remove(i);
                if let Some(whose) = refused.passes(status) {
                    let key = fill.filling.key().clone();
                    let names = fill.filling.names();
                    self.zone.pass(key, whose, now, names);
                }
                fill.filling.open(Opening::Private(Some(fill.exchange)));
            }
        }
    }

    /// The beginning of `fill::store`.
    fn open(&mut self, i: usize, status: StatusCode, freshness: Freshness) {
        let fill = &self.fills[i];
        let exchange = &self.exchanges[fill.exchange];
        let vary = vary_names(&exchange.fields).unwrap_or_default();
        let names = fill.filling.names();
        let key = self.zone.place(&fill.key, &vary, &exchange.request, names);
        let head = Head {
            status,
            headers: end_to_end(&exchange.fields),
            freshness,
            names: fill.filling.names().clone(),
            shared: freshness.ttl(self.now) > 0 && !freshness.always_revalidate,
            key: key.clone(),
            vary,
            length: None,
        };
        fill.filling.open(Opening::Head(Arc::new(head)));
        self.fills[i].head = Some((key, freshness));
    }

    /// The end of `fill::store`.
    fn finish(&mut self, i: usize) {
        let fill = self.fills.remove(i);
        let (key, freshness) = fill.head.expect("its head has come");
        let names = fill.filling.names().clone();
        let exchange = &mut self.exchanges[fill.exchange];
        fill.filling.finish(body_of(fill.exchange), |outcome| {
            if let Outcome::Body(body) = outcome {
                let object = Object::new(
                    StatusCode::from_u16(exchange.status).expect("a status"),
                    end_to_end(&exchange.fields),
                    body,
                    freshness,
                    names,
                );
                let is_stored = self.zone.store(key, Arc::new(object));
                exchange.stored_in = is_stored.then_some(self.step);
            }
        });
    }

    /// `fill::revalidated`.
    fn revalidated(&mut self, i: usize) {
        let fill = self.fills.remove(i);
        let stale = fill.stale.as_ref().expect("it was conditional");
        let exchange = &mut self.exchanges[fill.exchange];
        let mut headers = stale.headers.clone();
        for name in exchange.fields.keys() {
            headers.remove(name);
        }
        for (name, value) in &end_to_end(&exchange.fields) {
            headers.append(name, value.clone());
        }
        let mut said = headers.clone();
        said.extend(exchange.fields.get(AGE).map(|age| (AGE, age.clone())));
        let asked = Asked {
            method: &Method::GET,
            headers: &exchange.request,
            authorized: false,
        };
        let (asked_at, now) = (exchange.asked_at, exchange.answered_at);
        let kept = storable(&asked, stale.status, &said, &self.ttl, asked_at, now);
        let vary = vary_names(&headers).unwrap_or_default();
        let object = Arc::new(Object::new(
            stale.status,
            headers,
            stale.body.clone(),
            kept.unwrap_or(stale.freshness),
            stale.names.asked_with(fill.filling.names()),
        ));
        if let Err(refused) = kept {
            if !(refused.is_about_one() && stale.freshness.is_of_use(now)) {
                self.zone.invalidate(fill.filling.key());
            }
            return fill.filling.open(Opening::Own(object));
        }
        let key = self
            .zone
            .place(&fill.key, &vary, &exchange.request, &object.names);
        let opening = match key == *fill.filling.key() {
            true => Opening::Object(object.clone()),
            false => Opening::Own(object.clone()),
        };
        if !fill.filling.is_outdated() {
            let is_stored = self.zone.store(key, object);
            exchange.stored_in = is_stored.then_some(self.step);
        }
        fill.filling.open(opening);
    }

    /// Serves those whose fill has opened.
    fn wake(&mut self, say: &Say) {
        let mut i = 0;
        while i < self.waiting.len() {
            match opened(&mut self.waiting[i].follower) {
                None => i += 1,
                Some(opened) => {
                    let waiting = self.waiting.remove(i);
                    self.miss(waiting, opened, say);
                    i = 0;
                }
            }
        }
    }

    /// The end of `cached::miss`.
    fn miss(&mut self, waiting: Waiting, opened: Opened<usize>, say: &Say) {
        let led = waiting.follower.leads();
        let Waiting { client, stale, .. } = waiting;
        let how = match opened {
            Opened::Head(head) => {
                let place = |w: &World| {
                    let base = w.key(&client.ask);
                    w.zone
                        .place(&base, &head.vary, &client.ask.fields, &head.names)
                };
                if !head.vary.is_empty() && place(self) != head.key {
                    return self.look(client, say);
                }
                let body = body_of(exchange_of(&head.headers));
                let shown = self.shown(&client, head.status, &head.headers, &body, &head.freshness);
                How::Fetched { shown, led }
            }
            // There are no slower tiers here.
            Opened::Object(object) | Opened::Recalled(object, _) => How::Fetched {
                shown: self.shown_object(&client, &object),
                led,
            },
            Opened::Mine(exchange) => How::Own(exchange),
            Opened::NotShared => How::Passed,
            Opened::Failed(_) => match stale {
                Some((object, true)) if object.freshness.hides_errors(self.now) => {
                    return self.hit(&client, &object, Why::OnError);
                }
                _ => How::Failed,
            },
        };
        self.serve(&client, how);
    }

    fn hit(&mut self, client: &Client, object: &Object, why: Why) {
        let shown = self.shown_object(client, object);
        self.serve(client, How::Stored { shown, why });
    }

    fn shown_object(&self, client: &Client, object: &Object) -> Shown {
        let (body, freshness) = (&object.body, &object.freshness);
        self.shown(client, object.status, &object.headers, body, freshness)
    }

    /// `cached::whole`.
    fn shown(
        &self,
        client: &Client,
        status: StatusCode,
        fields: &HeaderMap,
        body: &Bytes,
        freshness: &Freshness,
    ) -> Shown {
        let mut shown = Shown {
            exchange: exchange_of(fields),
            status: status.as_u16(),
            body: body.clone(),
            age: freshness.age(self.now),
            fields: fields.clone(),
        };
        if status != StatusCode::OK {
            return shown;
        }
        if not_modified(&client.ask.fields, fields) {
            (shown.status, shown.body) = (304, Bytes::new());
        } else if client.ask.method == Method::GET {
            match parts(&client.ask.fields, fields, body.len()) {
                Parts::Whole => {}
                Parts::Some(parts) => {
                    let parts: Vec<_> = parts.iter().map(|p| &body[p.clone()]).collect();
                    (shown.status, shown.body) = (206, parts.concat().into());
                }
                Parts::Unsatisfiable => (shown.status, shown.body) = (416, Bytes::new()),
            }
        }
        shown
    }

    fn serve(&mut self, client: &Client, how: How) {
        self.served.push(Served {
            client: client.number,
            ask: client.ask.clone(),
            asked_at: client.asked_at,
            asked_in: client.asked_in,
            at: self.now,
            how,
        });
    }

    /// `proxy::forget`, after an answer of this status.
    pub fn write(&mut self, write: &Write) {
        let status = StatusCode::from_u16(write.status).expect("a status");
        if !invalidates(&write.method, status) {
            return;
        }
        for uri in [Some(write.uri), write.location].into_iter().flatten() {
            let key = self
                .rules
                .key("app", Scheme::Http, &url(uri), &write.fields);
            let name = Name::url(&self.address(uri));
            self.zone.forget(&key, None, name, self.rules.has_fields());
        }
    }

    fn address(&self, uri: usize) -> Key {
        self.rules.address(&url(uri))
    }

    fn names(&self, uri: usize, since: u64) -> Names {
        Names::new("h", url(uri).path, &self.address(uri), since)
    }

    fn key(&self, ask: &Ask) -> Key {
        self.rules
            .key("app", Scheme::Http, &url(ask.uri), &ask.fields)
    }
}

fn url(uri: usize) -> Url<'static> {
    Url::new("h", [&b"/a"[..], b"/b"][uri])
}

/// `fill::end_to_end`, of what the script has.
fn end_to_end(fields: &HeaderMap) -> HeaderMap {
    let mut fields = fields.clone();
    fields.remove(AGE);
    fields
}

pub fn body_of(exchange: usize) -> Bytes {
    format!("body{exchange:06}").into()
}

fn exchange_of(fields: &HeaderMap) -> usize {
    let number = fields.get(EXCHANGE).and_then(|v| v.to_str().ok());
    number
        .and_then(|n| n.parse().ok())
        .expect("every answer has it")
}

/// What has come for a follower, without waiting.
fn opened(follower: &mut Follower<usize>) -> Option<Opened<usize>> {
    let mut cx = Context::from_waker(Waker::noop());
    match pin!(follower.progress()).poll(&mut cx) {
        Poll::Ready(Progress::Opened(opened)) => Some(opened),
        _ => None,
    }
}
