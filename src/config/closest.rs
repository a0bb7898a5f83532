//! "did you mean": the known word that was most likely meant.

/// The one of `known` nearest to `word`, if it is near: a third of its letters may differ, and a
/// beginning counts (`least` for `least_connections`). Case, `-` and `_` don't matter.
pub fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = folded(word);
    let allowed = (word.len() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (distance(&word, &folded(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= allowed || is_beginning(&word, candidate))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// "; did you mean `x`?", or `otherwise` where nothing is near.
pub fn did_you_mean<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
    otherwise: impl FnOnce() -> String,
) -> String {
    match closest(word, known) {
        Some(found) => format!("; did you mean `{found}`?"),
        None => otherwise(),
    }
}

fn is_beginning(word: &[char], candidate: &str) -> bool {
    word.len() >= 4 && folded(candidate).starts_with(word)
}

fn folded(word: &str) -> Vec<char> {
    word.chars()
        .map(|c| {
            if c == '-' {
                '_'
            } else {
                c.to_ascii_lowercase()
            }
        })
        .collect()
}

/// Letters to insert, remove, replace or swap with their neighbour (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        rows[i][0] = i;
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let shifted = 1 + rows[i - 1][j].min(rows[i][j - 1]);
            rows[i][j] = replaced.min(shifted);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                rows[i][j] = rows[i][j].min(rows[i - 2][j - 2] + 1);
            }
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let known = ["address", "http2", "tls", "least_connections"];
        for (word, expected) in [
            ("adress", Some("address")),
            ("Address", Some("address")),
            ("htpt2", Some("http2")),
            ("least", Some("least_connections")),
            ("least-connections", Some("least_connections")),
            ("tsl", Some("tls")),
            ("port", None),
            ("", None),
        ] {
            assert_eq!(closest(word, known), expected, "{word}");
        }
    }
}
