-- Places as they are compared, whatever their case: by a function of the application, which also fills in what is there.
ALTER TABLE listings ADD COLUMN place_folded TEXT NOT NULL DEFAULT '';

CREATE INDEX listings_by_place ON listings (place_folded, id);
