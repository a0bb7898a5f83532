//! Demonstration data, so that a first start shows something: people, listings and photos of
//! twelve megapixels, drawn here. Made once per data folder. Nobody can log in as these people.

mod catalogue;
mod noise;
mod scene;
mod scenes;

use crate::domain::photo::PhotoName;
use crate::observe::log;
use crate::store::{PhotoFiles, Store};
use serde_json::json;
use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs::File, io, path::Path, thread, time::Instant};

const JOB: &str = "demo";

/// Waits while another process is at it. A process that dies here leaves nothing but photos, which
/// the next one draws again, the same to the byte.
pub async fn seed(data: &Path, store: &Store, files: &PhotoFiles) -> Result<(), Box<dyn Error>> {
    if store.is_done(JOB).await? {
        return Ok(());
    }
    let turn = File::create(data.join("demo.lock"))?;
    turn.lock()?;
    if store.is_done(JOB).await? {
        return Ok(());
    }

    let start = Instant::now();
    draw_photos(files)?;
    store
        .seed(JOB, catalogue::PEOPLE, &catalogue::listings())
        .await?;
    log::info(
        "demo_made",
        json!({ "seconds": start.elapsed().as_secs_f64() }),
    );
    Ok(())
}

/// Every processor takes the next photo as soon as it has finished one.
fn draw_photos(files: &PhotoFiles) -> io::Result<()> {
    let scenes = scenes::all();
    let next = AtomicUsize::new(0);
    let draw = || -> io::Result<()> {
        while let Some((slug, scene)) = scenes.get(next.fetch_add(1, Ordering::Relaxed)) {
            files.put(&photo_name(slug), &scene.jpeg())?;
        }
        Ok(())
    };
    let processors = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let drawing: Vec<_> = (0..processors).map(|_| scope.spawn(draw)).collect();
        drawing
            .into_iter()
            .try_for_each(|one| one.join().expect("drawing does not panic"))
    })
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
