//! What must hold of every parser that reads bytes from outside, whatever the bytes. Each target
//! panics when it does not. `make fuzz` looks for such bytes; `tests/corpus.rs` replays those kept.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{
    ACCEPT_LANGUAGE, CACHE_CONTROL, ETAG, HOST, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use lakh::admin::PurgeOrder;
use lakh::cache::{
    CacheControl, KeyRules, Parts, Scheme, Url, content_range, multipart, not_modified, parts,
    vary_names,
};
use lakh::config::{self, units};
use lakh::grpc::Base64;
use lakh::guard::{
    Algorithm, ApiKeys, Key, Networks, Rate, Token, api_key_line, client_address, forwarded,
    read_jwks, x_forwarded_for,
};
use lakh::listen::quic::check_pseudo_fields;
use lakh::listen::{Chunks, Head, check, read_proxied, to_origin_form};
use lakh::observe::{LogFormat, Traceparent};
use lakh_image::{
    Client, ImageSettings, Keys, Limits, Overlays, PathForm, Plan, Rendition, Request, Source, ask,
    source_of, source_target, transform,
};
use lakh_jpeg::{Decoder, Scale};
use std::ops::Range;

pub type Target = fn(&[u8]);

pub const TARGETS: &[(&str, Target)] = &[
    ("cache_control", cache_control),
    ("range", range),
    ("vary", vary),
    ("if_none_match", if_none_match),
    ("etag", etag),
    ("head", head),
    ("chunks", chunks),
    ("pseudo_fields", pseudo_fields),
    ("purge", purge),
    ("units", units),
    ("config", config),
    ("trace", trace),
    ("proxied", proxied),
    ("forwarded", forwarded_hops),
    ("path", path),
    ("grpc_web", grpc_web),
    ("token", token),
    ("key_set", key_set),
    ("api_keys", api_keys),
    ("image_ask", image_ask),
    ("jpeg_planes", jpeg_planes),
    ("jpeg", |bytes| picture(bytes, b"\xFF\xD8\xFF", 0)),
    ("png", |bytes| picture(bytes, b"\x89PNG\r\n\x1A\n", 0)),
    ("gif", |bytes| picture(bytes, b"GIF89a", 0)),
    ("webp", |bytes| picture(bytes, b"WEBP", 8)),
    ("avif", |bytes| picture(bytes, b"ftypavif", 4)),
    ("bitmap", |bytes| picture(bytes, b"", 0)),
];

/// A call of a page's in base64: it says the same, whatever parts it comes in. The first byte says where
/// it is cut.
fn grpc_web(bytes: &[u8]) {
    let Some((cut, body)) = bytes.split_first() else {
        return;
    };
    let read = |parts: &[&[u8]]| {
        let (mut base64, mut read) = (Base64::default(), Vec::new());
        for part in parts {
            read.extend_from_slice(&base64.decode(part)?);
        }
        base64.end().map(|()| read)
    };
    let (first, second) = body.split_at(usize::from(*cut).min(body.len()));
    assert_eq!(read(&[body]), read(&[first, second]));
}

/// Whatever asks for a picture: its key is short, its source can be sent as it is, it is asked for
/// again by its own words, and a path form is for the route that it says it is for.
fn image_ask(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let mut lines = text.split('\n');
    let (target, field) = (lines.next().unwrap_or_default(), lines.next());
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let client = Client {
        accept: field,
        sec_ch_dpr: field,
        sec_ch_width: field,
        width: field,
    };
    let request = Request {
        host: "shop.example",
        path,
        query,
        client,
        now: 1,
    };
    let mut settings = ImageSettings {
        paths: vec![PathForm::Presets, PathForm::Cloudflare, PathForm::Imgproxy],
        avif: true,
        ..ImageSettings::default()
    };
    for signing in [None, Keys::read("00ff:01").ok()] {
        settings.signing = signing;
        let in_path = source_target(&request, &settings);
        let Ok(Some(asked)) = ask(&request, &settings) else {
            continue;
        };
        assert!(asked.plan.key().len() < 200, "{}", asked.plan.key());
        if let Some(in_path) = in_path {
            assert_eq!(asked.source, Source::Here(in_path));
        }
        if let Source::Elsewhere(place) = &asked.source {
            let sent = format!("{}{}", place.host, place.target);
            assert!(sent.bytes().all(|b| b.is_ascii_graphic()), "{sent:?}");
            assert!(place.target.starts_with('/') && !place.host.contains('@'));
        }
        assert_eq!(source_of(&request, &settings), Some(asked.source));
    }
}

