//! A query, before anything is made of what it says.

use super::problem::Problem;
use crate::domain::page::{Cursor, Page, PageQuery};
use axum::extract::{FromRequestParts, Query};
use axum::http::{StatusCode, request::Parts};
use serde::de::DeserializeOwned;
use std::str::FromStr;

pub struct Asked<T>(pub T);

/// A page of a list that is asked nothing else.
pub struct AskedPage<C = Cursor>(pub Page<C>);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query
            .map(|Query(query)| Self(query))
            .map_err(|rejection| Problem::new(StatusCode::BAD_REQUEST, rejection.body_text()))
    }
}

impl<S: Send + Sync, C: FromStr<Err = ()>> FromRequestParts<S> for AskedPage<C> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Asked(query) = Asked::<PageQuery>::from_request_parts(parts, state).await?;
        query.check().map(Self).map_err(Problem::bad_query)
    }
}
