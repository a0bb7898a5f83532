//! Durations, sizes, rates and shares as text. A unit is never guessed and nothing is clamped:
//! what isn't exact is an error that says what to write.

use super::refusal::{Refusal, Wanted};
use crate::guard::Rate;
use std::time::Duration;

#[cfg(test)]
#[path = "units_tests.rs"]
mod tests;

/// `250ms`, `5s`, `10m`, `1h`, `30d`.
pub fn duration(text: &str) -> Result<Duration, Refusal> {
    let millis = DURATION.parse(text);
    let millis = millis.map_err(|mistake| mistake.refusal(Wanted::Duration))?;
    Ok(Duration::from_millis(millis))
}

/// A duration that something waits for: not 0.
pub fn wait(text: &str) -> Result<Duration, Refusal> {
    match duration(text)? {
        Duration::ZERO => Err(format!("`{text}` is no time at all; write 1ms or more").into()),
        wait => Ok(wait),
    }
}

/// A duration that is kept in whole seconds: one of them at least.
pub fn seconds(text: &str) -> Result<Duration, Refusal> {
    match duration(text)? {
        short if short < Duration::from_secs(1) => {
            Err(format!("`{text}` is less than a second; write 1s or more").into())
        }
        long => Ok(long),
    }
}

/// In the largest unit that divides it.
pub fn duration_text(duration: Duration) -> String {
    DURATION.text(duration.as_millis() as u64)
}

/// `512B`, `64KiB`, `100MiB`, `10GiB`, in bytes.
pub fn size(text: &str) -> Result<u64, Refusal> {
    let bytes = SIZE.parse(text);
    bytes.map_err(|mistake| mistake.refusal(Wanted::Size))
}

/// A size from `min` to `max` bytes, both included.
pub fn size_between(min: u64, max: u64) -> impl Fn(&str) -> Result<u64, Refusal> {
    move |text| match size(text)? {
        bytes if bytes < min => {
            let least = size_text(min);
            Err(format!("`{text}` is too small; write {least} or more").into())
        }
        bytes if bytes > max => {
            let most = size_text(max);
            Err(format!("`{text}` is too large; write {most} or less").into())
        }
        bytes => Ok(bytes),
    }
}

pub fn size_from(min: u64) -> impl Fn(&str) -> Result<u64, Refusal> {
    size_between(min, SIZE.max)
}

/// In the largest unit that divides it.
pub fn size_text(bytes: u64) -> String {
    SIZE.text(bytes)
}

/// `100/s`, `100/min`, `5/h`, `100/15min`.
pub fn rate(text: &str) -> Result<Rate, Refusal> {
    read_rate(text).map_err(|why| Refusal::new(why, [Wanted::Rate]))
}

fn read_rate(text: &str) -> Result<Rate, String> {
    let (count, period) = text.split_once('/').ok_or_else(|| no_rate(text))?;
    let count = match whole(count).map(u32::try_from) {
        Some(Ok(0)) => {
            return Err(format!(
                "`{text}` would refuse every request; write 1/s or more"
            ));
        }
        Some(Ok(count)) => count,
        Some(Err(_)) => {
            return Err(format!(
                "`{text}` is too high; write {}/s or less",
                u32::MAX
            ));
        }
        None => return Err(no_rate(text)),
    };
    let seconds = period_seconds(period).map_err(|mistake| {
        let write = mistake.write.iter().map(|w| format!("{count}/{w}"));
        Mistake::new(mistake.problem.clone(), write).into_text()
    })?;
    Ok(Rate {
        count,
        per: Duration::from_secs(seconds),
    })
}

/// `min`, or several: `15min`.
fn period_seconds(period: &str) -> Result<u64, Mistake> {
    if period.starts_with(|c: char| c.is_ascii_alphabetic()) {
        let unit = PERIOD.unit(period);
        return unit.map(|u| u.factor).map_err(|meant| {
            let units = PERIOD.units.iter();
            let write = meant.map_or(units.map(|u| u.name).collect(), |unit| vec![unit.name]);
            Mistake::new(format!("`{period}` is not a unit"), write)
        });
    }
    match PERIOD.parse(period)? {
        0 => Err(Mistake::new(
            format!("`{period}` is no time at all"),
            ["s", "min", "h"],
        )),
        seconds => Ok(seconds),
    }
}

fn no_rate(text: &str) -> String {
    match whole(text) {
        Some(count) => format!("`{text}` has no period; write {count}/s, {count}/min or {count}/h"),
        None => format!("`{text}` is not a rate; write it like 100/s, 100/min, 5/h or 100/15min"),
    }
}

