//! A model behind `POST …/chat/completions`, as OpenAI's service and many others speak it.

use super::{Answer, Processor};
use crate::jobs::Failure;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::task;
use ureq::Agent;
use url::Url;

const MOST_TIME: Duration = Duration::from_secs(60);
const MOST_BYTES: u64 = 256 * 1024;

const TASK: &str =
    "You answer for a neighbourhood in which people lend each other things. Be short and plain.";

/// The URL itself, where it may be a service's.
pub fn service_url(url: &str) -> Result<String, String> {
    let is_http = |read: Url| ["http", "https"].contains(&read.scheme()) && read.has_host();
    match Url::parse(url).is_ok_and(is_http) {
        true => Ok(url.into()),
        false => Err("write it as https://host/v1".into()),
    }
}

pub struct Model(Arc<Service>);

struct Service {
    agent: Agent,
    url: String,
    model: String,
    key: Option<String>,
}

impl Model {
    /// `base` is what comes before `/chat/completions`.
    pub fn new(base: &str, model: &str, key: Option<&str>) -> Self {
        let settings = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(MOST_TIME));
        Self(Arc::new(Service {
            agent: settings.build().into(),
            url: format!("{}/chat/completions", base.trim_end_matches('/')),
            model: model.into(),
            key: key.map(str::to_owned),
        }))
    }
}

impl Processor for Model {
    fn process<'a>(&'a self, text: &'a str) -> Answer<'a> {
        let (service, text) = (self.0.clone(), text.to_owned());
        Box::pin(async move {
            let asking = task::spawn_blocking(move || service.ask(&text));
            asking
                .await
                .map_err(|error| Failure::Passing(error.to_string()))?
        })
    }
}

impl Service {
    fn ask(&self, text: &str) -> Result<String, Failure> {
        let passing = |error: ureq::Error| Failure::Passing(error.to_string());
        let body = json!({
            "model": self.model,
            "messages": [{"role": "system", "content": TASK}, {"role": "user", "content": text}],
        });
        let mut asked = self.agent.post(&self.url).content_type("application/json");
        if let Some(key) = &self.key {
            asked = asked.header("authorization", format!("Bearer {key}"));
        }
        let mut answer = asked.send(body.to_string()).map_err(passing)?;
        let status = answer.status().as_u16();
        let body = answer.body_mut().with_config().limit(MOST_BYTES);
        read(status, &body.read_to_vec().map_err(passing)?)
    }
}

/// What it says is too much or its own fault may go better later; what it says is our fault will not.
fn read(status: u16, body: &[u8]) -> Result<String, Failure> {
    match status {
        200 => {}
        408 | 429 | 500.. => {
            return Err(Failure::Passing(format!(
                "the model's service says {status}"
            )));
        }
        _ => {
            return Err(Failure::ForGood(format!(
                "the model's service says {status}"
            )));
        }
    }
    let body: Option<Value> = serde_json::from_slice(body).ok();
    let said = body.and_then(|body| {
        let content = body.pointer("/choices/0/message/content")?;
        content.as_str().map(str::to_owned)
    });
    said.ok_or_else(|| Failure::Passing("the model's service said nothing".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_and_a_failure_is_passing_or_for_good() {
        let said = br#"{"choices": [{"message": {"role": "assistant", "content": "A ladder."}}]}"#;
        assert!(matches!(read(200, said), Ok(answer) if answer == "A ladder."));
        assert!(matches!(read(200, b"{}"), Err(Failure::Passing(_))));
        assert!(matches!(read(429, b""), Err(Failure::Passing(_))));
        assert!(matches!(read(503, b""), Err(Failure::Passing(_))));
        assert!(matches!(read(401, b""), Err(Failure::ForGood(_))));
    }
}
