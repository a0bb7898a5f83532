//! Who lends what in the demonstration.

use super::photo_name;
use crate::domain::listing::{Availability, Draft};
use crate::store::SeedListing;

/// Name and e-mail address; example.org belongs to nobody. RFC 2606 §3.
pub const PEOPLE: &[(&str, &str)] = &[
    ("Amara Okafor", "amara@example.org"),
    ("Jonas Lindqvist", "jonas@example.org"),
    ("Mei Tanaka", "mei@example.org"),
];

/// Owner, photo or "", title, category, cents a day, place, text; the first is shown first.
type Row = (
    usize,
    &'static str,
    &'static str,
    &'static str,
    i64,
    &'static str,
    &'static str,
);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    (0, "kayak", "Red touring kayak", "sports", 2_500, "Lake Road 4",
     "Stable, dry, fast enough. Paddle and two life vests included."),
    (1, "bicycle", "City bicycle with seven gears", "sports", 900, "Mill Lane 12",
     "New tyres, good lights, a lock. For riders from 165 to 185 cm."),
    (2, "camera", "Film camera with 50 mm lens", "electronics", 1_800, "Harbour Street 31",
     "Fully mechanical. I show you how to load it, and where to have film developed."),
    (0, "tent", "Tent for three", "travel", 1_200, "Lake Road 4",
     "Up in five minutes, holds in rain and wind. Please return it dry."),
    (1, "ladder", "Wooden ladder, 3.5 m", "tools", 350, "Mill Lane 12",
     "For gutters, cherries and light bulbs. Fits on a roof rack."),
    (2, "guitar", "Acoustic guitar", "music", 700, "Harbour Street 31",
     "Steel strings, warm tone, a few scratches with stories. Bag and tuner included."),
    (0, "drill", "Cordless drill", "tools", 600, "Lake Road 4",
     "Two batteries, thirty bits. Goes through brick if you are patient."),
    (1, "pots", "Three large pots", "kitchen", 400, "Mill Lane 12",
     "Soup for forty people. Have served at every street party since 2009."),
    (2, "", "Projector and screen", "electronics", 1_500, "Harbour Street 31",
     "For film nights in the yard. HDMI cable included, popcorn not."),
    (0, "", "Hedge trimmer", "garden", 500, "Lake Road 4",
     "Electric, with a long cable. Not before nine, please."),
    (1, "", "Cargo trailer for bicycles", "travel", 800, "Mill Lane 12",
     "Carries a washing machine, tried and true. Up to 60 kg."),
    (2, "", "Children's books, a whole crate", "books", 0, "Harbour Street 31",
     "Forty books for four to eight years. Keep them for a month, pass on what you love."),
];

/// In the order in which they are to be entered: lists show the newest first.
pub fn listings() -> Vec<SeedListing> {
    ROWS.iter().rev().map(listing).collect()
}

fn listing(&(owner, photo, title, category, price_cents, place, text): &Row) -> SeedListing {
    SeedListing {
        owner,
        photo: (!photo.is_empty()).then(|| photo_name(photo)),
        draft: Draft {
            title: title.into(),
            text: text.into(),
            category: category.into(),
            price_cents,
            place: place.into(),
            availability: Availability::Now(true),
            archived: false,
        },
    }
}
