ALTER TABLE listings ADD COLUMN place_folded TEXT NOT NULL DEFAULT '';

CREATE INDEX listings_by_place ON listings (place_folded, id);
