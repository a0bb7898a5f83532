//! A direct reading of what a shared cache may answer with. Knows nothing of how the cache decides;
//! text is read again with the plainest means. Sections without a document are of RFC 9111.

use super::flow::{Exchange, How, Served, Shown, Why, World, body_of};
use super::script::{Ask, CDN_CACHE_CONTROL, TENANT, Write};
use http::header::{
    ACCEPT_LANGUAGE, AGE, AUTHORIZATION, CACHE_CONTROL, DATE, ETAG, EXPIRES, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, PRAGMA, RANGE, SET_COOKIE, VARY,
};
use http::{HeaderMap, HeaderName, Method};

type Judgement = Result<(), String>;

macro_rules! forbid {
    ($when:expr, $($why:tt)*) => {
        if $when {
            return Err(format!($($why)*));
        }
    };
}

/// Whether this answer may be given.
pub fn judge(world: &World, served: &Served) -> Judgement {
    match &served.how {
        How::Stored { shown, why } => {
            shared(world, served, shown)?;
            reusable(world, served, shown, *why)?;
            formed(world, served, shown)
        }
        How::Fetched { shown, led } => {
            if !led {
                shared(world, served, shown)?;
                joined(world, served, shown)?;
            }
            forbid!(
                asks(&served.ask).has("only-if-cached"),
                "§5.2.1.7: the origin was asked"
            );
            formed(world, served, shown)
        }
        How::Own(exchange) => {
            let exchange = &world.exchanges[*exchange];
            forbid!(
                exchange.client != served.client,
                "an answer for client {} went to another",
                exchange.client
            );
            Ok(())
        }
        How::Passed | How::OnlyIfCached | How::Failed => Ok(()),
    }
}

/// What must come from the store: an answer that everything speaks for. The exchange that gave it.
pub fn plainly_stored(world: &World, ask: &Ask) -> Option<usize> {
    let plain_ask = ask.method == Method::GET
        && [
            CACHE_CONTROL,
            PRAGMA,
            RANGE,
            IF_NONE_MATCH,
            IF_MODIFIED_SINCE,
        ]
        .iter()
        .all(|name| !ask.fields.contains_key(name));
    if !plain_ask || world.is_filling() {
        return None;
    }
    let of_uri = |e: &&Exchange| e.uri == ask.uri;
    let last = world.exchanges.iter().rposition(|e| of_uri(&e))?;
    let exchange = &world.exchanges[last];
    let said = Directives::of(&exchange.fields, &CACHE_CONTROL);
    let plain_answer = exchange.status == 200
        && exchange.answered_in.is_some()
        && said.0.iter().all(|(name, value)| {
            matches!(name.as_str(), "public" | "immutable")
                || (name == "max-age" && value.as_deref() == Some("10"))
        })
        && said.0.iter().filter(|(name, _)| name == "max-age").count() == 1
        && !exchange.request.contains_key(AUTHORIZATION)
        && [CDN_CACHE_CONTROL, SET_COOKIE, AGE]
            .iter()
            .all(|name| !exchange.fields.contains_key(name));
    let chosen = selects(&exchange.fields, &exchange.request, &ask.fields)
        && same_key(world, &exchange.request, &ask.fields);
    let kept = exchange
        .answered_in
        .is_some_and(|_| fresh_for(exchange, &exchange.fields, world) > 0);
    let since = |step: &usize| *step >= exchange.asked_in;
    let written = world
        .writes
        .iter()
        .any(|(uri, step)| *uri == ask.uri && since(step));
    // An earlier answer that comes late may take its place, which costs a fetch and no more.
    let overtaken = world.exchanges[..last].iter();
    let overtaken = overtaken.filter(|e| of_uri(e));
    // Its head may have come before, and its body's end, with which it is stored, after.
    let overtaken = overtaken
        .flat_map(|e| e.answered_in.into_iter().chain(e.stored_in))
        .any(|step| since(&step));
    (plain_answer && chosen && kept && !written && !overtaken).then_some(last)
}

/// Whether that is what was served.
pub fn judge_plain(expected: usize, served: &Served) -> Judgement {
    match &served.how {
        How::Stored { shown, .. } if shown.exchange == expected => Ok(()),
        other => Err(format!("exchange {expected} is fresh, but: {other:?}")),
    }
}

