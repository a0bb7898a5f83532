//! What takes as long as there are rows: PostgreSQL is told so for backups, and for them alone.

use crate::harness::Origin;
use crate::postgres::Postgres;
use std::fs;

#[test]
fn a_backup_and_what_restores_it_may_take_their_time() {
    let (full, empty) = (Postgres::primary(), Postgres::primary());
    let on = |node: &Postgres| Origin::start_on(&["--database".into(), node.url("postgres")]);
    let (origin, other) = (on(&full), on(&empty));
    origin.register("ada@example.org");
    // Its rows are what is in force while they are read, and while they are written.
    let limits = "current_setting('statement_timeout') || ' ' || \
                  current_setting('idle_in_transaction_session_timeout')";
    full.say("ALTER TABLE epochs RENAME TO no_epochs");
    full.say(&format!(
        "CREATE VIEW epochs AS SELECT 1::bigint AS id, {limits} AS taken_at"
    ));
    let file = origin.data().join("backup");
    assert!(origin.run(&["backup".as_ref(), file.as_os_str()]));
    let written = fs::read_to_string(&file).expect("a backup");
    assert!(written.contains(r#""taken_at":"0 0""#), "{written}");

    empty.say(&format!(
        "CREATE FUNCTION note_limits() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN NEW.taken_at := {limits}; RETURN NEW; END $$"
    ));
    empty.say(
        "CREATE TRIGGER note BEFORE INSERT ON epochs FOR EACH ROW EXECUTE FUNCTION note_limits()",
    );
    assert!(other.run(&["restore".as_ref(), file.as_os_str()]));
    assert_eq!(empty.say("SELECT taken_at FROM epochs"), "0 0");
}
