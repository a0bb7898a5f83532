//! What databases spell differently. Everything else keeps to what SQLite and PostgreSQL both read: `$1`,
//! `RETURNING`, `ON CONFLICT`, whole numbers and text.

#[derive(Clone, Copy, PartialEq)]
pub enum Dialect {
    Sqlite,
}

impl Dialect {
    pub fn begin(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
        }
    }

    pub fn schema_version(self) -> &'static str {
        match self {
            Self::Sqlite => "PRAGMA user_version",
        }
    }

    pub fn set_schema_version(self, version: usize) -> String {
        match self {
            Self::Sqlite => format!("PRAGMA user_version = {version}"),
        }
    }

    /// A released step never changes.
    pub fn migrations(self) -> &'static [&'static str] {
        match self {
            Self::Sqlite => &[
                include_str!("schema/sqlite_1.sql"),
                include_str!("schema/sqlite_2.sql"),
            ],
        }
    }

    /// The condition that a listing `l` has the words bound to `?`.
    pub fn has_words(self) -> &'static str {
        match self {
            Self::Sqlite => "l.id IN (SELECT rowid FROM listings_text WHERE listings_text MATCH ?)",
        }
    }

    /// All of these words, the last of which may have only begun. Words are letters and digits.
    pub fn words(self, words: &[String]) -> String {
        match self {
            Self::Sqlite => {
                let quoted: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
                quoted.join(" ") + "*"
            }
        }
    }

    /// Ends the look-up of a row to take: other takers pass it by instead of waiting for it.
    /// SQLite has one writer at a time anyway.
    pub fn skip_taken(self) -> &'static str {
        match self {
            Self::Sqlite => "",
        }
    }
}