/// Whatever the bytes, with the mark of a format put where it belongs: an error, or a picture that
/// can be read again in the size that it says.
fn picture(bytes: &[u8], mark: &[u8], at: usize) {
    let mut source = bytes.to_vec();
    if let Some(place) = source.get_mut(at..at + mark.len()) {
        place.copy_from_slice(mark);
    }
    let settings = ImageSettings {
        max_pixels: 1 << 16,
        max_animation: 1 << 18,
        ..ImageSettings::default()
    };
    let made = |source: &[u8], query| {
        let plan = Plan::from_request(Some(query), None, &settings).expect("a good query");
        let limits = Limits::from(&settings);
        transform(source, &plan.expect("a plan"), &limits, &Overlays::new())
    };
    let queries = [
        "w=9&f=webp&metadata=copyright",
        "w=8&h=8&fit=cover&g=auto&f=jpeg",
        "f=png&trim=5",
    ];
    for query in queries {
        let Ok(made_of_it) = made(&source, query) else {
            continue;
        };
        let again = made(&made_of_it.bytes, "info=true").expect("a whole picture");
        let sides = |made: &Rendition| (made.width, made.height);
        assert_eq!(sides(&again), sides(&made_of_it));
    }
}

/// Whatever the bytes behind the first, which says at what scales: an error, or whole planes at each,
/// the same as at that scale alone.
fn jpeg_planes(bytes: &[u8]) {
    const MAX_PIXELS: u64 = 1 << 16;
    let Some((chosen, jpeg)) = bytes.split_first() else {
        return;
    };
    let Ok(decoder) = Decoder::open(jpeg) else {
        return;
    };
    let scales = (1..=8).filter(|n| chosen >> (n - 1) & 1 == 1);
    let scales: Vec<_> = scales.filter_map(Scale::eighths).collect();
    let Ok(planes) = decoder.decode_all(&scales, MAX_PIXELS) else {
        return;
    };
    let header = decoder.header();
    assert!(header.pixels() <= MAX_PIXELS && planes.len() == scales.len());
    for (scale, planes) in scales.iter().zip(&planes) {
        let sides = (scale.side(header.width), scale.side(header.height));
        assert_eq!((planes.luma.width, planes.luma.height), sides);
        assert_eq!(planes.luma.rows().count(), sides.1);
    }
    if let (Some(scale), Some(last)) = (scales.last(), planes.last()) {
        let alone = decoder.decode(*scale, MAX_PIXELS);
        assert!(alone.is_ok_and(|alone| alone == *last));
    }
}

/// A token that can be read has one spelling, and a header that is what a second reading of it says.
fn token(bytes: &[u8]) {
    let made = [URL_SAFE_NO_PAD.encode(bytes).as_bytes(), b".e30.AA"].concat();
    for text in [bytes, &made] {
        let Ok(token) = Token::read(text) else {
            continue;
        };
        let signature = URL_SAFE_NO_PAD.encode(&token.signature);
        assert_eq!([token.signed, b".", signature.as_bytes()].concat(), text);
        let header = text.split(|b| *b == b'.').next().expect("a first part");
        let header = URL_SAFE_NO_PAD.decode(header).expect("it was read");
        // What is passed over may be what this reading can't hold, such as 1e999.
        let Ok(header) = serde_json::from_slice::<serde_json::Value>(&header) else {
            continue;
        };
        assert_eq!(header["alg"], token.algorithm.name());
        assert_eq!(header["kid"].as_str(), token.kid.as_deref());
        assert!(header.is_object() && header.get("crit").is_none());
        let _ = token.payload();
    }
}

/// A set that can be read has keys, and none of them is for HMAC.
fn key_set(bytes: &[u8]) {
    if let Ok(keys) = read_jwks(bytes) {
        assert!(!keys.is_empty());
        for key in keys {
            assert_ne!(key.algorithm(), Algorithm::Hs256);
            assert!(!key.verifies(bytes, bytes));
        }
    }
    let _ = Key::public(&String::from_utf8_lossy(bytes));
}

