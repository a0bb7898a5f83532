-- What people say of themselves, to meet others at events. Positions are in millionths of a degree, `interests` words
-- and `free` stretches of time (seconds since 1970) with blanks between them; other moments are milliseconds.
CREATE TABLE profiles (
    user_id     INTEGER PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    interests   TEXT NOT NULL,
    latitude    INTEGER NOT NULL,
    longitude   INTEGER NOT NULL,
    distance_km INTEGER NOT NULL,
    free        TEXT NOT NULL,
    free_until  INTEGER NOT NULL,
    -- Higher with each change, also when it was gone in between.
    version     INTEGER NOT NULL,
    updated_at  TEXT NOT NULL
) STRICT;

CREATE INDEX profiles_by_end ON profiles (free_until);

CREATE TABLE events (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    organiser_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    title        TEXT NOT NULL,
    text         TEXT NOT NULL,
    topics       TEXT NOT NULL,
    place        TEXT NOT NULL,
    latitude     INTEGER NOT NULL,
    longitude    INTEGER NOT NULL,
    starts       INTEGER NOT NULL,
    ends         INTEGER NOT NULL,
    capacity     INTEGER NOT NULL,
    cancelled    INTEGER NOT NULL DEFAULT 0,
    version      INTEGER NOT NULL DEFAULT 1,
    created_at   TEXT NOT NULL
) STRICT;

CREATE INDEX events_by_start ON events (starts) WHERE cancelled = 0;
CREATE INDEX events_by_organiser ON events (organiser_id, ends);

-- Places at events that people were offered; nobody twice at one event.
CREATE TABLE matches (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id   INTEGER NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    user_id    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    shared     INTEGER NOT NULL,
    state      TEXT NOT NULL DEFAULT 'offered',
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    UNIQUE (event_id, user_id)
) STRICT;

CREATE INDEX matches_by_user ON matches (user_id, id);
CREATE INDEX matches_unanswered ON matches (created_at) WHERE state = 'offered';
