//! Who is writing: the user a bearer token names. RFC 6750.

use super::problem::Problem;
use crate::app::App;
use axum::extract::FromRequestParts;
use axum::http::{header, request::Parts};
use std::sync::Arc;

pub struct Author(pub i64);

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
        let user = match scheme.eq_ignore_ascii_case("bearer") {
            true => app.tokens.user(token.trim()),
            false => None,
        };
        user.map(Self)
            .ok_or_else(|| Problem::unauthorized("The token is not valid (any more)."))
    }
}