/// `50%`, `0.1%`, as a share from 0.0 to 1.0.
pub fn share(text: &str) -> Result<f64, Refusal> {
    read_share(text).map_err(|why| Refusal::new(why, [Wanted::Share]))
}

fn read_share(text: &str) -> Result<f64, String> {
    let (digits, has_unit) = match text.strip_suffix('%') {
        Some(digits) => (digits, true),
        None => (text, false),
    };
    let is_number = digits.starts_with(|c: char| c.is_ascii_digit());
    let percent = digits.parse::<f64>().ok().filter(|_| is_number);
    match percent {
        None => Err(format!(
            "`{text}` is not a share; write 0% to 100%, like 50% or 0.1%"
        )),
        // 0.5 may be half a percent, or half of all.
        Some(number) if !has_unit && number <= 1.0 => {
            let percent = (number * 1e8).round() / 1e6;
            Err(format!("`{text}` has no unit; write {percent}% or {text}%"))
        }
        Some(_) if !has_unit => Err(format!("`{text}` has no unit; write {text}%")),
        Some(percent) if percent > 100.0 => {
            Err(format!("`{text}` is more than all; write 100% or less"))
        }
        Some(percent) => Ok(percent / 100.0),
    }
}

/// A kind of quantity: a whole number of one of its units.
struct Measure {
    noun: &'static str,
    /// Smallest first.
    units: &'static [Unit],
    /// What a number without unit may have meant.
    usual: [&'static str; 3],
    /// From here on, a number without unit surely meant the smallest one.
    bare_from: u64,
    /// In the smallest unit.
    max: u64,
}

struct Unit {
    name: &'static str,
    /// How many of the smallest unit it is.
    factor: u64,
    /// What people write instead, in lower case.
    aliases: &'static [&'static str],
}

const DURATION: Measure = Measure {
    noun: "duration",
    units: &[
        unit("ms", 1, &["msec", "millis"]),
        unit("s", 1000, &["sec", "secs", "second", "seconds"]),
        unit("m", 60_000, &["min", "mins", "minute", "minutes"]),
        unit("h", 3_600_000, &["hr", "hrs", "hour", "hours"]),
        unit("d", 86_400_000, &["day", "days"]),
    ],
    usual: ["s", "m", "ms"],
    bare_from: u64::MAX,
    // Ten years: every deadline stays within what the clock can add.
    max: 3650 * 86_400_000,
};

/// What a rate counts in. A minute is `min` here, because `100/m` reads as "per metre".
const PERIOD: Measure = Measure {
    noun: "period",
    units: &[
        unit("s", 1, &["sec", "secs", "second", "seconds"]),
        unit("min", 60, &["m", "mins", "minute", "minutes"]),
        unit("h", 3600, &["hr", "hrs", "hour", "hours"]),
        unit("d", 86_400, &["day", "days"]),
    ],
    usual: ["s", "min", "h"],
    bare_from: u64::MAX,
    max: 3650 * 86_400,
};

const SIZE: Measure = Measure {
    noun: "size",
    units: &[
        unit("B", 1, &["byte", "bytes"]),
        unit("KiB", 1 << 10, &["k", "kb", "ki"]),
        unit("MiB", 1 << 20, &["m", "mb", "mi"]),
        unit("GiB", 1 << 30, &["g", "gb", "gi"]),
    ],
    usual: ["MiB", "KiB", "B"],
    bare_from: 10_000,
    max: 1 << 50,
};