/// §3 and §4, but for time: the right URI, variant and person, and not made invalid.
fn shared(world: &World, served: &Served, shown: &Shown) -> Judgement {
    let chain = chain(world, shown.exchange);
    let first = &world.exchanges[chain[0]];
    forbid!(first.uri != served.ask.uri, "§4: of another URI");
    let last = &world.exchanges[shown.exchange];
    for (i, number) in chain.iter().enumerate() {
        let fields = fields_after(world, &chain[..=i]);
        storable(
            &world.exchanges[*number].request,
            first.status,
            &fields,
            world,
        )?;
    }
    let fields = fields_after(world, &chain);
    let chosen = chain
        .iter()
        .any(|n| selects(&fields, &world.exchanges[*n].request, &served.ask.fields));
    forbid!(!chosen, "§4.1: another variant");
    let invalidated = world.writes.iter().any(|(uri, step)| {
        *uri == served.ask.uri && *step > last.asked_in && *step < served.asked_in
    });
    forbid!(invalidated, "§4.4: made invalid since it was asked for");
    Ok(())
}

/// §3. The answer to a GET.
fn storable(request: &HeaderMap, status: u16, fields: &HeaderMap, world: &World) -> Judgement {
    let said = control(fields);
    let understood = [200, 203, 204, 301, 302, 404, 410].contains(&status);
    forbid!([206, 304].contains(&status), "§3: status {status}");
    forbid!(
        said.has("must-understand") && !understood,
        "§5.2.2.3: status {status} is not understood"
    );
    forbid!(
        said.has("no-store") && !said.has("must-understand"),
        "§5.2.2.5: no-store"
    );
    forbid!(
        Directives::of(request, &CACHE_CONTROL).has("no-store"),
        "§5.2.1.5: the request said no-store"
    );
    forbid!(said.has("private"), "§5.2.2.7: private");
    let for_all = ["public", "must-revalidate", "s-maxage", "proxy-revalidate"];
    forbid!(
        request.contains_key(AUTHORIZATION) && !for_all.iter().any(|d| said.has(d)),
        "§3.5: for one person"
    );
    forbid!(
        fields.contains_key(SET_COOKIE) && !said.has("public"),
        "Lakh's own: an answer that sets a cookie is not shared"
    );
    let explicit = said.has("public")
        || said.has("max-age")
        || said.has("s-maxage")
        || (targeted(fields).is_none() && fields.contains_key(EXPIRES));
    let by_default = [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501].contains(&status);
    forbid!(
        !(explicit || by_default || world.ttl.ttl.is_some()),
        "§3: nothing says that it may be stored"
    );
    Ok(())
}

/// §4.2, §5.2.1 and RFC 5861: given without the origin having confirmed it.
fn reusable(world: &World, served: &Served, shown: &Shown, why: Why) -> Judgement {
    let chain = chain(world, shown.exchange);
    let fields = fields_after(world, &chain);
    let (said, asked) = (control(&fields), asks(&served.ask));
    let exchange = &world.exchanges[shown.exchange];
    let age = age_of(exchange, &fields, served.at);
    let left = lifetime(world, &chain, &fields) - age;
    forbid!(
        shown.age as i64 != age,
        "§5.1: Age {} but it is {age}",
        shown.age
    );
    forbid!(said.has("no-cache"), "§5.2.2.4: no-cache");
    for newer in &world.exchanges[shown.exchange + 1..] {
        let replaces = newer.uri == exchange.uri
            && newer.asked_in > exchange.asked_in
            && newer.stored_in.is_some_and(|step| step < served.asked_in)
            && selects(&newer.fields, &newer.request, &served.ask.fields)
            && same_key(world, &newer.request, &served.ask.fields)
            && in_order(exchange, newer);
        forbid!(
            replaces && newer.status != 304,
            "§4: a newer answer is stored"
        );
    }
    if why == Why::OnError {
        // RFC 5861 §4: regardless of other freshness information.
        let allowed = stale_for(&said, "stale-if-error", world.ttl.stale_if_error);
        forbid!(
            left <= 0 && -left >= allowed,
            "stale by {} s after an error",
            -left
        );
        return Ok(());
    }
    wanted(&asked, age, left)?;
    if left <= 0 {
        let allowed = stale_for(
            &said,
            "stale-while-revalidate",
            world.ttl.stale_while_revalidate,
        );
        forbid!(
            why == Why::Fresh,
            "§4.2: stale by {} s, and not known so",
            -left
        );
        forbid!(-left >= allowed, "§4.2.4: stale by {} s", -left);
    }
    Ok(())
}

