//! Makes of a photo what pages show, as the edge would make it: by the same code, from the same plan. Doing
//! it twice makes the same files under the same names.

use super::{Failure, behind::behind};
use crate::app::App;
use crate::domain::photo::{PRESETS, PhotoKind, PhotoName};
use crate::store::{Claim, PhotoFiles, RenditionMade};
use lakh_image::{ImageSettings, Limits, Overlays, Plan, Rendition, transform_all};
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Uploads are answered first; what is made of them can wait as long as a burst of them takes.
const BURST: Duration = Duration::from_secs(5);

/// A photo that takes longer is not what it seems.
const MOST_TIME: Duration = Duration::from_secs(60);

/// What clients say they read: nothing in particular, or WebP.
const READERS: [Option<&str>; 2] = [None, Some("image/webp")];

pub async fn make(app: &App, claim: &Claim) -> Result<(), Failure> {
    let not_a_name = |()| Failure::ForGood("not a photo's name".into());
    let name: PhotoName = claim.subject.parse().map_err(not_a_name)?;
    if app.store.photo(&name).await?.is_none() {
        // Its listing was removed; there is nothing to do.
        app.store.finish(claim).await?;
        return Ok(());
    }
    app.uploads.give_way(BURST).await;
    let (files, photo) = (app.files.clone(), name.clone());
    let made = behind(move || render(&files, &photo)).await??;

    let kept = app.store.add_renditions(claim, &made).await?;
    if !kept && app.store.photo(&name).await?.is_none() {
        for one in made.iter().flat_map(|one| one.name.parse().ok()) {
            app.files.remove(&one).await?;
        }
    }
    Ok(())
}

fn render(files: &Arc<PhotoFiles>, photo: &PhotoName) -> Result<Vec<RenditionMade>, Failure> {
    files.settle(photo)?;
    let source = fs::read(files.path(photo))?;
    let settings = ImageSettings::default();
    let limits = Limits {
        deadline: Some(Instant::now() + MOST_TIME),
        ..Limits::from(&settings)
    };
    let (presets, plans) = plans(&settings);
    let mut made: Vec<RenditionMade> = Vec::with_capacity(plans.len());
    let renditions = transform_all(&source, &plans, &limits, &Overlays::default());
    for (preset, rendition) in presets.into_iter().zip(renditions) {
        let rendition = rendition.map_err(|error| Failure::ForGood(error.to_string()))?;
        let Some(kind) = PhotoKind::from_media_type(rendition.content_type) else {
            continue;
        };
        let name = photo.rendition(preset, kind);
        // Where WebP would be no smaller, and for a WebP photo, both readers are given one format:
        // the first is kept.
        if made.iter().all(|one| one.name != name.to_string()) {
            files.put(&name, &rendition.bytes)?;
            made.push(described(preset, &name, &rendition));
        }
    }
    Ok(made)
}

fn plans(settings: &ImageSettings) -> (Vec<&'static str>, Vec<Plan>) {
    let each = PRESETS
        .iter()
        .flat_map(|preset| READERS.map(|accept| (*preset, accept)));
    each.map(|(preset, accept)| {
        let query = format!("preset={preset}");
        let plan = Plan::from_request(Some(&query), accept, settings)
            .expect("the default settings have these presets")
            .expect("a preset asks for something");
        (preset, plan)
    })
    .unzip()
}

fn described(preset: &str, name: &PhotoName, rendition: &Rendition) -> RenditionMade {
    RenditionMade {
        preset: preset.into(),
        url: name.path(),
        width: rendition.width.into(),
        height: rendition.height.into(),
        bytes: i64::try_from(rendition.bytes.len()).expect("pictures are smaller than 2^63 bytes"),
        name: name.to_string(),
    }
}
