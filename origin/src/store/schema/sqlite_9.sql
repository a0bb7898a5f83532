-- Refresh tokens that have been used, by their SHA-256, and of which session they were. There all of them are, so
-- `sessions.spent` is not used any more.
CREATE TABLE spent_tokens (
    refresh    TEXT PRIMARY KEY,
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    -- Milliseconds since 1970.
    spent      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX spent_tokens_by_session ON spent_tokens (session_id, spent);

INSERT INTO spent_tokens (refresh, session_id, spent) SELECT spent, id, 0 FROM sessions WHERE spent IS NOT NULL;
UPDATE sessions SET spent = NULL;
