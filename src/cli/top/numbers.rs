//! Metrics as Prometheus reads them, and what happened between two looks.

use std::collections::HashMap;
use std::time::Instant;

/// One look.
pub struct Sample {
    series: Vec<Series>,
    at: Instant,
}

struct Series {
    name: String,
    labels: HashMap<String, String>,
    value: f64,
}

/// What happened from one look to the next.
pub struct Between<'a> {
    pub before: &'a Sample,
    pub now: &'a Sample,
}

/// Labels that a series must have.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

impl Sample {
    pub fn parse(page: &str, at: Instant) -> Sample {
        let series = page.lines().filter_map(Series::parse).collect();
        Sample { series, at }
    }

    pub fn sum(&self, name: &str, labels: Labels<'_>) -> f64 {
        self.of(name, labels).map(|series| series.value).sum()
    }

    /// Each value of a label once, sorted.
    pub fn values(&self, name: &str, label: &str) -> Vec<String> {
        let found = self.of(name, &[]);
        let mut values: Vec<_> = found.filter_map(|s| s.labels.get(label).cloned()).collect();
        values.sort();
        values.dedup();
        values
    }

    fn of<'a>(&'a self, name: &'a str, labels: Labels<'a>) -> impl Iterator<Item = &'a Series> {
        let has = |series: &Series, (label, value): &(&str, &str)| {
            series.labels.get(*label).is_some_and(|v| v == value)
        };
        let fits = move |series: &&Series| {
            series.name == name && labels.iter().all(|wanted| has(series, wanted))
        };
        self.series.iter().filter(fits)
    }

    /// Of a histogram: upper bounds, and how many were below each.
    fn buckets(&self, name: &str, labels: Labels<'_>) -> Vec<(f64, f64)> {
        let mut below: Vec<(f64, f64)> = Vec::new();
        for series in self.of(&format!("{name}_bucket"), labels) {
            let bound = series.labels.get("le").map(String::as_str);
            let bound = bound.map_or(f64::INFINITY, |le| le.parse().unwrap_or(f64::INFINITY));
            match below.iter_mut().find(|(known, _)| *known == bound) {
                Some((_, count)) => *count += series.value,
                None => below.push((bound, series.value)),
            }
        }
        below.sort_by(|a, b| a.0.total_cmp(&b.0));
        below
    }
}

impl Series {
    fn parse(line: &str) -> Option<Series> {
        let (key, value) = line.rsplit_once(' ').filter(|_| !line.starts_with('#'))?;
        let (name, labels) = key.split_once('{').unwrap_or((key, ""));
        Some(Series {
            name: name.to_owned(),
            labels: labels_of(labels.trim_end_matches('}')),
            value: value.parse().ok()?,
        })
    }
}

/// `a="x",b="y"`; a backslash keeps what follows it from being read.
fn labels_of(text: &str) -> HashMap<String, String> {
    let (mut labels, mut rest) = (HashMap::new(), text);
    while let Some((name, behind)) = rest.split_once("=\"") {
        let (mut value, mut chars) = (String::new(), behind.char_indices());
        let end = loop {
            match chars.next() {
                Some((_, '\\')) => value.extend(chars.next().map(|(_, c)| c)),
                Some((at, '"')) => break at + 1,
                Some((_, c)) => value.push(c),
                None => break behind.len(),
            }
        };
        labels.insert(name.trim_start_matches(',').to_owned(), value);
        rest = &behind[end..];
    }
    labels
}

impl Between<'_> {
    /// Of a counter. One that is smaller than before has begun anew.
    pub fn count(&self, name: &str, labels: Labels<'_>) -> f64 {
        (self.now.sum(name, labels) - self.before.sum(name, labels)).max(0.0)
    }

    /// Per second.
    pub fn rate(&self, name: &str, labels: Labels<'_>) -> f64 {
        let seconds = (self.now.at - self.before.at).as_secs_f64();
        self.count(name, labels) / seconds.max(1e-3)
    }

    /// Seconds, as `histogram_quantile` of Prometheus has it; None while nothing was observed.
    pub fn quantile(&self, wanted: f64, name: &str, labels: Labels<'_>) -> Option<f64> {
        let before = self.before.buckets(name, labels);
        let count_before = |bound: f64| {
            before
                .iter()
                .find(|(b, _)| *b == bound)
                .map_or(0.0, |b| b.1)
        };
        let buckets = self.now.buckets(name, labels).into_iter();
        let counts: Vec<_> = buckets.map(|(b, n)| (b, n - count_before(b))).collect();
        let rank = wanted
            * counts
                .last()
                .map(|last| last.1)
                .filter(|total| *total > 0.0)?;
        let (mut low, mut below) = (0.0, 0.0);
        for (bound, count) in counts {
            if count >= rank {
                let within = (rank - below) / (count - below).max(1.0);
                return Some(if bound.is_finite() {
                    low + (bound - low) * within
                } else {
                    low
                });
            }
            (low, below) = (bound, count);
        }
        Some(low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const PAGE: &str = r#"# HELP requests What came.
# TYPE requests counter
requests{route="a",code="200"} 10
requests{route="b \"x\\",code="500"} 5
idle 3
took_bucket{le="0.1"} 0
took_bucket{le="1"} 8
took_bucket{le="+Inf"} 10
"#;

    #[test]
    fn a_page_is_read_with_its_labels() {
        let sample = Sample::parse(PAGE, Instant::now());
        assert_eq!(sample.sum("requests", &[]), 15.0);
        assert_eq!(sample.sum("requests", &[("code", "500")]), 5.0);
        assert_eq!(sample.sum("idle", &[]), 3.0);
        assert_eq!(sample.values("requests", "route"), ["a", "b \"x\\"]);
    }

    #[test]
    fn what_happened_is_the_difference() {
        let start = Instant::now();
        let later = PAGE.replace("} 10", "} 30").replace("} 8", "} 18");
        let (before, now) = (
            Sample::parse(PAGE, start),
            Sample::parse(&later, start + Duration::from_secs(2)),
        );
        let (before, now) = (&before, &now);
        let between = Between { before, now };
        assert_eq!(between.rate("requests", &[]), 10.0);
        assert_eq!(between.quantile(0.25, "took", &[]), Some(0.1 + 0.9 * 0.5));
        assert_eq!(between.quantile(0.99, "took", &[]), Some(1.0));
        let backwards = Between {
            before: now,
            now: before,
        };
        assert_eq!(backwards.count("requests", &[]), 0.0);
        assert_eq!(backwards.quantile(0.5, "took", &[]), None);
    }
}