/// §5.2.1: what the request said of what has come before it.
fn wanted(asked: &Directives, age: i64, left: i64) -> Judgement {
    forbid!(asked.has("no-cache"), "§5.2.1.4: the request said no-cache");
    if let Some(max) = asked.seconds("max-age") {
        forbid!(age > max, "§5.2.1.1: {age} s old, asked for {max} s");
        forbid!(
            left <= 0 && !asked.has("max-stale"),
            "§5.2.1.1: stale, and max-age refuses that"
        );
    }
    if let Some(min) = asked.seconds("min-fresh") {
        forbid!(
            left < min,
            "§5.2.1.3: fresh for {left} s, asked for {min} s"
        );
    }
    Ok(())
}

/// By a fill that another led: it was on its way when this client asked, or may be used by all.
fn joined(world: &World, served: &Served, shown: &Shown) -> Judgement {
    let exchange = &world.exchanges[shown.exchange];
    let chain = chain(world, shown.exchange);
    let fields = fields_after(world, &chain);
    let came_before = exchange
        .answered_in
        .is_some_and(|step| step < served.asked_in);
    if !came_before {
        return Ok(());
    }
    forbid!(
        control(&fields).has("no-cache"),
        "§5.2.2.4: it had come before the request, and is no-cache"
    );
    let age = age_of(exchange, &fields, served.asked_at);
    let left = lifetime(world, &chain, &fields) - age;
    wanted(&asks(&served.ask), age, left)
}

/// RFC 9110 §13 and §14: 304, 206 and 416 only where the request asks for them, and rightly.
fn formed(world: &World, served: &Served, shown: &Shown) -> Judgement {
    let chain = chain(world, shown.exchange);
    let (request, stored) = (&served.ask.fields, fields_after(world, &chain));
    let (status, body) = (world.exchanges[chain[0]].status, body_of(chain[0]));
    forbid!(
        control(&shown.fields).0 != control(&stored).0,
        "§4.3.4: fields are {:?}",
        shown.fields
    );
    if shown.status == status {
        forbid!(shown.body != body, "a body of another answer");
        return Ok(());
    }
    forbid!(status != 200, "{} for a stored {status}", shown.status);
    match shown.status {
        304 => {
            forbid!(
                !condition_fails(request, &stored),
                "RFC 9110 §13: 304 unasked"
            );
        }
        206 => {
            let part = range(request, body.len()).filter(|p| !p.is_empty());
            let part = part.ok_or("RFC 9110 §14: 206 unasked")?;
            forbid!(shown.body != body[part], "RFC 9110 §14: another part");
            forbid!(
                !if_range(request, &stored),
                "RFC 9110 §13.1.5: If-Range fails"
            );
        }
        416 => {
            let none = range(request, body.len()).is_some_and(|p| p.is_empty());
            forbid!(!none, "RFC 9110 §15.5.17: 416 for what is there");
            forbid!(
                !if_range(request, &stored),
                "RFC 9110 §13.1.5: If-Range fails"
            );
        }
        other => return Err(format!("{other} for a stored {status}")),
    }
    Ok(())
}

/// The exchange that gave the body, and those whose 304 brought it up to date, in order.
fn chain(world: &World, last: usize) -> Vec<usize> {
    let mut chain = vec![last];
    while let Some(before) = world.exchanges[chain[0]].confirms {
        chain.insert(0, before);
    }
    chain
}

/// §3.2: each 304's fields take the place of those before.
fn fields_after(world: &World, chain: &[usize]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for number in chain {
        let newer = &world.exchanges[*number].fields;
        newer.keys().for_each(|name| drop(fields.remove(name)));
        for (name, value) in newer {
            fields.append(name, value.clone());
        }
    }
    fields
}

/// §4.1.
fn selects(fields: &HeaderMap, stored_for: &HeaderMap, asked: &HeaderMap) -> bool {
    let names = fields.get_all(VARY).iter();
    let names = names.flat_map(|line| line.to_str().unwrap_or("*").split(','));
    names
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .all(|name| {
            name != "*" && {
                let name: HeaderName = name.parse().expect("a name");
                members(stored_for, &name) == members(asked, &name)
            }
        })
}

/// Whether which of two answers came last is no matter of how long each took: one fetch followed
/// the other, or both were for the same fill.
fn in_order(older: &Exchange, newer: &Exchange) -> bool {
    let chosen_by = [ACCEPT_LANGUAGE, TENANT];
    let mut chosen_by = chosen_by.iter();
    older.stored_in.is_some_and(|step| step < newer.asked_in)
        || chosen_by.all(|name| members(&older.request, name) == members(&newer.request, name))
}

