//! "Did you mean …?"

/// The one of `known` that `word` was most likely meant to be; `None` when nothing is close.
pub(super) fn closest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    let nearest = known.iter().map(|candidate| (distance(&word, candidate), *candidate)).min()?;
    // About one slip in three letters: more is another word.
    (nearest.0 <= word.chars().count().div_ceil(3)).then_some(nearest.1)
}

/// The number of letters to insert, remove or replace to turn one word into the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for column in 0..other.len() {
            let replaced = diagonal + usize::from(letter != other[column]);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_understood_and_another_word_is_not() {
        let known = ["idle_timeout", "active_timeout", "on_timeout", "retention"];
        assert_eq!(closest("idle_timout", &known), Some("idle_timeout"));
        assert_eq!(closest("IDLE_TIMEOUT", &known), Some("idle_timeout"));
        assert_eq!(closest("retension", &known), Some("retention"));
        assert_eq!(closest("colour", &known), None);
        assert_eq!(closest("x", &[]), None);
    }

    #[test]
    fn the_distance_counts_single_letters() {
        for (one, other, expected) in [("", "", 0), ("", "abc", 3), ("abc", "abc", 0), ("kitten", "sitting", 3)] {
            assert_eq!(distance(one, other), expected);
            assert_eq!(distance(other, one), expected);
        }
    }
}
