//! Two at the same moment, where a database lets both go on.

use crate::bookings::{Street, street_on};
use crate::harness::Origin;
use crate::postgres::{Postgres, ask, database, hold};
use serde_json::json;
use std::thread;

#[test]
fn of_two_events_of_a_payment_the_one_that_comes_later_changes_nothing() {
    let url = database();
    let origin = Origin::start_on(&["--database".into(), url.clone()]);
    let street = street_on(origin, 500);
    let booking = street.book("b", 1, 1).expect_status(201);
    let booking = booking.header("location").to_owned();
    let payment = street.pay(&booking, "p");
    let reference = payment["checkout"]
        .as_str()
        .and_then(|path| path.rsplit('/').next());
    // Both have begun before either can write.
    let held = hold(&url, "SELECT id FROM payments FOR UPDATE");
    let waiting = "SELECT count(*) FROM pg_stat_activity \
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    for (kind, count) in [("payment.paid", "1"), ("payment.failed", "2")] {
        let event = json!({"id": kind, "type": kind, "payment": reference});
        street.tell(&event, None).expect_status(202);
        let waits = || ask(&url, waiting) == count;
        street.origin.wait_until("it waits for the payment", waits);
    }
    drop(held);
    let looked_at = "SELECT count(*) FROM payment_events WHERE outcome <> ''";
    let both = || ask(&url, looked_at) == "2";
    street.origin.wait_until("both were looked at", both);
    let path = format!("/api/v1/payments/{}", payment["id"]);
    assert_eq!(street.state(&path), "paid");
    assert_eq!(street.state(&booking), "confirmed");
}

#[test]
fn what_is_sent_twice_at_once_is_answered_twice_though_a_replica_lags() {
    let primary = Postgres::primary();
    let replica = primary.replica();
    replica.say("ALTER SYSTEM SET recovery_min_apply_delay = '200ms'");
    replica.say("SELECT pg_reload_conf()");
    let [writes, reads] = [&primary, &replica].map(|node| node.url("postgres"));
    let origin = Origin::start_on(&["--database".into(), writes, "--replica".into(), reads]);
    let replicas = "lakh_origin_database_nodes{role=\"replica\"} 1\n";
    let is_read = || origin.get("/metrics").text().contains(replicas);
    origin.wait_until("the replica is read", is_read);
    let street = street_on(origin, 500);
    let twice = |send: &(dyn Fn() -> serde_json::Value + Sync)| {
        thread::scope(|scope| {
            let other = scope.spawn(send);
            assert_eq!(send(), other.join().expect("it is answered"));
        });
    };
    for round in 0..3 {
        let key = format!("k{round}");
        let book = |street: &Street| street.book(&key, round, round).expect_status(201);
        twice(&|| book(&street).json());
        let booking = book(&street).header("location").to_owned();
        twice(&|| street.pay(&booking, &format!("p{round}")));
    }
}