/// A file that can be read can have one key more, which is found, and the file's own text is none.
fn api_keys(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(keys) = ApiKeys::read(&text, None) else {
        return;
    };
    assert!(keys.count() > 0 && keys.find(bytes).is_none());
    let key = b"a key that is long enough";
    let line = api_key_line("one-more", key, &[]).expect("a line");
    let more = ApiKeys::read(&format!("{text}\n{line}"), None).expect("a file as before");
    assert_eq!(
        more.find(key).and_then(|claims| claims.get("sub")),
        Some("one-more")
    );
    assert_eq!(more.count(), keys.count() + 1);
}

/// What is read can be written and read again; lines are one list.
fn cache_control(bytes: &[u8]) {
    let Some(lines) = field_lines(bytes) else {
        return;
    };
    let read = CacheControl::parse(&fields(CACHE_CONTROL, &lines));
    let written = HeaderValue::try_from(write(&read)).expect("ASCII");
    assert_eq!(
        read,
        CacheControl::parse(&fields(CACHE_CONTROL, &[written]))
    );

    if lines.iter().all(|line| is_balanced(line.as_bytes())) {
        let joined = lines
            .iter()
            .map(HeaderValue::as_bytes)
            .collect::<Vec<_>>()
            .join(&b", "[..]);
        let joined = HeaderValue::from_bytes(&joined).expect("of values");
        assert_eq!(read, CacheControl::parse(&fields(CACHE_CONTROL, &[joined])));
        let mut stricter = fields(CACHE_CONTROL, &lines);
        stricter.append(CACHE_CONTROL, HeaderValue::from_static("No-Store"));
        assert_eq!(
            CacheControl {
                no_store: true,
                ..read
            },
            CacheControl::parse(&stricter)
        );
    }
}

fn write(control: &CacheControl) -> String {
    let flags = [
        ("no-store", control.no_store),
        ("no-cache", control.no_cache),
        ("private", control.private),
        ("public", control.public),
        ("must-revalidate", control.must_revalidate),
        ("must-understand", control.must_understand),
        ("only-if-cached", control.only_if_cached),
    ];
    let numbers = [
        ("max-age", control.max_age),
        ("s-maxage", control.s_maxage),
        ("min-fresh", control.min_fresh),
        ("max-stale", control.max_stale),
        ("stale-while-revalidate", control.stale_while_revalidate),
        ("stale-if-error", control.stale_if_error),
    ];
    let flags = flags
        .iter()
        .filter(|(_, set)| *set)
        .map(|(name, _)| (*name).to_owned());
    let numbers = numbers
        .iter()
        .filter_map(|(name, n)| Some(format!("{name}={}", (*n)?)));
    flags.chain(numbers).collect::<Vec<_>>().join(", ")
}

/// Parts lie within the body and are those that a plain reading gives; If-Range needs the very tag.
/// Two bytes of length, the range, and perhaps If-Range on a line of its own.
fn range(bytes: &[u8]) {
    let Some((length, rest)) = bytes.split_first_chunk() else {
        return;
    };
    let length = usize::from(u16::from_le_bytes(*length)) % 300;
    let Some(lines) = field_lines(rest) else {
        return;
    };
    let mut stored = HeaderMap::new();
    stored.insert(ETAG, HeaderValue::from_static("\"tag\""));
    stored.insert(
        LAST_MODIFIED,
        HeaderValue::from_static("Mon, 12 Jan 1970 13:46:40 GMT"),
    );
    let mut request = HeaderMap::new();
    let mut lines = lines.into_iter();
    let (spec, condition) = (lines.next(), lines.next());
    let Some(spec) = spec else { return };
    request.insert(RANGE, spec.clone());
    let expected = plain_ranges(spec.as_bytes(), length);
    let given = parts(&request, &stored, length);
    assert_eq!(given, expected);
    if let Parts::Some(list) = &given {
        let body: Vec<u8> = (0..length).map(|n| n as u8).collect();
        assert!(
            list.iter()
                .all(|part| part.start < part.end && part.end <= length)
        );
        let (_, joined) = multipart(&body, list, None, "boundary");
        for part in list {
            let sent = &body[part.clone()];
            assert!(joined.windows(sent.len()).any(|window| window == sent));
            let field = content_range(part, length);
            let written = format!("bytes {}-{}/{length}", part.start, part.end - 1);
            assert_eq!(field.as_bytes(), written.as_bytes());
        }
    }
    if let Some(condition) = condition {
        let weak_or_other = condition != "\"tag\"" && !condition.as_bytes().contains(&b' ');
        request.insert(IF_RANGE, condition);
        let given = parts(&request, &stored, length);
        assert!(given == expected || given == Parts::Whole);
        assert!(!weak_or_other || given == Parts::Whole);
    }
}

