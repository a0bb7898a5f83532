-- People: what they may do, and where they are signed in.
ALTER TABLE users ADD COLUMN role TEXT NOT NULL DEFAULT 'member';
ALTER TABLE users ADD COLUMN class TEXT NOT NULL DEFAULT 'personal';

CREATE TABLE sessions (
    id         TEXT PRIMARY KEY,
    user_id    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    device     TEXT NOT NULL,
    -- SHA-256 of the refresh token that is good now, and of the one before it, which has been used.
    refresh    TEXT NOT NULL UNIQUE,
    spent      TEXT UNIQUE,
    created_at TEXT NOT NULL,
    used_at    TEXT NOT NULL,
    -- Milliseconds since 1970.
    expires    INTEGER NOT NULL
) STRICT;

CREATE INDEX sessions_by_user ON sessions (user_id);

-- Who changed what, written together with the change.
CREATE TABLE audit (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at      TEXT NOT NULL,
    -- NULL: this application itself.
    user_id INTEGER,
    action  TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail  TEXT NOT NULL
) STRICT;

-- Listings: archived ones, and the words in them.
ALTER TABLE listings ADD COLUMN archived INTEGER NOT NULL DEFAULT 0;

CREATE INDEX listings_by_owner ON listings (owner_id, id);

CREATE VIRTUAL TABLE listings_text USING fts5 (
    title, text, category, place, content = 'listings', content_rowid = 'id',
    tokenize = 'unicode61 remove_diacritics 2', prefix = '2 3'
);
INSERT INTO listings_text (listings_text) VALUES ('rebuild');

CREATE TRIGGER listings_text_add AFTER INSERT ON listings BEGIN
    INSERT INTO listings_text (rowid, title, text, category, place)
    VALUES (new.id, new.title, new.text, new.category, new.place);
END;
CREATE TRIGGER listings_text_remove AFTER DELETE ON listings BEGIN
    INSERT INTO listings_text (listings_text, rowid, title, text, category, place)
    VALUES ('delete', old.id, old.title, old.text, old.category, old.place);
END;
CREATE TRIGGER listings_text_change AFTER UPDATE OF title, text, category, place ON listings BEGIN
    INSERT INTO listings_text (listings_text, rowid, title, text, category, place)
    VALUES ('delete', old.id, old.title, old.text, old.category, old.place);
    INSERT INTO listings_text (rowid, title, text, category, place)
    VALUES (new.id, new.title, new.text, new.category, new.place);
END;

-- Work for later. Whoever takes a job holds it until `lease` (milliseconds since 1970); `attempts` counts
-- takers, so it tells one from the next.
CREATE TABLE jobs (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    kind       TEXT NOT NULL,
    subject    TEXT NOT NULL,
    state      TEXT NOT NULL DEFAULT 'waiting',
    attempts   INTEGER NOT NULL DEFAULT 0,
    -- Not before this, in milliseconds since 1970.
    due        INTEGER NOT NULL,
    lease      INTEGER NOT NULL DEFAULT 0,
    reason     TEXT NOT NULL DEFAULT '',
    created_at TEXT NOT NULL,
    UNIQUE (kind, subject)
) STRICT;

CREATE INDEX jobs_by_state ON jobs (state, due, id);

CREATE TABLE renditions (
    photo_id INTEGER NOT NULL REFERENCES photos (id) ON DELETE CASCADE,
    preset   TEXT NOT NULL,
    name     TEXT NOT NULL UNIQUE,
    width    INTEGER NOT NULL,
    height   INTEGER NOT NULL,
    bytes    INTEGER NOT NULL
) STRICT;

CREATE INDEX renditions_by_photo ON renditions (photo_id);

-- Bookings. A day of a listing is taken once: that is what the primary key of `booked_days` says.
CREATE TABLE bookings (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    listing_id  INTEGER NOT NULL REFERENCES listings (id),
    borrower_id INTEGER NOT NULL REFERENCES users (id),
    first_day   TEXT NOT NULL,
    last_day    TEXT NOT NULL,
    state       TEXT NOT NULL,
    price_cents INTEGER NOT NULL,
    created_at  TEXT NOT NULL,
    updated_at  TEXT NOT NULL
) STRICT;

CREATE INDEX bookings_by_borrower ON bookings (borrower_id, id);
CREATE INDEX bookings_by_listing ON bookings (listing_id, id);

CREATE TABLE booked_days (
    listing_id INTEGER NOT NULL REFERENCES listings (id),
    day        TEXT NOT NULL,
    booking_id INTEGER NOT NULL REFERENCES bookings (id),
    PRIMARY KEY (listing_id, day)
) STRICT, WITHOUT ROWID;

CREATE INDEX booked_days_by_booking ON booked_days (booking_id);

-- What a key of somebody's led to. `asked` is the SHA-256 of what was asked under it.
CREATE TABLE idempotency (
    user_id    INTEGER NOT NULL REFERENCES users (id),
    key        TEXT NOT NULL,
    asked      TEXT NOT NULL,
    result     INTEGER NOT NULL,
    -- Milliseconds since 1970.
    made       INTEGER NOT NULL,
    PRIMARY KEY (user_id, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_by_age ON idempotency (made);

CREATE TABLE payments (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    booking_id   INTEGER NOT NULL REFERENCES bookings (id),
    amount_cents INTEGER NOT NULL,
    -- The provider's name for it.
    reference    TEXT NOT NULL UNIQUE,
    checkout     TEXT NOT NULL,
    state        TEXT NOT NULL,
    created_at   TEXT NOT NULL,
    updated_at   TEXT NOT NULL
) STRICT;

CREATE INDEX payments_by_booking ON payments (booking_id, id);

-- What a payment provider has told, each event once.
CREATE TABLE payment_events (
    event   TEXT PRIMARY KEY,
    body    TEXT NOT NULL,
    -- What came of it: '' until it has been looked at.
    outcome TEXT NOT NULL DEFAULT '',
    at      TEXT NOT NULL
) STRICT;

CREATE TABLE issues (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    reporter_id INTEGER NOT NULL REFERENCES users (id),
    listing_id  INTEGER REFERENCES listings (id) ON DELETE SET NULL,
    title       TEXT NOT NULL,
    text        TEXT NOT NULL,
    place       TEXT NOT NULL,
    photo       TEXT,
    state       TEXT NOT NULL,
    version     INTEGER NOT NULL DEFAULT 1,
    created_at  TEXT NOT NULL,
    updated_at  TEXT NOT NULL
) STRICT;

CREATE INDEX issues_by_state ON issues (state, id);

CREATE TABLE issue_steps (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    issue_id INTEGER NOT NULL REFERENCES issues (id) ON DELETE CASCADE,
    state    TEXT NOT NULL,
    note     TEXT NOT NULL,
    user_id  INTEGER NOT NULL REFERENCES users (id),
    at       TEXT NOT NULL
) STRICT;

CREATE INDEX issue_steps_by_issue ON issue_steps (issue_id, id);

CREATE TABLE tasks (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    owner_id   INTEGER NOT NULL REFERENCES users (id),
    list       TEXT NOT NULL,
    title      TEXT NOT NULL,
    due        TEXT,
    done       INTEGER NOT NULL DEFAULT 0,
    version    INTEGER NOT NULL DEFAULT 1,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;

CREATE INDEX tasks_by_owner ON tasks (owner_id, list, id);
