-- All photos that issues show, in their order; `issues.photo` is the last one. Those before it were noted alone.
CREATE TABLE issue_photos (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    issue_id INTEGER NOT NULL REFERENCES issues (id) ON DELETE CASCADE,
    name     TEXT NOT NULL UNIQUE
) STRICT;

CREATE INDEX issue_photos_by_issue ON issue_photos (issue_id, id);

INSERT OR IGNORE INTO issue_photos (issue_id, name)
    SELECT i.id, json_extract(a.detail, '$.photo') FROM audit a
    JOIN issues i ON i.id = CAST(substr(a.subject, 7) AS INTEGER)
    WHERE a.action = 'add_photo' AND a.subject LIKE 'issue %' ORDER BY a.at, a.id;
INSERT OR IGNORE INTO issue_photos (issue_id, name) SELECT id, photo FROM issues WHERE photo IS NOT NULL ORDER BY id;

-- Those that are answered are forgotten by their age.
CREATE INDEX requests_by_time ON requests (created_at, id);

-- How far it was looked whether chunks still have their copies, after which chunk, and when the next ones are to be
-- looked at, in milliseconds since 1970. One row.
CREATE TABLE copies_look (
    file_id INTEGER NOT NULL,
    number  INTEGER NOT NULL,
    due     INTEGER NOT NULL
) STRICT;

INSERT INTO copies_look (file_id, number, due) VALUES (0, 0, 0);
