//! Two at the same moment, where a database lets both go on.

use crate::bookings::street_on;
use crate::harness::Origin;
use crate::postgres::{ask, database, hold};
use serde_json::json;

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
