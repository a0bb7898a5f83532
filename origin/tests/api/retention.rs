//! What is forgotten after its time, and what is kept.

use crate::harness::Origin;
use crate::shards::{Shard, connected};
use sqlx::{AssertSqlSafe, query_scalar, raw_sql};
use std::cell::RefCell;

/// Several portions of each, and what is kept of it; at once, so that none is seen without its job.
const OLD: &str = "
    BEGIN;
    INSERT INTO audit (at, action, subject, detail)
        WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 2500)
        SELECT '2000-01-01T00:00:00Z', 'tell', 'device kiosk', '{}' FROM n;
    INSERT INTO messages (device, kind, body, at)
        WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 2500)
        SELECT CASE n % 2 WHEN 0 THEN 'kiosk' ELSE '' END, 'message', '{}', '' FROM n;
    INSERT INTO messages (device, kind, body, at) VALUES ('alpha', 'message', '{}', '');
    INSERT INTO requests (device, text, answer, created_at)
        WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 2500)
        SELECT 'kiosk', 'x', 'y', '2000-01-01T00:00:00Z' FROM n;
    INSERT INTO requests (device, text, created_at) VALUES ('alpha', 'x', '2000-01-01T00:00:00Z');
    INSERT INTO jobs (kind, subject, state, due, created_at)
        SELECT 'request', CAST(id AS TEXT), 'dead', 0, '' FROM requests WHERE device = 'alpha';
    COMMIT";

#[test]
fn what_is_over_goes_in_portions_and_what_may_be_asked_for_is_kept() {
    let main = Shard::new();
    let mut arguments = vec!["--keep-jobs".to_owned(), "1".to_owned()];
    let url = main.postgres.clone();
    arguments.extend(url.into_iter().flat_map(|url| ["--database".into(), url]));
    let origin = Origin::start_on(&arguments);
    origin.register("ada@example.org");
    let file = || format!("sqlite://{}/lakh.sqlite", origin.data().display());
    let (runtime, connection) = connected(&main.postgres.clone().unwrap_or_else(file));
    let connection = RefCell::new(connection);
    let count = |of: &str| -> i64 {
        let sql = AssertSqlSafe(format!("SELECT count(*) FROM {of}"));
        let mut connection = connection.borrow_mut();
        let counted = runtime.block_on(query_scalar(sql).fetch_one(&mut *connection));
        counted.expect("it is read")
    };
    let noted = count("audit");
    let put = runtime.block_on(raw_sql(OLD).execute(&mut *connection.borrow_mut()));
    put.expect("it is written");

    let is_left = |expected: i64, of: &str| {
        origin.wait_until(of, || count(of) <= expected);
        assert_eq!(count(of), expected, "{of}");
    };
    is_left(noted, "audit");
    is_left(100, "messages WHERE device = 'kiosk'");
    is_left(100, "messages WHERE device = ''");
    is_left(1, "messages WHERE device = 'alpha'");
    is_left(0, "requests WHERE device = 'kiosk'");
    is_left(1, "requests WHERE device = 'alpha'");
}
