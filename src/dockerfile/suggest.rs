//! Suggestions for misspelled words.
//!
//! A suggestion differs in two letters at most, as in BuildKit.

const MAX_DISTANCE: usize = 2;

const MAX_LENGTH: usize = 100;

/// The known word nearest to `word` in either case; the first one of several.
pub(super) fn suggest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // The time it takes grows with the square of the length, and nobody misspells so long a word.
    if word.len() > MAX_LENGTH {
        return None;
    }
    let word = word.to_lowercase();
    let known = known.into_iter().filter(|known| known.len() <= MAX_LENGTH);
    let near = known.map(|known| (strsim::damerau_levenshtein(&word, &known.to_lowercase()), known));
    // A word all of whose letters differ is not a misspelling.
    near.filter(|(distance, known)| *distance <= MAX_DISTANCE && *distance < known.chars().count().min(word.chars().count()))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// The hint that goes with a suggestion.
pub(super) fn did_you_mean(word: &str) -> String {
    format!("did you mean `{word}`?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_suggested_if_it_is_near() {
        let known = ["ADD", "ARG", "COPY", "ENTRYPOINT", "ENV", "RUN"];
        for (word, meant) in [
            ("COP", Some("COPY")),
            ("copyy", Some("COPY")),
            ("RNU", Some("RUN")),
            ("ENTRYPONIT", Some("ENTRYPOINT")),
            ("XYZ", None),
            ("", None),
            ("INSTALL", None),
        ] {
            assert_eq!(suggest(word, known), meant, "{word}");
        }
    }
}