/// RFC 9110 §14.1.2, and no more than 32 parts, nor more bytes than there are.
fn plain_ranges(spec: &[u8], length: usize) -> Parts {
    let Ok(text) = std::str::from_utf8(spec) else {
        return Parts::Whole;
    };
    let Some((unit, set)) = text.split_once('=') else {
        return Parts::Whole;
    };
    if !unit.eq_ignore_ascii_case("bytes") {
        return Parts::Whole;
    }
    let digits = |text: &str| {
        let all = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        all.then(|| text.parse::<u128>().unwrap_or(u128::MAX))
    };
    let (mut found, mut asked, whole) = (Vec::<Range<usize>>::new(), 0, length as u128);
    for member in set
        .split(',')
        .map(|m| m.trim_matches([' ', '\t']))
        .filter(|m| !m.is_empty())
    {
        asked += 1;
        let Some((first, last)) = member.split_once('-') else {
            return Parts::Whole;
        };
        let (from, to) = match (digits(first), digits(last)) {
            (None, Some(n)) if first.is_empty() => (whole - n.min(whole), whole),
            (Some(from), None) if last.is_empty() => (from, whole),
            (Some(from), Some(to)) if from <= to => (from, to.saturating_add(1).min(whole)),
            _ => return Parts::Whole,
        };
        if from < to {
            found.push(from as usize..to as usize);
        }
    }
    let total: usize = found.iter().map(Range::len).sum();
    match found.len() {
        _ if asked == 0 => Parts::Whole,
        0 => Parts::Unsatisfiable,
        n if n > 32 || total > length => Parts::Whole,
        _ => Parts::Some(found),
    }
}

/// Neither order, nor case, nor repetition counts; and a variant is found by what means the same.
fn vary(bytes: &[u8]) {
    let Some(lines) = field_lines(bytes) else {
        return;
    };
    let names = vary_names(&fields(VARY, &lines));
    let mut members: Vec<_> = lines
        .iter()
        .flat_map(|l| l.as_bytes().split(|b| *b == b','))
        .collect();
    members.reverse();
    let turned = [
        members.join(&b','),
        members.join(&b',').to_ascii_uppercase(),
    ];
    let turned = turned.map(|line| HeaderValue::from_bytes(&line).expect("of values"));
    assert_eq!(names, vary_names(&fields(VARY, &turned)));
    let stars = members.iter().any(|m| m.trim_ascii() == b"*");
    let Some(names) = names else { return };
    assert!(!stars && names.is_sorted_by_key(|name| name.as_str()));

    let Some(first) = lines.first().filter(|line| is_balanced(line.as_bytes())) else {
        return;
    };
    let mut members: Vec<_> = first.as_bytes().split(|b| *b == b',').collect();
    members.reverse();
    let turned = HeaderValue::from_bytes(&members.join(&b" , "[..])).expect("of values");
    let url = Url::new("h", b"/");
    let base = KeyRules::default().key("app", Scheme::Http, &url, &HeaderMap::new());
    let variant = |value: &HeaderValue| {
        let request = fields(ACCEPT_LANGUAGE, std::slice::from_ref(value));
        base.variant(1, &[ACCEPT_LANGUAGE], &request)
    };
    if !first.as_bytes().contains(&b'"') {
        assert!(variant(first) == variant(&turned));
    }
    assert!(
        variant(first)
            != base.variant(
                2,
                &[ACCEPT_LANGUAGE],
                &fields(ACCEPT_LANGUAGE, std::slice::from_ref(first))
            )
    );
}

