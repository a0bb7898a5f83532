-- Devices. Whoever speaks for one first owns it.
CREATE TABLE devices (
    name       TEXT PRIMARY KEY,
    owner_id   INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- Until then (milliseconds since 1970) it counts as present, unless that is renewed.
    present    INTEGER NOT NULL DEFAULT 0,
    created_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX devices_by_owner ON devices (owner_id, name);

-- What devices are told, in the order in which it was said. An empty device: all of them.
CREATE TABLE messages (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    device TEXT NOT NULL,
    kind   TEXT NOT NULL,
    body   TEXT NOT NULL,
    at     TEXT NOT NULL
) STRICT;

CREATE INDEX messages_by_device ON messages (device, id);

-- What devices ask. `source`: which file it came in, so that none counts twice.
CREATE TABLE requests (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    device     TEXT NOT NULL,
    text       TEXT NOT NULL,
    answer     TEXT,
    source     TEXT UNIQUE,
    created_at TEXT NOT NULL
) STRICT;

-- Processes that watch the folder of requests, and whose turn it is to read which part of it.
CREATE TABLE leases (
    name   TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    -- Until then, in milliseconds since 1970.
    lease  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
