use super::*;
use proptest::prelude::*;

fn error<T: std::fmt::Debug>(result: Result<T, Refusal>) -> String {
    result.expect_err("must be refused").to_string()
}

#[test]
fn durations_and_sizes_take_each_unit() {
    for (text, millis) in [
        ("0s", 0),
        ("250ms", 250),
        ("5s", 5000),
        ("10m", 600_000),
        ("1h", 3_600_000),
        ("30d", 2_592_000_000),
        ("3650d", 315_360_000_000),
    ] {
        assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
    }
    for (text, bytes) in [
        ("0B", 0),
        ("64KiB", 65_536),
        ("100MiB", 104_857_600),
        ("10GiB", 10_737_418_240),
    ] {
        assert_eq!(size(text), Ok(bytes), "{text}");
    }
}

#[test]
fn a_mistake_says_what_to_write() {
    for (text, expected) in [
        ("10", "`10` has no unit; write 10s, 10m or 10ms"),
        ("", "`` is not a duration; write one like 10s, 10m or 10ms"),
        (
            "soon",
            "`soon` is not a duration; write one like 10s, 10m or 10ms",
        ),
        ("-1s", "`-1s` is negative; write 1s"),
        ("10 s", "`10 s` has a space in it; write 10s"),
        ("10min", "`min` is not a unit; write 10m"),
        ("10S", "`S` is not a unit; write 10s"),
        ("10w", "`w` is not a unit; write 10ms, 10s, 10m, 10h or 10d"),
        ("1.5h", "`1.5` is not a whole number; write 90m"),
        (
            "0.0001s",
            "`0.0001` is not a whole number; write 1ms or more",
        ),
        ("1h30m", "`1h30m` has more than one unit; write 90m"),
        ("4000d", "`4000d` is too much; write 3650d or less"),
        (
            "99999999999999999999s",
            "`99999999999999999999s` is too much; write 3650d or less",
        ),
    ] {
        assert_eq!(error(duration(text)), expected);
    }
    assert_eq!(error(size("1048576")), "`1048576` has no unit; write 1MiB");
    assert_eq!(error(size("5mb")), "`mb` is not a unit; write 5MiB");
    assert_eq!(
        error(size("1.5GiB")),
        "`1.5` is not a whole number; write 1536MiB"
    );
}

#[test]
fn rates_take_one_period_or_several() {
    for (text, count, seconds) in [
        ("1000/s", 1000, 1),
        ("100/min", 100, 60),
        ("5/h", 5, 3600),
        ("100/15min", 100, 900),
        ("1/30d", 1, 2_592_000),
    ] {
        let per = Duration::from_secs(seconds);
        assert_eq!(rate(text), Ok(Rate { count, per }), "{text}");
    }
    for (text, expected) in [
        ("100", "`100` has no period; write 100/s, 100/min or 100/h"),
        ("100/m", "`m` is not a unit; write 100/min"),
        ("100/15m", "`m` is not a unit; write 100/15min"),
        (
            "100/15",
            "`15` has no unit; write 100/15s, 100/15min or 100/15h",
        ),
        ("0/s", "`0/s` would refuse every request; write 1/s or more"),
        ("1/0s", "`0s` is no time at all; write 1/s, 1/min or 1/h"),
        (
            "fast/s",
            "`fast/s` is not a rate; write it like 100/s, 100/min, 5/h or 100/15min",
        ),
        (
            "+5/s",
            "`+5/s` is not a rate; write it like 100/s, 100/min, 5/h or 100/15min",
        ),
    ] {
        assert_eq!(error(rate(text)), expected);
    }
}

#[test]
fn shares_are_percentages() {
    assert_eq!(share("50%"), Ok(0.5));
    assert_eq!(share("0%"), Ok(0.0));
    assert_eq!(share("100%"), Ok(1.0));
    assert_eq!(error(share("50")), "`50` has no unit; write 50%");
    assert_eq!(
        error(share("0.07")),
        "`0.07` has no unit; write 7% or 0.07%"
    );
    assert_eq!(
        error(share("101%")),
        "`101%` is more than all; write 100% or less"
    );
    for text in ["", "%", "-1%", "inf%", "nan%", "+1%", "half"] {
        assert!(share(text).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC*", near in "[-+0-9. a-zA-Z/%]{0,24}") {
        for text in [&*text, &*near] {
            let _ = (duration(text), wait(text), size(text), rate(text), share(text));
        }
    }

    #[test]
    fn what_is_written_out_reads_back(millis in 0..=DURATION.max, bytes in 0..=SIZE.max) {
        prop_assert_eq!(DURATION.parse(&DURATION.text(millis)).ok(), Some(millis));
        prop_assert_eq!(size(&size_text(bytes)), Ok(bytes));
    }

    #[test]
    fn a_rate_reads_back(count in 1..=u32::MAX, seconds in 1..=PERIOD.max) {
        let expected = Rate { count, per: Duration::from_secs(seconds) };
        prop_assert_eq!(rate(&format!("{count}/{}", PERIOD.text(seconds))), Ok(expected));
    }

    #[test]
    fn a_share_reads_back(hundredths in 0..=10_000u32) {
        let percent = f64::from(hundredths) / 100.0;
        prop_assert_eq!(share(&format!("{percent}%")), Ok(percent / 100.0));
    }
}