/// A list matches what one of its members matches, and nothing else.
fn if_none_match(bytes: &[u8]) {
    let Some(lines) = field_lines(bytes) else {
        return;
    };
    let Some((tag, list)) = lines.split_first() else {
        return;
    };
    let given = matches(list, Some(tag));
    let star = list.iter().any(|line| line.as_bytes().trim_ascii() == b"*");
    assert!(!star || (given && matches(list, None)));
    assert!(star || list.is_empty() || !matches(list, None));
    let ours = opaque(tag.as_bytes().trim_ascii());
    let members = list.iter().flat_map(|line| members(line.as_bytes()));
    let listed = members.into_iter().any(|member| opaque(&member) == ours);
    assert_eq!(
        given,
        star || (listed && !ours.is_empty()),
        "{tag:?} in {list:?}"
    );
}

/// Whether a tag is another does not depend on which is stored; weakness does not count.
fn etag(bytes: &[u8]) {
    let Some(lines) = field_lines(bytes) else {
        return;
    };
    let [a, b] = &lines[..] else { return };
    let single = |tag: &HeaderValue| {
        let text = tag.as_bytes();
        members_of(tag) == 1 && text.trim_ascii() == text && tag != "*" && is_balanced(text)
    };
    if !single(a) || !single(b) {
        return;
    }
    let same = matches(std::slice::from_ref(a), Some(b));
    assert_eq!(same, matches(std::slice::from_ref(b), Some(a)));
    let weak = HeaderValue::from_bytes(&[b"W/", a.as_bytes()].concat()).expect("of values");
    if !a.as_bytes().starts_with(b"W/") {
        assert_eq!(same, matches(std::slice::from_ref(&weak), Some(b)));
        assert_eq!(same, matches(std::slice::from_ref(b), Some(&weak)));
    }
    // Strong comparison, RFC 9110 §8.8.3.2: only the very tag, and no weak one.
    let mut request = fields(IF_RANGE, std::slice::from_ref(a));
    request.insert(RANGE, HeaderValue::from_static("bytes=0-0"));
    let holds = parts(&request, &fields(ETAG, std::slice::from_ref(b)), 9) != Parts::Whole;
    assert_eq!(holds, a == b && a.as_bytes().starts_with(b"\""));
}

fn matches(list: &[HeaderValue], stored: Option<&HeaderValue>) -> bool {
    let stored = stored.map(|tag| fields(ETAG, std::slice::from_ref(tag)));
    not_modified(&fields(IF_NONE_MATCH, list), &stored.unwrap_or_default())
}

fn opaque(tag: &[u8]) -> &[u8] {
    match tag {
        [b'W', b'/', rest @ ..] => rest,
        tag => tag,
    }
}

/// What is well-formed stays so in origin form, means the same, and is in that form. What passes as
/// plain can be read, with all its fields.
fn head(bytes: &[u8]) {
    let Ok(checked) = check(bytes) else { return };
    if checked.plain {
        let mut head = Head::default();
        head.read(bytes).expect("it was checked");
        assert!(head.fields.contains_key(HOST));
        assert!(bytes.windows(head.target.len()).any(|w| w == head.target));
    }
    let Ok(Some(origin_form)) = to_origin_form(bytes) else {
        return;
    };
    assert_eq!(check(&origin_form), Ok(checked));
    assert_eq!(to_origin_form(&origin_form), Ok(None));
    let text = String::from_utf8_lossy(&origin_form).to_ascii_lowercase();
    assert_eq!(text.matches("\r\nhost:").count(), 1);
}

/// Wherever the network cuts it, a chunked body ends where a plain reading says, or nowhere.
fn chunks(bytes: &[u8]) {
    let Some((step, body)) = bytes.split_first() else {
        return;
    };
    // Longer lines are refused for their length alone.
    if body.len() > 1000 {
        return;
    }
    let (mut reader, mut taken, mut refused) = (Chunks::default(), 0, false);
    for piece in body.chunks(usize::from(*step).max(1)) {
        match reader.take(piece) {
            Ok(n) => taken += n,
            Err(_) => refused = true,
        }
        if refused || reader.ended() {
            break;
        }
    }
    let end = (!refused && reader.ended()).then_some(taken);
    assert_eq!(end, plain_end(body));
}