/// Whether what the operator has put into the key is the same.
fn same_key(world: &World, stored_for: &HeaderMap, asked: &HeaderMap) -> bool {
    let mut names = world.key_headers.iter();
    names.all(|name| stored_for.get(name) == asked.get(name))
}

/// Two requests with the same members mean the same; in Accept-Language in any order and case.
fn members(request: &HeaderMap, name: &HeaderName) -> Option<Vec<String>> {
    request.get(name)?;
    let lines = request.get_all(name).iter();
    let lines = lines.map(|line| line.to_str().expect("ASCII"));
    let members = lines.flat_map(|line| line.split(',')).map(str::trim);
    if *name == ACCEPT_LANGUAGE {
        let mut members: Vec<_> = members.map(str::to_lowercase).collect();
        members.sort();
        return Some(members);
    }
    Some(members.map(str::to_owned).collect())
}

/// §4.2.1 and §4.2.2, in seconds.
fn lifetime(world: &World, chain: &[usize], fields: &HeaderMap) -> i64 {
    let said = control(fields);
    let exchange = &world.exchanges[*chain.last().expect("one at least")];
    let explicit = said.seconds("s-maxage").or_else(|| said.seconds("max-age"));
    if let Some(seconds) = explicit {
        return seconds;
    }
    let made = date(fields, &DATE).unwrap_or(exchange.answered_at as i64);
    if targeted(fields).is_none() && fields.contains_key(EXPIRES) {
        return date(fields, &EXPIRES)
            .map_or(0, |expires| expires - made)
            .max(0);
    }
    let set = world
        .ttl
        .ttl
        .filter(|_| world.exchanges[chain[0]].status == 200);
    if let Some(ttl) = set {
        return ttl.as_secs() as i64;
    }
    date(fields, &LAST_MODIFIED).map_or(0, |changed| (made - changed) / 10)
}

/// §4.2.3, with its names.
fn age_of(exchange: &Exchange, fields: &HeaderMap, now: u64) -> i64 {
    let (request_time, response_time) = (exchange.asked_at as i64, exchange.answered_at as i64);
    let date_value = date(fields, &DATE).unwrap_or(response_time);
    let age_value = exchange.fields.get(AGE).and_then(|v| v.to_str().ok());
    let age_value = age_value.and_then(|v| v.split(',').next()?.trim().parse::<u128>().ok());
    let age_value = age_value.map_or(0, |age| age.min(1 << 31) as i64);
    let apparent_age = (response_time - date_value).max(0);
    let response_delay = response_time - request_time;
    let corrected_age_value = age_value + response_delay;
    let corrected_initial_age = apparent_age.max(corrected_age_value);
    let resident_time = now as i64 - response_time;
    corrected_initial_age + resident_time
}

fn fresh_for(exchange: &Exchange, fields: &HeaderMap, world: &World) -> i64 {
    let lifetime = control(fields).seconds("max-age").unwrap_or(0);
    lifetime - age_of(exchange, fields, world.now)
}

/// RFC 5861, §4.2.4: for how long a stale answer may still be given. What the origin writes beside
/// s-maxage it means; what the operator set does not outweigh s-maxage.
fn stale_for(said: &Directives, directive: &str, set: Option<std::time::Duration>) -> i64 {
    let never = ["no-cache", "must-revalidate", "proxy-revalidate"];
    if never.iter().any(|d| said.has(d)) {
        return 0;
    }
    let own = said.seconds(directive);
    match set {
        Some(set) if !said.has("s-maxage") => set.as_secs() as i64,
        _ => own.unwrap_or(0),
    }
}

/// RFC 9213 §2.2: a targeted field counts alone, if all of it is right.
fn control(fields: &HeaderMap) -> Directives {
    targeted(fields).unwrap_or_else(|| Directives::of(fields, &CACHE_CONTROL))
}

fn targeted(fields: &HeaderMap) -> Option<Directives> {
    let value = fields.get(CDN_CACHE_CONTROL)?.to_str().expect("ASCII");
    let right = |member: &str| {
        let (key, number) = member.split_once('=').unwrap_or((member, "1"));
        let key_char = |c: char| c.is_ascii_lowercase() || c == '-';
        !key.is_empty() && key.chars().all(key_char) && number.parse::<u32>().is_ok()
    };
    let all_right = value.split(',').map(str::trim).all(right);
    all_right.then(|| Directives::of(fields, &CDN_CACHE_CONTROL))
}

