//! The page people see. No script and nothing from elsewhere: HTML, inline style, and photos that
//! the edge resizes by preset.

use super::listings::{LISTS, kept, turn, while_complete};
use super::problem::Problem;
use super::query::Asked;
use super::representation::Representation;
use crate::app::App;
use crate::domain::listing::{Availability, Listing};
use crate::domain::search::SearchQuery;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use std::sync::Arc;

const CACHE: &str = "public, max-age=5, s-maxage=60";
const CONTENT_POLICY: &str = "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; \
    form-action 'self'; frame-ancestors 'none'";
const STYLE: &str = include_str!("home.css");
const FOR_A_DAY: &str = "public, max-age=86400";
const ICON: &str = include_str!("home_icon.svg");
const FORM: &str = include_str!("home_form.html");

pub async fn show(
    State(app): State<Arc<App>>,
    Asked(query): Asked<SearchQuery>,
) -> Result<Response, Problem> {
    let search = query.check().map_err(Problem::bad_query)?;
    let cache = while_complete(&app, kept(&search, CACHE)).await?;
    let (listings, next) = turn(&app, &search).await?;
    let older = next.map(|cursor| search.query_after(cursor));
    let page = Representation::html(html(&listings, older.as_deref()));
    let mut response = page.answer(cache, LISTS);
    let policy = HeaderValue::from_static(CONTENT_POLICY);
    response
        .headers_mut()
        .insert(header::CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}

/// Browsers ask for one.
pub async fn icon() -> Response {
    Representation::svg(ICON.into()).answer(FOR_A_DAY, "")
}

fn html(listings: &[Listing], older: Option<&str>) -> String {
    let cards: String = listings.iter().map(card).collect();
    let cards = match cards.as_str() {
        "" => "<p class=none>Nothing is lent here yet.</p>",
        cards => cards,
    };
    let more = match older {
        Some(query) => format!(
            "<nav><a href=\"/?{}\">Older listings</a></nav>",
            escape(query)
        ),
        None => String::new(),
    };
    format!(
        "<!doctype html><html lang=en><head><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width, initial-scale=1\">\
         <link rel=icon href=/icon.svg><title>Lakh · borrow from your neighbours</title><style>{STYLE}</style></head><body>\
         <header><a href=/>Lakh</a><h1>Borrow it from next door.</h1>\
         <p>Ladders, kayaks, cameras: most things are needed one day a year.</p></header>\
         {FORM}<main>{cards}</main>{more}</body></html>"
    )
}

fn card(listing: &Listing) -> String {
    let draft = &listing.draft;
    format!(
        "<article>{picture}<div><h2>{title}</h2><p>{text}</p>\
         <dl><dt>Price</dt><dd class=price>{price}</dd><dt>Place</dt><dd>{place}</dd>\
         <dt>Available</dt><dd>{available}</dd></dl><small>from {owner}</small></div></article>",
        picture = picture(listing),
        title = escape(&draft.title),
        text = escape(&draft.text),
        price = price(draft.price_cents),
        place = escape(&draft.place),
        available = available(&draft.availability),
        owner = escape(&listing.owner.name),
    )
}

/// Wide cards take the larger preset only where pixels are dense.
fn picture(listing: &Listing) -> String {
    let Some(photo) = listing.photos.first() else {
        let initial = listing
            .draft
            .title
            .chars()
            .next()
            .unwrap_or('·')
            .to_string();
        return format!(
            "<span class=blank aria-hidden=true>{}</span>",
            escape(&initial)
        );
    };
    format!(
        "<img src=\"{path}?preset=medium\" srcset=\"{path}?preset=thumbnail 200w, \
         {path}?preset=medium 800w\" sizes=\"(max-width: 40rem) 100vw, 20rem\" \
         alt=\"{alt}\" width=400 height=300 loading=lazy>",
        path = photo.path(),
        alt = escape(&listing.draft.title),
    )
}

fn price(cents: i64) -> String {
    match cents {
        0 => "free".into(),
        cents => format!("€ {}.{:02} a day", cents / 100, cents % 100),
    }
}

fn available(availability: &Availability) -> String {
    match availability {
        Availability::Now(true) => "now".into(),
        Availability::Now(false) => "not now".into(),
        Availability::Between { from, to } => format!("{} to {}", escape(from), escape(to)),
    }
}

/// Safe as text and inside quoted attributes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_a_listing_stays_text() {
        assert_eq!(escape("<a b='\"&'>"), "&lt;a b=&#39;&quot;&amp;&#39;&gt;");
    }

    #[test]
    fn prices_have_two_decimals() {
        assert_eq!(price(0), "free");
        assert_eq!(price(5), "€ 0.05 a day");
        assert_eq!(price(1250), "€ 12.50 a day");
    }
}
