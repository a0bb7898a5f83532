-- Of several databases that have what belongs to devices, each numbers its rows from an epoch of its own.
CREATE TABLE epochs (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    taken_at TEXT NOT NULL
) STRICT;

CREATE INDEX requests_by_device ON requests (device, created_at, id);
