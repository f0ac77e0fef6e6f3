//! Licences: the words of packages as SPDX expressions, where that is possible.

use std::sync::LazyLock;

use regex::Regex;
use spdx::{Expression, ParseMode};

/// Names that packages use for what SPDX calls otherwise: Debian's (copyright-format 1.0, "Short
/// name"), Python's classifiers', Fedora's. In lower case.
const OTHER_NAMES: [(&str, &str); 24] = [
    ("apache 2", "Apache-2.0"),
    ("apache 2.0", "Apache-2.0"),
    ("apache license 2.0", "Apache-2.0"),
    ("apache license, version 2.0", "Apache-2.0"),
    ("apache software license", "Apache-2.0"),
    ("apache-2", "Apache-2.0"),
    ("artistic", "Artistic-1.0-Perl"),
    ("asl 2.0", "Apache-2.0"),
    ("boost", "BSL-1.0"),
    ("bsd 2-clause", "BSD-2-Clause"),
    ("bsd 3-clause", "BSD-3-Clause"),
    ("expat", "MIT"),
    ("http://www.apache.org/licenses/license-2.0", "Apache-2.0"),
    ("http://www.apache.org/licenses/license-2.0.txt", "Apache-2.0"),
    ("https://www.apache.org/licenses/license-2.0", "Apache-2.0"),
    ("https://www.apache.org/licenses/license-2.0.txt", "Apache-2.0"),
    ("isc license (iscl)", "ISC"),
    ("mit license", "MIT"),
    ("mozilla public license 2.0 (mpl 2.0)", "MPL-2.0"),
    ("mplv2.0", "MPL-2.0"),
    ("psf", "PSF-2.0"),
    ("python software foundation license", "PSF-2.0"),
    ("the mit license", "MIT"),
    ("zlib/libpng", "Zlib"),
];

/// `GPL-2+`, `GPLv2+`, `LGPL-2.1`
static GNU: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?i)^(A?GPL|LGPL|GFDL)[- ]?v?(\d)(?:\.(\d))?(\+|-only|-or-later)?$").ok());

/// The SPDX expression for what a package says, or its own words.
pub(super) fn normal(words: &str) -> String {
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    if GNU.as_ref().is_none_or(|gnu| !gnu.is_match(&words)) && is_expression(&words) {
        return words;
    }
    // Debian and Fedora write `and` and `or`.
    for (word, operator) in [(" and ", " AND "), (" or ", " OR ")] {
        let parts: Vec<&str> = words.split(word).collect();
        if parts.len() > 1 {
            let parts: Option<Vec<String>> = parts.iter().map(|part| one(part.trim_matches([' ', ',', '(', ')']))).collect();
            return parts.map_or(words.clone(), |parts| parts.join(operator));
        }
    }
    one(&words).unwrap_or(words)
}

/// Whether it is an expression of licences that SPDX has.
pub(super) fn is_expression(text: &str) -> bool {
    !text.contains("LicenseRef")
        && Expression::parse_mode(text, ParseMode { allow_deprecated: true, ..ParseMode::STRICT }).is_ok()
}

/// Whether it is a single licence of SPDX's list.
pub(super) fn is_id(text: &str) -> bool {
    spdx::license_id(text).is_some_and(|id| id.name == text)
}

fn one(name: &str) -> Option<String> {
    if let Some(gnu) = GNU.as_ref().and_then(|gnu| gnu.captures(name)) {
        let minor = gnu.get(3).map_or("0", |minor| minor.as_str());
        let later = gnu.get(4).is_some_and(|suffix| suffix.as_str() != "-only");
        let id = format!("{}-{}.{minor}-{}", gnu[1].to_uppercase(), &gnu[2], if later { "or-later" } else { "only" });
        return is_id(&id).then_some(id);
    }
    if is_expression(name) {
        return Some(name.to_owned());
    }
    let lower = name.to_lowercase();
    if let Ok(place) = OTHER_NAMES.binary_search_by_key(&&*lower, |(other, _)| other) {
        return Some(OTHER_NAMES[place].1.to_owned());
    }
    spdx::identifiers::LICENSES
        .iter()
        .find(|license| license.name.eq_ignore_ascii_case(name))
        .map(|license| license.name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_packages_become_expressions_where_that_can_be_told() {
        assert!(OTHER_NAMES.is_sorted());
        assert!(OTHER_NAMES.iter().all(|(_, id)| is_id(id)));
        for (words, expected) in [
            ("MIT", "MIT"),
            ("MIT OR Apache-2.0", "MIT OR Apache-2.0"),
            ("Expat", "MIT"),
            ("bsd-3-clause", "BSD-3-Clause"),
            ("GPL-2+", "GPL-2.0-or-later"),
            // Without a suffix SPDX means that version alone, and has another name for it by now.
            ("LGPL-2.1", "LGPL-2.1-only"),
            ("LGPLv2.1+", "LGPL-2.1-or-later"),
            ("GPL-2+ or Artistic", "GPL-2.0-or-later OR Artistic-1.0-Perl"),
            ("GPLv2+ and MIT", "GPL-2.0-or-later AND MIT"),
            ("GPL-9", "GPL-9"),
            ("public-domain", "public-domain"),
            ("as is and so on", "as is and so on"),
            ("LicenseRef-mine", "LicenseRef-mine"),
        ] {
            assert_eq!(normal(words), expected);
        }
        assert!(!is_expression("GPL-2+") && !is_id("MIT OR ISC") && !is_expression(""));
    }
}
