-- Large files. `key`: what their chunks are named by where they are stored.
CREATE TABLE files (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    key        TEXT NOT NULL UNIQUE,
    name       TEXT NOT NULL,
    media_type TEXT NOT NULL,
    bytes      INTEGER NOT NULL,
    sha256     TEXT NOT NULL,
    state      TEXT NOT NULL DEFAULT 'open',
    created_at TEXT NOT NULL
) STRICT;

CREATE INDEX files_by_user ON files (user_id, id);
CREATE INDEX files_unfinished ON files (created_at) WHERE state IN ('open', 'mismatched');

-- Those that have come.
CREATE TABLE file_chunks (
    file_id INTEGER NOT NULL REFERENCES files (id) ON DELETE CASCADE,
    number  INTEGER NOT NULL,
    sha256  TEXT NOT NULL,
    PRIMARY KEY (file_id, number)
) STRICT;
