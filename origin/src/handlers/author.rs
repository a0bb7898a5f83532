//! Who is asking: the user a bearer token names, for as long as its session lasts. RFC 6750.

use super::problem::Problem;
use crate::app::App;
use crate::domain::clock::Moment;
use crate::domain::user::{Role, User};
use crate::store::By;
use axum::extract::FromRequestParts;
use axum::http::{header, request::Parts};
use std::sync::Arc;

pub struct Author {
    pub user: User,
    pub session: String,
    pub at: Moment,
}

impl Author {
    pub fn id(&self) -> i64 {
        self.user.id
    }

    pub fn by(&self) -> By {
        By {
            user: Some(self.user.id),
            at: self.at,
        }
    }

    /// What was found, if it is theirs. Others' things are nobody's business, not even that there are any.
    pub fn own<T>(
        &self,
        found: Option<T>,
        owner: impl Fn(&T) -> i64,
        thing: &str,
    ) -> Result<T, Problem> {
        let own = found.filter(|found| owner(found) == self.id());
        own.ok_or_else(|| Problem::no_such(thing))
    }

    pub fn may(&self, role: Role) -> bool {
        self.user.role >= role
    }

    pub fn must_be(&self, role: Role) -> Result<(), Problem> {
        match self.may(role) {
            true => Ok(()),
            false => Err(Problem::forbidden("Your role does not allow this.")),
        }
    }
}

impl FromRequestParts<Arc<App>> for Author {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let given = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let Some((scheme, token)) = given.and_then(|value| value.split_once(' ')) else {
            return Err(Problem::unauthorized(
                "Send a token: `Authorization: Bearer …`.",
            ));
        };
        let bearer = match scheme.eq_ignore_ascii_case("bearer") {
            true => app.tokens.bearer(token.trim()),
            false => None,
        };
        let not_valid = || Problem::unauthorized("The token is not valid (any more).");
        let bearer = bearer.ok_or_else(not_valid)?;
        let user = app.store.session_user(&bearer.session, bearer.user).await?;
        Ok(Self {
            user: user.ok_or_else(not_valid)?,
            session: bearer.session,
            at: Moment::now(),
        })
    }
}
