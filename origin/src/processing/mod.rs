//! Who answers what devices ask: a model behind an OpenAI-compatible service, or rules that are built in.

mod model;
mod rules;

pub use model::{Model, service_url};
pub use rules::Rules;

use crate::jobs::Failure;
use std::{future::Future, pin::Pin};

pub type Answer<'a> = Pin<Box<dyn Future<Output = Result<String, Failure>> + Send + 'a>>;

pub trait Processor: Send + Sync {
    fn process<'a>(&'a self, text: &'a str) -> Answer<'a>;
}