/// RFC 9112 §7.1, of a whole body. None: it is not whole, or malformed.
fn plain_end(body: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = line(body, at)?;
        let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let (size, extension) = line.split_at(digits);
        let size = std::str::from_utf8(size).expect("digits");
        let size = u64::from_str_radix(size, 16).ok()?;
        if !matches!(extension.first(), None | Some(b';' | b' ' | b'\t')) {
            return None;
        }
        at += line.len() + 2;
        if size == 0 {
            break;
        }
        at = at.checked_add(usize::try_from(size).ok()?)?;
        if body.get(at..at.checked_add(2)?)? != b"\r\n" {
            return None;
        }
        at += 2;
    }
    loop {
        let trailer = line(body, at)?;
        at += trailer.len() + 2;
        if trailer.is_empty() {
            return Some(at);
        }
        let colon = trailer.iter().position(|b| *b == b':')?;
        let token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
        if colon == 0 || !trailer[..colon].iter().all(token) {
            return None;
        }
    }
}

/// Text up to CR LF, without it.
fn line(body: &[u8], at: usize) -> Option<&[u8]> {
    let rest = body.get(at..)?;
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    let text = |b: &u8| *b == b'\t' || (*b >= b' ' && *b != 0x7f);
    rest[..end].iter().all(text).then_some(&rest[..end])
}

/// Where a section of fields has a request's pseudo-fields, it has them with one more field as well; and after that none
/// may follow.
fn pseudo_fields(section: &[u8]) {
    const A_FIELD: &[u8] = b"\x21x\x01y";
    const A_PATH: &[u8] = b"\xc1";
    let with = |lines: &[&[u8]]| check_pseudo_fields(&[section, &lines.concat()].concat());
    if check_pseudo_fields(section).is_ok() {
        assert_eq!(with(&[A_FIELD]), Ok(()));
        assert!(with(&[A_FIELD, A_PATH]).is_err());
        assert!(with(&[A_PATH, A_PATH]).is_err());
    }
}

/// An order that is understood can be written down and is understood again.
fn purge(bytes: &[u8]) {
    let Ok(order) = serde_json::from_slice::<PurgeOrder>(bytes) else {
        return;
    };
    let written = serde_json::to_string(&order).expect("an order can be written");
    let again: PurgeOrder = serde_json::from_str(&written).expect("what was written");
    assert_eq!(written, serde_json::to_string(&again).expect("as before"));
}

/// What is read can be written and read again, and what isn't is an error that shows the text.
fn units(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let shows = |error: String| assert!(error.contains('`') && error.contains("; "), "{error}");
    match units::rate(text) {
        Ok(Rate { count, per }) => {
            assert!(count > 0 && !per.is_zero());
            let written = format!("{count}/{}s", per.as_secs());
            assert_eq!(units::rate(&written), Ok(Rate { count, per }));
        }
        Err(error) => shows(error.to_string()),
    }
    match units::size(text) {
        Ok(size) => assert_eq!(units::size(&units::size_text(size)), Ok(size)),
        Err(error) => shows(error.to_string()),
    }
    match units::duration(text) {
        Ok(time) => assert_eq!(units::duration(&units::duration_text(time)), Ok(time)),
        Err(error) => shows(error.to_string()),
    }
    match units::share(text) {
        Ok(share) => assert!((0.0..=1.0).contains(&share)),
        Err(error) => shows(error.to_string()),
    }
}

/// Whatever a file says: a configuration, or errors that show where in it. What loads, loads again as the
/// same, and none of it is different.
fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let nothing = |_: &str| None;
    // As YAML counts them, and those before it.
    let lines = text
        .split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'])
        .count();
    match config::parse(text, "fuzz.yaml", &nothing) {
        Ok(loaded) => {
            let again = config::parse(text, "fuzz.yaml", &nothing).expect("as before");
            assert_eq!(loaded.config, again.config);
            let changes = config::Changes::between(&loaded.written, &again.written);
            assert!(changes.is_empty());
            let places = loaded.warnings.iter().map(|warning| warning.span.line);
            places.for_each(|line| assert!(line <= lines));
        }
        Err(errors) => {
            let shown = errors.to_string();
            let first = shown.lines().next().expect("one error at least");
            let mut parts = first.splitn(4, ':');
            assert_eq!(parts.next(), Some("fuzz.yaml"));
            let line = parts.next().and_then(|line| line.parse::<usize>().ok());
            // YAML may miss something behind the last line.
            assert!(line.is_some_and(|line| line <= lines + 1), "{first}");
        }
    }
    if let Ok(format) = LogFormat::template(text) {
        assert_eq!(LogFormat::template(text), Ok(format));
    }
}

