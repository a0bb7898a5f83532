//! `/img/thumbnail/photos/1.jpg`: a preset, and the path of its source.

use super::text::decoded;
use super::{AskError, Request, Source, Written, query};
use crate::settings::ImageSettings;

/// None where it isn't a preset: an application may have a folder of that name too.
pub(super) fn read<'r>(
    request: &Request<'r>,
    settings: &ImageSettings,
) -> Option<Result<Written<'r>, AskError>> {
    let rest = request.path.strip_prefix("/img/")?;
    let at = rest.find('/')?;
    let (preset, path) = rest.split_at(at);
    let (preset, _) = settings.presets.get_key_value(&*decoded(preset))?;
    let asked = Request { path, ..*request };
    Some(query::read(&asked, settings).and_then(|more| {
        let mut written = match more {
            Some(written) => written,
            None => Written {
                source: Source::Here(query::with_own(path, request.query, settings)),
                ..Written::default()
            },
        };
        written.presets.insert(0, preset.clone());
        // What was signed is what was sent.
        written.proof = query::proof(request, settings)?;
        Ok(written)
    }))
}
