//! Finding listings: by words, and by what they can be told apart by.

use super::listings::select_listings;
use super::{Store, dialect::Dialect};
use crate::domain::days::written;
use crate::domain::listing::Listing;
use crate::domain::search::{Search, folded};
use serde::Serialize;
use sqlx::any::{Any, AnyArguments, AnyRow};
use sqlx::{Arguments, AssertSqlSafe, FromRow, Result, Row, query_as_with, query_scalar_with};

const MOST_FACETS: u32 = 20;
const MOST_SUGGESTIONS: u32 = 8;

/// How many of what was found there are of each kind; those with most first.
#[derive(Serialize)]
pub struct Facets {
    pub total: i64,
    pub categories: Vec<Facet>,
    pub places: Vec<Facet>,
    pub prices: Vec<Facet>,
}

#[derive(Serialize)]
pub struct Facet {
    pub value: String,
    pub count: i64,
}

/// A price's band, in cents a day.
const BAND: &str = "CASE WHEN l.price_cents = 0 THEN '0' WHEN l.price_cents <= 500 THEN '1-500' \
    WHEN l.price_cents <= 2000 THEN '501-2000' ELSE '2001-' END";

impl Store {
    /// Newest first; one more than the page holds, when there is more.
    pub async fn listings(&self, search: &Search) -> Result<Vec<Listing>> {
        let mut found = Conditions::of(search, self.dialect);
        found.add("l.id < ?", search.page.before());
        let sql = format!(
            "{} WHERE {} ORDER BY l.id DESC LIMIT {}",
            select_listings!(""),
            found.sql,
            search.page.limit + 1
        );
        query_as_with(AssertSqlSafe(sql), found.arguments)
            .fetch_all(self.reader())
            .await
    }

    pub async fn facets(&self, search: &Search) -> Result<Facets> {
        let all = Conditions::of(search, self.dialect);
        let sql = format!("SELECT count(*) FROM listings l WHERE {}", all.sql);
        let total = query_scalar_with(AssertSqlSafe(sql), all.arguments);
        Ok(Facets {
            total: total.fetch_one(self.reader()).await?,
            categories: self.facet(search, "l.category", "l.category").await?,
            places: self.facet(search, "min(l.place)", "l.place_folded").await?,
            prices: self.facet(search, BAND, BAND).await?,
        })
    }

    /// Titles of what has these words, the newest first.
    pub async fn suggestions(&self, search: &Search) -> Result<Vec<String>> {
        let found = Conditions::of(search, self.dialect);
        let sql = format!(
            "SELECT l.title FROM listings l WHERE {} GROUP BY l.title \
             ORDER BY max(l.id) DESC LIMIT {MOST_SUGGESTIONS}",
            found.sql
        );
        query_scalar_with(AssertSqlSafe(sql), found.arguments)
            .fetch_all(self.reader())
            .await
    }

    async fn facet(
        &self,
        search: &Search,
        shown: &'static str,
        by: &'static str,
    ) -> Result<Vec<Facet>> {
        let found = Conditions::of(search, self.dialect);
        let sql = format!(
            "SELECT {shown} AS value, count(*) AS count FROM listings l WHERE {} GROUP BY {by} \
             ORDER BY count(*) DESC, {by} LIMIT {MOST_FACETS}",
            found.sql
        );
        query_as_with(AssertSqlSafe(sql), found.arguments)
            .fetch_all(self.reader())
            .await
    }
}

/// All must hold. What people wrote is only ever bound.
struct Conditions {
    sql: String,
    arguments: AnyArguments,
}

impl Conditions {
    fn of(search: &Search, dialect: Dialect) -> Self {
        let mut all = Self {
            sql: "l.archived = 0".into(),
            arguments: AnyArguments::default(),
        };
        match &search.words {
            Some(words) if words.is_empty() => all.sql += " AND 1 = 0",
            Some(words) => all.add(dialect.has_words(), dialect.words(words)),
            None => {}
        }
        if let Some(category) = &search.category {
            all.add("l.category = ?", category.clone());
        }
        if let Some(place) = &search.place {
            all.add("l.place_folded = ?", folded(place));
        }
        if let Some(cents) = search.price_from {
            all.add("l.price_cents >= ?", cents);
        }
        if let Some(cents) = search.price_to {
            all.add("l.price_cents <= ?", cents);
        }
        if let Some(days) = search.days {
            let (first, last) = (written(days.first), written(days.last));
            all.sql += " AND l.available = 1";
            all.add("coalesce(l.available_from, '') <= ?", first.clone());
            all.add("coalesce(l.available_to, '9999-12-31') >= ?", last.clone());
            all.add(
                "NOT EXISTS (SELECT 1 FROM booked_days b WHERE b.listing_id = l.id AND b.day >= ?",
                first,
            );
            all.add("b.day <= ?", last);
            all.sql.push(')');
        }
        all
    }

    /// `condition` has one `?`, which stands for the argument.
    fn add<'a, T>(&mut self, condition: &str, argument: T)
    where
        T: sqlx::Encode<'a, Any> + sqlx::Type<Any>,
    {
        let added = self.arguments.add(argument);
        added.expect("numbers and texts can be encoded");
        let number = format!("${}", self.arguments.len());
        self.sql += " AND ";
        self.sql += &condition.replacen('?', &number, 1);
    }
}

impl FromRow<'_, AnyRow> for Facet {
    fn from_row(row: &AnyRow) -> Result<Self> {
        Ok(Self {
            value: row.try_get("value")?,
            count: row.try_get("count")?,
        })
    }
}
