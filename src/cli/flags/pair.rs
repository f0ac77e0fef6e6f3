//! `KEY=VALUE` on the command line.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};

/// A key, and a value where one was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    key: String,
    value: Option<String>,
}

impl FromStr for Pair {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (key, value) = text.split_once('=').map_or((text, None), |(key, value)| (key, Some(value)));
        if key.trim().is_empty() {
            return Err(Error::new(ErrorKind::Usage, "the key is empty").with_hint("write KEY=VALUE"));
        }
        Ok(Self { key: key.to_owned(), value: value.map(str::to_owned) })
    }
}

impl Pair {
    /// Its name, if it was given without a value.
    pub(crate) fn name_alone(&self) -> Option<&str> {
        self.value.is_none().then_some(&self.key)
    }

    /// Build arguments: one without a value comes from the environment, and is left out where that
    /// has none (as with docker).
    pub(crate) fn build_args(pairs: Vec<Self>, environment: impl Fn(&str) -> Option<String>) -> BTreeMap<String, String> {
        Self::environment(pairs, environment).into_iter().collect()
    }

    /// As `build_args`, in the given order, for variables.
    pub(crate) fn environment(pairs: Vec<Self>, environment: impl Fn(&str) -> Option<String>) -> Vec<(String, String)> {
        let from_environment = |Self { key, value }| value.or_else(|| environment(&key)).map(|value| (key, value));
        pairs.into_iter().filter_map(from_environment).collect()
    }

    /// Labels: one without a value is empty (as with docker).
    pub(crate) fn labels(pairs: Vec<Self>) -> BTreeMap<String, String> {
        pairs.into_iter().map(|Self { key, value }| (key, value.unwrap_or_default())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(texts: &[&str]) -> Vec<Pair> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn only_the_first_equals_sign_separates() {
        assert_eq!(
            Pair::labels(pairs(&["a=b=c", "empty", "also="])),
            [("a", "b=c"), ("also", ""), ("empty", "")].map(owned).into()
        );
        assert!("=x".parse::<Pair>().is_err());
    }

    #[test]
    fn a_build_argument_without_a_value_comes_from_the_environment() {
        let environment = |name: &str| (name == "SET").then(|| "from outside".to_owned());
        let args = Pair::build_args(pairs(&["SET", "UNSET", "GIVEN=1"]), environment);
        assert_eq!(args, [("GIVEN", "1"), ("SET", "from outside")].map(owned).into());
    }

    fn owned((key, value): (&str, &str)) -> (String, String) {
        (key.into(), value.into())
    }
}
