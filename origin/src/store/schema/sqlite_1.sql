CREATE TABLE users (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT NOT NULL,
    email      TEXT NOT NULL UNIQUE,
    -- Argon2, as a PHC string; NULL for people nobody can log in as.
    password   TEXT,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
) STRICT;

-- AUTOINCREMENT: an identifier is never given twice, so it orders listings by age for good.
CREATE TABLE listings (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    owner_id       INTEGER NOT NULL REFERENCES users (id),
    title          TEXT NOT NULL,
    text           TEXT NOT NULL,
    category       TEXT NOT NULL,
    price_cents    INTEGER NOT NULL,
    place          TEXT NOT NULL,
    available      INTEGER NOT NULL,
    available_from TEXT,
    available_to   TEXT,
    version        INTEGER NOT NULL DEFAULT 1,
    created_at     TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
    updated_at     TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
) STRICT;

CREATE INDEX listings_by_category ON listings (category, id);

CREATE TABLE photos (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    listing_id INTEGER NOT NULL REFERENCES listings (id) ON DELETE CASCADE,
    name       TEXT NOT NULL UNIQUE
) STRICT;

CREATE INDEX photos_by_listing ON photos (listing_id, id);

-- What is to happen once per data folder, and has.
CREATE TABLE jobs_done (name TEXT PRIMARY KEY) STRICT;