const fn unit(name: &'static str, factor: u64, aliases: &'static [&'static str]) -> Unit {
    Unit {
        name,
        factor,
        aliases,
    }
}

impl Measure {
    /// In the smallest unit.
    fn parse(&self, text: &str) -> Result<u64, Mistake> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, name) = text.split_at(end.unwrap_or(text.len()));
        if !number.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(self.no_number(text));
        }
        if name.is_empty() {
            return Err(self.no_unit_at_all(text));
        }
        let unit = self
            .unit(name)
            .map_err(|meant| self.no_unit(text, number, name, meant))?;
        if number.contains('.') {
            return Err(self.no_whole_number(number, unit));
        }
        let product = whole(number).and_then(|count| count.checked_mul(unit.factor));
        product.filter(|p| *p <= self.max).ok_or_else(|| {
            let most = format!("{} or less", self.text(self.max));
            Mistake::new(format!("`{text}` is too much"), [most])
        })
    }

    /// The unit of that name, or the one most likely meant.
    fn unit(&self, name: &str) -> Result<&'static Unit, Option<&'static Unit>> {
        if let Some(unit) = self.units.iter().find(|u| u.name == name) {
            return Ok(unit);
        }
        let folded = name.trim().to_ascii_lowercase();
        let is_meant =
            |u: &&Unit| u.name.to_ascii_lowercase() == folded || u.aliases.contains(&&*folded);
        Err(self.units.iter().find(is_meant))
    }

    fn no_number(&self, text: &str) -> Mistake {
        let [first, second, third] = self.usual.map(|unit| format!("10{unit}"));
        let examples = [format!("one like {first}"), second, third];
        match text.strip_prefix('-') {
            Some(rest) if self.parse(rest).is_ok() => {
                Mistake::new(format!("`{text}` is negative"), [rest])
            }
            _ => Mistake::new(format!("`{text}` is not a {}", self.noun), examples),
        }
    }

    fn no_unit_at_all(&self, number: &str) -> Mistake {
        let problem = format!("`{number}` has no unit");
        match whole(number) {
            Some(count) if count >= self.bare_from => Mistake::new(problem, [self.text(count)]),
            _ => Mistake::new(problem, self.usual.map(|unit| format!("{number}{unit}"))),
        }
    }

    fn no_unit(&self, text: &str, number: &str, name: &str, meant: Option<&Unit>) -> Mistake {
        if let Some(unit) = meant {
            let problem = match name.trim() == unit.name {
                true => format!("`{text}` has a space in it"),
                false => format!("`{}` is not a unit", name.trim()),
            };
            return Mistake::new(problem, [format!("{number}{}", unit.name)]);
        }
        if let Some(sum) = self.sum(text) {
            let problem = format!("`{text}` has more than one unit");
            return Mistake::new(problem, [self.text(sum)]);
        }
        let write = self.units.iter().map(|u| format!("{number}{}", u.name));
        Mistake::new(format!("`{name}` is not a unit"), write)
    }

    /// `1.5h` is 90m; `0.3B` is nothing that can be written.
    fn no_whole_number(&self, number: &str, unit: &Unit) -> Mistake {
        let problem = format!("`{number}` is not a whole number");
        match exact(number, unit.factor).filter(|product| *product <= self.max) {
            Some(product) => Mistake::new(problem, [self.text(product)]),
            None => Mistake::new(problem, [format!("1{} or more", self.units[0].name)]),
        }
    }

    /// `1h30m`.
    fn sum(&self, text: &str) -> Option<u64> {
        let mut sum = 0u64;
        let mut rest = text;
        while !rest.is_empty() {
            let unit_at = rest.find(|c: char| !c.is_ascii_digit())?;
            let (number, after) = rest.split_at(unit_at);
            let end = after.find(|c: char| c.is_ascii_digit());
            let (name, after) = after.split_at(end.unwrap_or(after.len()));
            let unit = self.unit(name).ok()?;
            sum = sum.checked_add(whole(number)?.checked_mul(unit.factor)?)?;
            rest = after;
        }
        Some(sum).filter(|sum| *sum <= self.max)
    }

    /// In the largest unit that divides it.
    fn text(&self, quantity: u64) -> String {
        let largest = self
            .units
            .iter()
            .rfind(|u| quantity.is_multiple_of(u.factor));
        let unit = largest.expect("the smallest unit divides every quantity");
        match quantity {
            0 => format!("0{}", self.units[0].name),
            _ => format!("{}{}", quantity / unit.factor, unit.name),
        }
    }
}

/// Digits only: no sign, no point.
fn whole(text: &str) -> Option<u64> {
    let is_digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| is_digits)
}

/// A decimal fraction times `factor`, if that is whole.
fn exact(number: &str, factor: u64) -> Option<u64> {
    let (before, after) = number.split_once('.')?;
    let digits = whole(&format!("{before}{after}"))?;
    let denominator = 10u64.checked_pow(u32::try_from(after.len()).ok()?)?;
    let product = digits.checked_mul(factor)?;
    product
        .is_multiple_of(denominator)
        .then(|| product / denominator)
}

/// What is wrong, and what may be written instead.
struct Mistake {
    problem: String,
    write: Vec<String>,
}

impl Mistake {
    fn new(problem: String, write: impl IntoIterator<Item = impl Into<String>>) -> Mistake {
        let write = write.into_iter().map(Into::into).collect();
        Mistake { problem, write }
    }

    fn refusal(self, wanted: Wanted) -> Refusal {
        Refusal::new(self.into_text(), [wanted])
    }

    fn into_text(self) -> String {
        format!("{}; write {}", self.problem, one_of(&self.write))
    }
}

/// `a`, `a or b`, `a, b or c`.
pub fn one_of<T: AsRef<str>>(words: &[T]) -> String {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    match words.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, before)) => format!("{} or {last}", before.join(", ")),
        None => String::new(),
    }
}
