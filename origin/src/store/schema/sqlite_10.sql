-- What was noted, newest first: of shards too, where newer entries need not have higher numbers.
CREATE INDEX audit_by_time ON audit (at, id);
