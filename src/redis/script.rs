//! Scripts that Redis runs, each whole before anything else.

use super::link::Link;
use crate::breaker::Down;
use fred::clients::Pipeline;
use fred::prelude::*;
use fred::types::{ClusterHash, CustomCommand};
use sha1::{Digest, Sha1};
use std::fmt::Write;

/// Known to the server by its hash, once it was sent there.
pub struct Script {
    text: &'static str,
    hash: String,
}

impl Script {
    pub fn new(text: &'static str) -> Script {
        let mut hash = String::new();
        for byte in Sha1::digest(text) {
            // Writing to a String can't fail.
            let _ = write!(hash, "{byte:02x}");
        }
        Script { text, hash }
    }
}

impl Link {
    /// Runs it once for each key with the words beside it, all in one round trip; in two where the
    /// server doesn't know the script.
    pub async fn run(
        &self,
        script: &Script,
        calls: &[(String, Vec<String>)],
    ) -> Result<Vec<Vec<i64>>, Down> {
        self.ask(async {
            let mut answers = self.call("EVALSHA", &script.hash, calls).await?;
            let is_unknown = |answer: &FredResult<Value>| matches!(answer, Err(e) if e.details().starts_with("NOSCRIPT"));
            if answers.iter().all(is_unknown) {
                answers = self.call("EVAL", script.text, calls).await?;
            }
            answers.into_iter().map(|answer| answer?.convert()).collect()
        })
        .await
    }

    async fn call(
        &self,
        command: &'static str,
        script: &str,
        calls: &[(String, Vec<String>)],
    ) -> FredResult<Vec<FredResult<Value>>> {
        let pipeline = Pipeline::from(self.quick());
        for (key, words) in calls {
            let head = [script, "1", key].map(str::to_owned);
            let words: Vec<String> = head.into_iter().chain(words.iter().cloned()).collect();
            let command = CustomCommand::new_static(command, ClusterHash::Offset(2), false);
            let _: () = pipeline.custom(command, words).await?;
        }
        Ok(pipeline.try_all().await)
    }
}
