//! Sessions in Redis: who asks with each request asks there, and not the database. A session is a value that
//! ends when it does. The digest of a refresh token leads to its session, and whoever is the first to note that
//! it was used may go on.

use super::Session;
use crate::domain::clock::Moment;
use crate::redis::{builder, stay_connected};
use fred::prelude::*;
use fred::types::{ClusterHash, CustomCommand};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

pub struct InRedis {
    client: Client,
    _connection: JoinSet<()>,
}

pub enum Traded {
    Session { id: String, user: i64 },
    Stolen { user: i64 },
    Unknown,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    user: i64,
    device: String,
    created_at: String,
    used_at: String,
}

impl InRedis {
    pub fn at(url: &str) -> Result<Self, Error> {
        let client = builder(url)?.build()?;
        let connection = JoinSet::from_iter([stay_connected(client.clone())]);
        Ok(Self {
            client,
            _connection: connection,
        })
    }

    /// The oldest of somebody's go when there are more than so many.
    pub async fn open(
        &self,
        user: i64,
        id: &str,
        device: &str,
        refresh: &str,
        (expires, now): (Moment, Moment),
        most: i64,
    ) -> Result<(), Error> {
        let kept = Kept {
            user,
            device: device.into(),
            created_at: now.iso(),
            used_at: now.iso(),
        };
        let lasts = Expiration::PX(expires.0 - now.0);
        // First in the list: what isn't there can't be ended.
        self.list_as_used(user, id, expires, now).await?;
        let told = told(&kept);
        let _: () = self
            .client
            .set(session(id), told, Some(lasts.clone()), None, false)
            .await?;
        let _: () = self
            .client
            .set(token(refresh), id, Some(lasts), None, false)
            .await?;
        let oldest = self
            .listed(user, &["0".into(), (-most - 1).to_string()])
            .await?;
        self.end(user, &oldest).await
    }

    pub async fn trade(
        &self,
        old: &str,
        new: &str,
        expires: Moment,
        now: Moment,
    ) -> Result<Traded, Error> {
        let lasts = || Some(Expiration::PX(expires.0 - now.0));
        let Some(id) = self.client.get::<Option<String>, _>(token(old)).await? else {
            return Ok(Traded::Unknown);
        };
        let only_first = Some(SetOptions::NX);
        let first: Option<String> = self
            .client
            .set(spent(old), "", lasts(), only_first, false)
            .await?;
        let Some(kept) = self.kept(&id).await? else {
            return Ok(Traded::Unknown);
        };
        let user = kept.user;
        if first.is_none() {
            self.end(user, &[id]).await?;
            return Ok(Traded::Stolen { user });
        }
        let used = told(&Kept {
            used_at: now.iso(),
            ..kept
        });
        let _: () = self
            .client
            .set(token(new), id.as_str(), lasts(), None, false)
            .await?;
        // Ended meanwhile, it stays so.
        let only_there = Some(SetOptions::XX);
        let there: Option<String> = self
            .client
            .set(session(&id), used, lasts(), only_there, false)
            .await?;
        if there.is_none() {
            return Ok(Traded::Unknown);
        }
        self.list_as_used(user, &id, expires, now).await?;
        Ok(Traded::Session { id, user })
    }

    pub async fn ping(&self) -> Result<(), Error> {
        self.kept("").await.map(drop)
    }

    /// Whether it is theirs, and lasts.
    pub async fn is_of(&self, id: &str, user: i64) -> Result<bool, Error> {
        let kept = self.kept(id).await?;
        Ok(kept.is_some_and(|kept| kept.user == user))
    }

    /// Used last first.
    pub async fn of(&self, user: i64) -> Result<Vec<Session>, Error> {
        let mut sessions = Vec::new();
        for id in self.all(user).await?.into_iter().rev() {
            if let Some(kept) = self.kept(&id).await? {
                sessions.push(Session {
                    id,
                    device: kept.device,
                    created_at: kept.created_at,
                    used_at: kept.used_at,
                });
            }
        }
        Ok(sessions)
    }

    /// One of them, or with None all.
    pub async fn end_of(&self, user: i64, id: Option<&str>) -> Result<(), Error> {
        let ids = match id {
            Some(id) if self.is_of(id, user).await? => vec![id.to_owned()],
            Some(_) => Vec::new(),
            None => self.all(user).await?,
        };
        self.end(user, &ids).await
    }

    async fn end(&self, user: i64, ids: &[String]) -> Result<(), Error> {
        for id in ids {
            let _: () = self.client.del(session(id)).await?;
            self.command::<()>("ZREM", &[list(user), id.clone()])
                .await?;
        }
        Ok(())
    }

    async fn kept(&self, id: &str) -> Result<Option<Kept>, Error> {
        let told: Option<String> = self.client.get(session(id)).await?;
        Ok(told.and_then(|told| serde_json::from_str(&told).ok()))
    }

    async fn list_as_used(
        &self,
        user: i64,
        id: &str,
        expires: Moment,
        now: Moment,
    ) -> Result<(), Error> {
        let (list, used) = (list(user), now.0.to_string());
        self.command::<()>("ZADD", &[list.clone(), used, id.to_owned()])
            .await?;
        let _: () = self.client.pexpire(list, expires.0 - now.0, None).await?;
        Ok(())
    }

    /// Used first first.
    async fn all(&self, user: i64) -> Result<Vec<String>, Error> {
        self.listed(user, &["0".into(), "-1".into()]).await
    }

    async fn listed(&self, user: i64, range: &[String]) -> Result<Vec<String>, Error> {
        self.command("ZRANGE", &[&[list(user)], range].concat())
            .await
    }

    async fn command<T: FromValue>(
        &self,
        name: &'static str,
        arguments: &[String],
    ) -> Result<T, Error> {
        let command = CustomCommand::new_static(name, ClusterHash::FirstKey, false);
        self.client.custom(command, arguments.to_vec()).await
    }
}

fn session(id: &str) -> String {
    format!("lakh-origin:session:{id}")
}

/// Of somebody's sessions, by when they were used.
fn list(user: i64) -> String {
    format!("lakh-origin:sessions:{user}")
}

fn token(digest: &str) -> String {
    format!("lakh-origin:refresh:{digest}")
}

fn spent(digest: &str) -> String {
    format!("lakh-origin:spent:{digest}")
}

fn told(kept: &Kept) -> String {
    serde_json::to_string(kept).expect("numbers and texts")
}
