//! Requests, as they come.

mod clients;
mod properties;
mod refusals;
mod signed;
mod ways;

use super::*;

const KEY: &str = "736563726574:68656C6C6F";

fn settings() -> ImageSettings {
    let mut settings = ImageSettings {
        paths: vec![PathForm::Presets, PathForm::Cloudflare, PathForm::Imgproxy],
        avif: true,
        ..ImageSettings::default()
    };
    let logo = crate::Watermark::new(Vec::new(), crate::Gravity::Centre, 50, 100);
    settings.watermarks.insert("logo".to_owned(), logo);
    settings
}

fn signed() -> ImageSettings {
    let signing = Some(Keys::read(KEY).expect("a key"));
    ImageSettings {
        signing,
        ..settings()
    }
}

fn ask_for(target: &str, settings: &ImageSettings) -> Result<Option<Asked>, AskError> {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let request = Request {
        host: "shop.example",
        path,
        query,
        client: Client::default(),
        now: 1_000,
    };
    ask(&request, settings)
}

fn asked(target: &str) -> Asked {
    let asked = ask_for(target, &settings());
    asked
        .unwrap_or_else(|e| panic!("{target}: {e}"))
        .unwrap_or_else(|| panic!("{target}: no plan"))
}

fn key(target: &str) -> String {
    asked(target).plan.key()
}

fn here(target: &str) -> Source {
    Source::Here(target.to_owned())
}

fn refusal(target: &str, settings: &ImageSettings) -> String {
    ask_for(target, settings).expect_err(target).to_string()
}
