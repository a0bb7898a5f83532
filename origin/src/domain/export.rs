//! Exports: tables that somebody takes along, to look at them in a program of their own.

use super::fields::{Fields, Invalid};
use super::words::words;
use serde_json::Value;

/// Somebody's; asking for one more forgets the oldest.
pub const MOST_EXPORTS: i64 = 10;

/// Of bookings, the newest.
pub const MOST_ROWS: i64 = 10_000;

/// That analytics tell of.
pub const DAYS: i64 = 90;

words! {
    pub enum About {
        /// What somebody has borrowed and lent.
        Bookings = "bookings",
        /// What happened in the neighbourhood, by day. For the staff.
        Analytics = "analytics",
    }
}

/// What an export is asked to be about.
pub fn read(body: Value) -> Result<About, Invalid> {
    let mut fields = Fields::of(body)?;
    let about = fields.text("about", 1..=20).parse();
    fields.fault_unless(about.is_ok(), "about", "must be bookings or analytics");
    fields.finish(about.unwrap_or(About::Bookings))
}

impl About {
    pub fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Bookings => &[
                "booking",
                "listing",
                "title",
                "role",
                "from",
                "to",
                "state",
                "price_cents",
            ],
            Self::Analytics => &["day", "people", "listings", "bookings", "paid_cents"],
        }
    }
}

/// RFC 4180, the first line of which names the columns.
pub fn csv(about: About, rows: &[Vec<String>]) -> String {
    let columns: Vec<String> = about
        .columns()
        .iter()
        .map(|name| (*name).to_owned())
        .collect();
    let rows = [&columns].into_iter().chain(rows);
    rows.map(|row| {
        let cells: Vec<String> = row.iter().map(|cell| quoted(cell)).collect();
        cells.join(",") + "\r\n"
    })
    .collect()
}

/// Tables' programs take what begins so for a formula, and people write what they like in a title.
fn quoted(cell: &str) -> String {
    let guard = match cell.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => "'",
        false => "",
    };
    match guard.is_empty() && !cell.contains([',', '"', '\n', '\r']) {
        true => cell.to_owned(),
        false => format!("\"{guard}{}\"", cell.replace('"', "\"\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_cell_is_no_formula_and_no_other_cell() {
        let row = ["=1+1", "a,b", "\"so\"", "a\r\nb", "plain"].map(str::to_owned);
        let written = csv(About::Analytics, &[row.to_vec()]);
        let expected = "day,people,listings,bookings,paid_cents\r\n\
                        \"'=1+1\",\"a,b\",\"\"\"so\"\"\",\"a\r\nb\",plain\r\n";
        assert_eq!(written, expected);
    }

    #[test]
    fn only_what_there_is_can_be_asked_for() {
        assert_eq!(read(json!({"about": "analytics"})), Ok(About::Analytics));
        assert!(read(json!({"about": "money"})).is_err());
        assert!(read(json!({"about": "bookings", "more": 1})).is_err());
    }
}