/// What is read is what is written again, but for flags and versions that are not known.
fn trace(bytes: &[u8]) {
    let Some(parent) = Traceparent::read(bytes) else {
        return;
    };
    let written = parent.to_value();
    assert_eq!(Traceparent::read(written.as_bytes()), Some(parent));
    assert_eq!(written.as_bytes()[3..52], bytes[3..52]);
}

/// One field value a line; None where one of them could not be in a head.
fn field_lines(bytes: &[u8]) -> Option<Vec<HeaderValue>> {
    let lines = bytes.split(|b| *b == b'\n').take(8);
    lines
        .map(|line| HeaderValue::from_bytes(line).ok())
        .collect()
}

fn fields(name: HeaderName, lines: &[HeaderValue]) -> HeaderMap {
    lines
        .iter()
        .map(|line| (name.clone(), line.clone()))
        .collect()
}

/// Whether quotes are closed, so that a comma after it separates.
fn is_balanced(line: &[u8]) -> bool {
    !line.contains(&b'\\') && line.iter().filter(|b| **b == b'"').count() % 2 == 0
}

fn members_of(line: &HeaderValue) -> usize {
    members(line.as_bytes()).len()
}

/// Split by commas outside quotes, in which a backslash takes the next byte's meaning away.
fn members(line: &[u8]) -> Vec<Vec<u8>> {
    let (mut all, mut quoted, mut bytes) = (vec![Vec::new()], false, line.iter());
    while let Some(byte) = bytes.next() {
        let last = all.last_mut().expect("one at least");
        match byte {
            b',' if !quoted => all.push(Vec::new()),
            b'\\' if quoted => {
                last.push(*byte);
                last.extend(bytes.next());
            }
            byte => {
                quoted ^= *byte == b'"';
                last.push(*byte);
            }
        }
    }
    all.into_iter()
        .map(|member| member.trim_ascii().to_vec())
        .collect()
}

/// A header is read the same however much follows it, and never from a part of it.
fn proxied(bytes: &[u8]) {
    let Ok(Some(header)) = read_proxied(bytes) else {
        return;
    };
    assert!(header.length <= bytes.len());
    assert_eq!(read_proxied(&bytes[..header.length]), Ok(Some(header)));
    for end in 0..header.length {
        assert_eq!(read_proxied(&bytes[..end]), Ok(None), "{end} bytes");
    }
}

/// Its normal form is one, of plain characters, and nothing in it can be read in another way.
fn path(bytes: &[u8]) {
    let Some(normal) = lakh::path::normal(bytes) else {
        return;
    };
    assert!(normal.starts_with('/') && normal.bytes().all(|b| b.is_ascii_graphic()));
    assert_eq!(
        lakh::path::normal(normal.as_bytes()).as_deref(),
        Some(&*normal)
    );
    assert!(!lakh::path::climbs(normal.as_bytes()));
    let found = lakh::path::agreed(bytes, |path| (path == normal).then_some(&()));
    assert!(lakh::path::climbs(bytes) || found == Ok(Some(&())));
}

/// Whatever they say, the client is the peer or an address that they name.
fn forwarded_hops(bytes: &[u8]) {
    let peer = [127, 0, 0, 1].into();
    let all = Networks::new(&["0.0.0.0/0".parse().expect("a network")]);
    let none = Networks::default();
    let told: Vec<_> = x_forwarded_for(bytes).collect();
    let client = client_address(peer, &all, told.iter().copied());
    assert!(client == peer || told.contains(&Some(client)));
    assert_eq!(client_address(peer, &none, told.iter().copied()), peer);
    let told: Vec<_> = forwarded(bytes).collect();
    let client = client_address(peer, &all, told.iter().copied());
    assert!(client == peer || told.contains(&Some(client)));
}
