//! From one machine to several: what SQLite has held goes on in PostgreSQL.

use crate::backup::thing;
use crate::harness::Origin;

#[test]
fn a_backup_of_sqlite_is_restored_in_postgresql() {
    let (small, large) = (Origin::start_on(&[]), Origin::start());
    let token = small.register("ada@example.org");
    small.lend(&token, &thing("Café table"));
    let file = small.data().join("backup");
    assert!(small.run(&["backup".as_ref(), file.as_os_str()]));
    assert!(large.run(&["restore".as_ref(), file.as_os_str()]));
    let listing = "/api/v1/listings/1";
    assert_eq!(large.get(listing).json(), small.get(listing).json());
    assert_eq!(
        large.get("/api/v1/listings?q=cafe").json()["items"][0]["id"],
        1
    );
}
