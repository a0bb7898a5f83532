-- What is asked for is cut into words as what is found is: by this function. PostgreSQL's own parser takes `Drill/driver`
-- for a file, `Node.js` for a host and `3.5` for a number, and finds none of their parts.
CREATE FUNCTION words_in(said TEXT) RETURNS TEXT[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT array(SELECT left(word, 255) FROM regexp_split_to_table(
       regexp_replace(plain(said), '[\u0300-\u036f]+', '', 'g'), '[^[:alnum:]]+') AS word WHERE word <> '') $$;

-- All of these, the last of which may have only begun.
CREATE FUNCTION words_asked(said TEXT) RETURNS tsquery LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT (array_to_string(array(SELECT quote_literal(word) FROM unnest(words_in(said)) AS word), ' & ')
       || ':*')::tsquery WHERE cardinality(words_in(said)) > 0 $$;

DROP INDEX listings_text;

CREATE OR REPLACE FUNCTION words_of(title TEXT, about TEXT, category TEXT, place TEXT) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT array_to_tsvector(words_in(title || ' ' || about || ' ' || category || ' ' || place)) $$;

CREATE INDEX listings_text ON listings USING gin (words_of(title, text, category, place));
