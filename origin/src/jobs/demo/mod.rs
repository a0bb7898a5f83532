//! Demonstration data, so that a first start shows something: people, listings and photos of
//! twelve megapixels, drawn here. Made once per database. Nobody can log in as these people.

mod catalogue;
mod noise;
mod scene;
mod scenes;

use super::{Failure, behind::behind};
use crate::app::App;
use crate::domain::clock::Moment;
use crate::domain::job::Kind;
use crate::domain::photo::PhotoName;
use crate::store::{Added, By, Claim, Store};
use std::sync::atomic::Ordering;

const NAME: &str = "demo";

/// Of several processes the first enters it. The photos are left to the workers, because drawing them takes
/// longer than anybody waits for a page.
pub async fn seed(store: &Store) -> sqlx::Result<()> {
    let (people, listings) = (catalogue::PEOPLE, catalogue::listings());
    store.seed(NAME, people, &listings, Moment::now()).await
}

/// Draws the first of what is left, the same to the byte whoever does it, and has its listing show it. One
/// after the other: so the first is there soon, and those who ask for something find a processor.
pub async fn draw(app: &App, claim: &Claim) -> Result<(), Failure> {
    let unknown = || Failure::ForGood("no photo of the demonstration".into());
    let mut left = claim.subject.splitn(3, ' ');
    let listing: Option<i64> = left.next().and_then(|id| id.parse().ok());
    let name: Option<PhotoName> = left.next().and_then(|name| name.parse().ok());
    let (listing, name) = listing.zip(name).ok_or_else(unknown)?;
    let rest = left.next().unwrap_or_default();
    let mut scenes = scenes::all().into_iter();
    let scene = scenes.find(|(slug, _)| photo_name(slug) == name);
    let (_, scene) = scene.ok_or_else(unknown)?;

    let (files, drawn) = (app.files.clone(), name.clone());
    behind(move || files.put(&drawn, &scene.jpeg())).await??;

    let by = By::itself(Moment::now());
    match app.store.add_drawn(claim, listing, &name, rest, by).await? {
        Some(Added::TooManyWaiting) => Err(Failure::Passing("too many jobs wait".into())),
        Some(Added::NoRoom) => Ok(app.files.remove(&name).await?),
        Some(Added::Yes) => {
            app.work.notify_one();
            Ok(())
        }
        None => Ok(()),
    }
}

/// Whether listings look as they will until somebody writes. A photo that is drawn is no answer to a write, so
/// there is nothing by which the edge could be told.
pub async fn is_complete(app: &App) -> sqlx::Result<bool> {
    if !app.drawing.load(Ordering::Relaxed) {
        return Ok(true);
    }
    let left = app.store.is_left(Kind::Drawing).await?;
    app.drawing.store(left, Ordering::Relaxed);
    Ok(!left)
}

fn photo_name(slug: &str) -> PhotoName {
    format!("demo-{slug}.jpg")
        .parse()
        .expect("slugs are lower-case letters and dashes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::listing::Draft;

    #[test]
    fn every_photo_that_a_listing_shows_is_drawn() {
        let drawn: Vec<_> = scenes::all()
            .iter()
            .map(|(slug, _)| photo_name(slug))
            .collect();
        let shown: Vec<_> = catalogue::listings()
            .into_iter()
            .flat_map(|one| one.photo)
            .collect();
        assert!(shown.iter().all(|name| drawn.contains(name)));
        assert_eq!(shown.len(), drawn.len());
    }

    #[test]
    fn the_listings_obey_the_rules() {
        for listing in catalogue::listings() {
            let body = serde_json::to_value(&listing.draft).expect("a draft has only text keys");
            assert!(Draft::read(body).is_ok(), "{}", listing.draft.title);
            assert!(listing.owner < catalogue::PEOPLE.len());
        }
    }
}