/// §5.4: Pragma speaks where Cache-Control is silent.
fn asks(ask: &Ask) -> Directives {
    let pragma = ask.fields.get(PRAGMA).is_some_and(|v| v == "no-cache");
    if pragma && !ask.fields.contains_key(CACHE_CONTROL) {
        return Directives(vec![("no-cache".into(), None)]);
    }
    Directives::of(&ask.fields, &CACHE_CONTROL)
}

/// §5.2: names in lower case, with their values.
#[derive(Debug, PartialEq)]
struct Directives(Vec<(String, Option<String>)>);

impl Directives {
    fn of(fields: &HeaderMap, name: &HeaderName) -> Directives {
        let mut all = Vec::new();
        for line in fields.get_all(name) {
            // Commas in quotes are every second piece's own.
            let line = line.to_str().expect("ASCII");
            let outside = line.split('"').enumerate().map(|(i, piece)| match i % 2 {
                0 => piece.to_owned(),
                _ => piece.replace(',', "\u{0}"),
            });
            for directive in outside.collect::<String>().split(',') {
                let directive = directive.trim();
                let (name, value) = match directive.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (directive, None),
                };
                if !name.is_empty() {
                    all.push((name.to_lowercase(), value));
                }
            }
        }
        Directives(all)
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// The first of that name; what is no number is 0, §4.2.1.
    fn seconds(&self, name: &str) -> Option<i64> {
        let (_, value) = self.0.iter().find(|(known, _)| known == name)?;
        Some(
            value
                .as_deref()
                .and_then(|v| v.parse::<u32>().ok())
                .unwrap_or(0)
                .into(),
        )
    }
}

fn date(fields: &HeaderMap, name: &HeaderName) -> Option<i64> {
    let text = fields.get(name)?.to_str().expect("ASCII");
    let time = httpdate::parse_http_date(text).ok()?;
    let since = time
        .duration_since(std::time::SystemTime::UNIX_EPOCH)
        .ok()?;
    Some(since.as_secs() as i64)
}

/// RFC 9110 §13.1.2 and §13.1.3: whether a 304 is due. The script's tags hold no commas but one.
fn condition_fails(request: &HeaderMap, stored: &HeaderMap) -> bool {
    let text =
        |fields: &HeaderMap, name| Some(fields.get(name)?.to_str().expect("ASCII").to_owned());
    if let Some(list) = text(request, IF_NONE_MATCH) {
        let tag = text(stored, ETAG).map(|tag| tag.trim_start_matches("W/").to_owned());
        let listed = ["\"1\"", "\"2\""]
            .iter()
            .filter(|tag| list.replace("\"x,\"1\"", "").contains(*tag));
        return list == "*"
            || listed
                .into_iter()
                .any(|listed| tag.as_deref() == Some(listed));
    }
    let changed = date(stored, &LAST_MODIFIED).or(date(stored, &DATE));
    let since = date(request, &IF_MODIFIED_SINCE);
    changed
        .zip(since)
        .is_some_and(|(changed, since)| changed <= since)
}

/// RFC 9110 §14.1.2, one range. Empty: not within the body. None: to be ignored.
fn range(request: &HeaderMap, length: usize) -> Option<std::ops::Range<usize>> {
    let spec = request.get(RANGE)?.to_str().expect("ASCII");
    let (first, last) = spec.strip_prefix("bytes=")?.split_once('-')?;
    match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(first), Ok(last)) if first > last => None,
        (Ok(first), _) if first >= length => Some(0..0),
        (Ok(first), Ok(last)) => Some(first..length.min(last + 1)),
        (Ok(first), Err(_)) => Some(first..length),
        (Err(_), Ok(suffix)) => Some(length.saturating_sub(suffix)..length),
        _ => None,
    }
}

/// RFC 9110 §13.1.5; the script has no dates there.
fn if_range(request: &HeaderMap, stored: &HeaderMap) -> bool {
    request
        .get(IF_RANGE)
        .is_none_or(|tag| !tag.as_bytes().starts_with(b"W/") && stored.get(ETAG) == Some(tag))
}

/// What a write's answer makes invalid, §4.4.
pub fn written(write: &Write) -> Vec<usize> {
    if !(200..400).contains(&write.status) {
        return Vec::new();
    }
    [Some(write.uri), write.location]
        .into_iter()
        .flatten()
        .collect()
}
