//! Where somebody reads: at a node, and where that is a replica which fails or falls silent meanwhile, once more at
//! the primary. So what a replica is there for, to take reads off the primary, never costs an answer.

use super::nodes::Nodes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use sqlx::any::{AnyArguments, AnyQueryResult, AnyRow, AnyStatement, AnyTypeInfo};
use sqlx::{Any, AnyPool, Either, Error, Execute, Executor, Result, SqlStr};
use std::fmt;
use tokio::select;

/// One node for all that is asked by it, as long as that one answers.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    nodes: &'a Nodes,
    node: usize,
}

type Question = (SqlStr, Option<AnyArguments>);

type Step = Either<AnyQueryResult, AnyRow>;

impl<'a> Reader<'a> {
    pub fn at(nodes: &'a Nodes, node: usize) -> Self {
        Self { nodes, node }
    }

    fn pool(&self) -> &'a AnyPool {
        self.nodes.read_pool(self.node)
    }

    async fn ask<'q, T>(
        self,
        query: impl Execute<'q, Any>,
        ask: impl Fn(&'a AnyPool, Question) -> BoxFuture<'a, Result<T>>,
    ) -> Result<T> {
        let question = question(query)?;
        if self.nodes.primary_now() == Some(self.node) {
            return ask(self.pool(), question).await;
        }
        let again = copied(&question);
        let failed = select! {
            answer = ask(self.pool(), question) => match answer {
                Err(error) if is_the_node_s(&error) => error,
                answer => return answer,
            },
            failed = self.nodes.silence_of(self.node) => failed,
        };
        match self.nodes.primary_now() {
            Some(primary) => ask(self.nodes.read_pool(primary), again).await,
            None => Err(failed),
        }
    }
}

fn question<'q>(mut query: impl Execute<'q, Any>) -> Result<Question> {
    let arguments = query.take_arguments().map_err(Error::Encode)?;
    Ok((query.sql(), arguments))
}

fn copied((sql, arguments): &Question) -> Question {
    let copied = arguments.as_ref().map(|arguments| {
        let mut copied = AnyArguments::default();
        copied.values.0.clone_from(&arguments.values.0);
        copied
    });
    (sql.clone(), copied)
}

/// Whether another node may do better: this one can't be reached or has no connection left, ends, or has to replay what
/// is in the way of the question. SQLSTATE: 08, 57P, 53300, 40001.
fn is_the_node_s(error: &Error) -> bool {
    match error {
        Error::Io(_) | Error::PoolTimedOut | Error::Protocol(_) => true,
        Error::Database(told) => told.code().is_some_and(|code| {
            code.starts_with("08")
                || code.starts_with("57P")
                || ["53300", "40001"].contains(&&*code)
        }),
        _ => false,
    }
}

impl<'a> Executor<'a> for Reader<'a> {
    type Database = Any;

    /// All of it is read before the first row is given: what was given could not be read once more.
    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Step>>
    where
        'a: 'e,
        E: 'q + Execute<'q, Any>,
    {
        let all = self.ask(query, |pool, question| {
            pool.fetch_many(question).try_collect::<Vec<Step>>().boxed()
        });
        let steps = |all: Vec<Step>| stream::iter(all.into_iter().map(Ok));
        stream::once(all).map_ok(steps).try_flatten().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<AnyRow>>>
    where
        'a: 'e,
        E: 'q + Execute<'q, Any>,
    {
        self.ask(query, |pool, question| pool.fetch_optional(question))
            .boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [AnyTypeInfo],
    ) -> BoxFuture<'e, Result<AnyStatement>>
    where
        'a: 'e,
    {
        self.pool().prepare_with(sql, parameters)
    }
}

impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.node)
    }
}
