//! What databases spell differently. Everything else keeps to what SQLite and PostgreSQL both read: `$1`,
//! `RETURNING`, `ON CONFLICT`, whole numbers and text.

#[derive(Clone, Copy, PartialEq)]
pub enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    /// Takes the lock for writing at the start where that is SQLite's: a transaction that reads
    /// first and then finds somebody else writing could only give up.
    pub fn begin(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN",
        }
    }

    /// A transaction that sees one moment.
    pub fn begin_snapshot(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN",
            Self::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        }
    }

    /// Has the transaction last as long as there are rows.
    pub fn take_time(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => {
                "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"
            }
        }
    }

    /// One process after the other; SQLite's lock is the transaction's.
    pub fn before_migrations(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => {
                "SET LOCAL lock_timeout = '30s'; SET LOCAL statement_timeout = '10min'; \
                 SELECT pg_advisory_xact_lock(5501274381); \
                 CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)"
            }
        }
    }

    pub fn schema_version(self) -> &'static str {
        match self {
            Self::Sqlite => "PRAGMA user_version",
            Self::Postgres => "SELECT coalesce(max(version), 0) FROM schema_version",
        }
    }

    pub fn set_schema_version(self, version: usize) -> String {
        match self {
            Self::Sqlite => format!("PRAGMA user_version = {version}"),
            Self::Postgres => {
                format!("DELETE FROM schema_version; INSERT INTO schema_version VALUES ({version})")
            }
        }
    }

    /// A released step never changes. After as many steps the tables are the same in each, so that a
    /// backup of one can be restored in another.
    pub fn migrations(self) -> &'static [&'static str] {
        match self {
            Self::Sqlite => &[
                include_str!("schema/sqlite_1.sql"),
                include_str!("schema/sqlite_2.sql"),
                include_str!("schema/sqlite_3.sql"),
                include_str!("schema/sqlite_4.sql"),
                include_str!("schema/sqlite_5.sql"),
                include_str!("schema/sqlite_6.sql"),
                include_str!("schema/sqlite_7.sql"),
                "",
                include_str!("schema/sqlite_9.sql"),
                include_str!("schema/sqlite_10.sql"),
                include_str!("schema/sqlite_11.sql"),
                include_str!("schema/sqlite_12.sql"),
            ],
            Self::Postgres => &[
                "",
                include_str!("schema/postgres_2.sql"),
                include_str!("schema/postgres_3.sql"),
                include_str!("schema/postgres_4.sql"),
                include_str!("schema/postgres_5.sql"),
                include_str!("schema/postgres_6.sql"),
                include_str!("schema/postgres_7.sql"),
                include_str!("schema/postgres_8.sql"),
                include_str!("schema/postgres_9.sql"),
                include_str!("schema/postgres_10.sql"),
                include_str!("schema/postgres_11.sql"),
                include_str!("schema/postgres_12.sql"),
            ],
        }
    }

    /// Has a table that numbers its rows go on after the highest number in it.
    pub fn number_on(self, table: &str) -> String {
        match self {
            Self::Sqlite => String::new(),
            Self::Postgres => format!(
                "SELECT setval(pg_get_serial_sequence('{table}', 'id'), \
                 (SELECT coalesce(max(id), 0) + 1 FROM {table}), false)"
            ),
        }
    }

    /// The highest number that a table has given, or was told to give none up to.
    pub fn last_number(self, table: &str) -> String {
        match self {
            Self::Sqlite => {
                format!("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = '{table}'")
            }
            Self::Postgres => format!(
                "SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence('{table}', 'id')::regclass), 0)"
            ),
        }
    }

    /// Has a table that numbers its rows give only numbers above that one.
    pub fn number_after(self, table: &str, number: i64) -> String {
        match self {
            Self::Sqlite => format!(
                "INSERT INTO sqlite_sequence (name, seq) SELECT '{table}', 0 \
                 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = '{table}'); \
                 UPDATE sqlite_sequence SET seq = {number} WHERE name = '{table}' AND seq < {number}"
            ),
            Self::Postgres => {
                let last = self.last_number(table);
                format!(
                    "SELECT setval(pg_get_serial_sequence('{table}', 'id'), greatest({number}, ({last})))"
                )
            }
        }
    }

    /// Has texts compared as their bytes are, whatever the database's language.
    pub fn bytewise(self) -> &'static str {
        match self {
            Self::Sqlite => "COLLATE BINARY",
            Self::Postgres => "COLLATE \"C\"",
        }
    }

    /// Until the transaction's end nobody else adds a message, where several write at once.
    pub fn one_speaks(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => "SELECT pg_advisory_xact_lock(5501274382)",
        }
    }

    /// The condition that a listing `l` has the words bound to `?`.
    pub fn has_words(self) -> &'static str {
        match self {
            Self::Sqlite => "l.id IN (SELECT rowid FROM listings_text WHERE listings_text MATCH ?)",
            Self::Postgres => "words_of(l.title, l.text, l.category, l.place) @@ words_asked(?)",
        }
    }

    /// All of these words, the last of which may have only begun. Words are letters and digits.
    pub fn words(self, words: &[String]) -> String {
        match self {
            Self::Sqlite => {
                let quoted: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
                quoted.join(" ") + "*"
            }
            Self::Postgres => words.join(" "),
        }
    }

    /// Ends the look-up of a row to take: other takers pass it by instead of waiting for it.
    /// SQLite has one writer at a time anyway.
    pub fn skip_taken(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => "FOR UPDATE SKIP LOCKED",
        }
    }
}
