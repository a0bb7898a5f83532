-- Letters that have yet to be sent. Each has a job of its own; it is forgotten once it is sent.
CREATE TABLE letters (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    title      TEXT NOT NULL,
    text       TEXT NOT NULL,
    created_at TEXT NOT NULL
) STRICT;

-- Tables that people take along. `csv`: once it is made.
CREATE TABLE exports (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    about      TEXT NOT NULL,
    csv        TEXT,
    created_at TEXT NOT NULL
) STRICT;

CREATE INDEX exports_by_user ON exports (user_id, id);
