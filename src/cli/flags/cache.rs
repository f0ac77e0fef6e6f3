//! What is taken from earlier builds: `--no-cache` and its like, and caches in registries in
//! buildx's words.

use std::str::FromStr;

use clap::Args;

use super::{Age, parsed};
use crate::build::BuildRequest;
use crate::error::{Error, ErrorKind};
use crate::oci::{Reference, Repository};

/// What is taken from earlier builds.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Cache options")]
pub(crate) struct CacheFlags {
    /// Run every step again, without the build cache
    ///
    /// Cache mounts (`RUN --mount=type=cache`) begin empty, too, as with BuildKit.
    #[arg(long)]
    no_cache: bool,

    /// Run all steps of these stages again
    #[arg(long, value_name = "STAGE[,STAGE…]", value_delimiter = ',', hide_short_help = true)]
    no_cache_filter: Vec<String>,

    /// Run a RUN step again if its result in the build cache is this old or older: 30m, 24h, 7d
    ///
    /// Otherwise the result of `pip install --upgrade` or `apt-get upgrade` is reused until the
    /// command changes.
    #[arg(long, value_name = "AGE", value_parser = parsed::<Age>)]
    cache_max_age: Option<Age>,

    /// Share results of steps with other machines through this repository, such as between CI jobs
    ///
    /// An ordinary repository, used with the same credentials as a push. Results are checked for
    /// damage, but anyone who can push there is trusted. A cache that cannot be used is a warning.
    /// Cache mounts (`RUN --mount=type=cache`) of up to 1 GiB are shared, too, for 30 days.
    #[arg(long, value_name = "HOST/PATH", value_parser = parsed::<Repository>)]
    cache_repo: Option<Repository>,

    /// Take results of steps from type=registry,ref=HOST/PATH, or an image's name
    ///
    /// The repository is used as that of --cache-repo is; a tag in the name does not matter. What
    /// BuildKit has stored is not used.
    #[arg(long, value_name = "CACHE", value_parser = parsed::<CacheFrom>, hide_short_help = true)]
    cache_from: Vec<CacheFrom>,

    /// Put results of steps into type=registry,ref=HOST/PATH
    #[arg(long, value_name = "CACHE", value_parser = parsed::<CacheTo>, hide_short_help = true)]
    cache_to: Vec<CacheTo>,
}

/// One `--cache-from`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CacheFrom(Option<Repository>);

/// One `--cache-to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CacheTo(Option<Repository>);

impl FromStr for CacheFrom {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        repository(text).map(Self)
    }
}

impl FromStr for CacheTo {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        repository(text).map(Self)
    }
}

/// The repository of a cache, in buildx's words: `type=registry,ref=NAME[,…]`, or a name alone.
/// Empty is not a cache: a variable of a CI that is not set.
fn repository(text: &str) -> Result<Option<Repository>, Error> {
    const HINT: &str = "write type=registry,ref=HOST/PATH: results of steps are kept in a repository";
    if text.is_empty() {
        return Ok(None);
    }
    let name = |name: &str| Reference::parse(name).map(|name| Some(name.repository().clone()));
    if !text.contains('=') {
        return name(text);
    }
    let fields: Vec<(&str, &str)> = text.split(',').map(|field| field.split_once('=').unwrap_or((field, ""))).collect();
    let field = |wanted: &str| fields.iter().find(|(key, _)| key.trim() == wanted).map(|(_, value)| value.trim());
    match field("type") {
        Some("registry") => match field("ref") {
            // mode, compression and the like change how BuildKit stores it.
            Some(reference) if !reference.is_empty() => name(reference),
            _ => Err(Error::new(ErrorKind::Usage, "the cache has no `ref`").with_hint(HINT)),
        },
        Some(other) => {
            let why = match other {
                "inline" => "an image holds no cache here",
                "gha" => "the cache of GitHub Actions is not read or written",
                "local" => "the local store keeps results by itself, and a folder is not a cache",
                _ => "mpimg has none of this type",
            };
            Err(Error::new(ErrorKind::Unsupported, format!("a cache of type `{other}` cannot be used: {why}")).with_hint(HINT))
        }
        None => Err(Error::new(ErrorKind::Usage, "the cache has no `type`").with_hint(HINT)),
    }
}

impl CacheFlags {
    /// Puts the flags into the request.
    pub(super) fn put_into(self, request: &mut BuildRequest) {
        request.no_cache = self.no_cache;
        request.no_cache_stages = self.no_cache_filter.into_iter().filter(|stage| !stage.is_empty()).collect();
        request.cache_max_age = self.cache_max_age.map(|age| age.0);
        request.cache_repo = self.cache_repo;
        request.cache_from = self.cache_from.into_iter().filter_map(|cache| cache.0).collect();
        request.cache_to = self.cache_to.into_iter().filter_map(|cache| cache.0).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_is_a_repository_in_buildx_s_words() {
        let repository = |text: &str| Some(Repository::parse(text).unwrap());
        for text in [
            "type=registry,ref=h.example.com/a/b:cache,mode=max",
            "h.example.com/a/b:latest",
            "ref=h.example.com/a/b,type=registry",
        ] {
            assert_eq!(text.parse::<CacheFrom>().unwrap().0, repository("h.example.com/a/b"), "{text}");
        }
        assert_eq!("".parse::<CacheTo>().unwrap().0, None);
        for text in ["type=inline", "type=gha,scope=x", "type=local,dest=x", "type=s3", "type=registry", "mode=max", "A B"] {
            assert!(text.parse::<CacheTo>().unwrap_err().hint().is_some(), "{text}");
        }
    }
}
