//! What a command line of kaniko's executor asks for, in the library's terms.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use crate::build::BuildRequest;
use crate::cli::drop_in::Parsed;
use crate::cli::flags::{Pair, SecretFlag};
use crate::error::{Error, ErrorKind, Result};
use crate::image::Transport;
use crate::layer::Codec;
use crate::oci::{Platform, Reference, Repository};

/// kaniko's own: two weeks.
const CACHE_TTL: Duration = Duration::from_secs(14 * 24 * 3600);

/// A variable of kaniko's, for a flag that was not given.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// What is to be done with the image.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) destinations: Vec<Reference>,
    pub(super) push: bool,
    pub(super) outputs: Vec<Transport>,
    pub(super) digest_file: Option<PathBuf>,
    pub(super) name_file: Option<PathBuf>,
    pub(super) name_tag_file: Option<PathBuf>,
}

impl Job {
    /// Reads where the image goes.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`]: what kaniko calls an error, too.
    pub(super) fn read(parsed: &Parsed) -> Result<Self> {
        let wrong = |message: &str, hint: &str| Err(Error::new(ErrorKind::Usage, message).with_hint(hint));
        let destinations = parsed.list("destination").into_iter().map(Reference::parse).collect::<Result<Vec<_>>>()?;
        let no_push = match variable("KANIKO_NO_PUSH") {
            Some(value) => boolean(&value)?,
            None => parsed.is("no-push"),
        };
        let path = |flag: &str| parsed.value(flag).filter(|path| !path.is_empty()).map(PathBuf::from);
        let tar = path("tar-path").or_else(|| path("tarPath"));
        if destinations.is_empty() {
            if !no_push {
                return wrong("you must provide --destination, or use --no-push", "add --destination HOST/PATH:TAG");
            }
            if tar.is_some() || path("image-name-with-digest-file").is_some() || path("image-name-tag-with-digest-file").is_some()
            {
                return wrong(
                    "an image without a name has none to be written",
                    "add --destination HOST/PATH:TAG; with --no-push it only names",
                );
            }
        }
        if no_push && parsed.is("cache") && parsed.value("cache-repo").is_none() {
            return wrong("if using cache with --no-push, specify cache repo with --cache-repo", "add --cache-repo HOST/PATH");
        }
        let archive = tar.map(|file| Transport::DockerArchive { file, reference: destinations.first().cloned() });
        let layout = path("oci-layout-path").map(|folder| Transport::OciLayout { folder, tag: None });
        Ok(Self {
            push: !no_push,
            outputs: archive.into_iter().chain(layout).collect(),
            digest_file: path("digest-file"),
            name_file: path("image-name-with-digest-file"),
            name_tag_file: path("image-name-tag-with-digest-file"),
            destinations,
        })
    }

    /// The files that results are written to.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.digest_file, &self.name_file, &self.name_tag_file].into_iter().flatten().map(PathBuf::as_path)
    }
}

/// What is to be built, but for the build context and the Dockerfile.
pub(super) fn request(parsed: &Parsed, job: &Job) -> Result<BuildRequest> {
    let mut request = BuildRequest::new("/workspace").with_environment();
    let pairs = |flag: &str| parsed.list(flag).into_iter().map(Pair::from_str).collect::<Result<Vec<_>>>();
    request.build_args = Pair::build_args(pairs("build-arg")?, |name| std::env::var(name).ok());
    request.labels = Pair::labels(pairs("label")?);
    request.target = parsed.value("target").filter(|target| !target.is_empty()).map(str::to_owned);
    request.platform =
        match parsed.value("custom-platform").or_else(|| parsed.value("customPlatform")).filter(|text| !text.is_empty()) {
            Some(platform) => platform.parse()?,
            None => Platform::host(),
        };
    request.codec = codec(parsed)?;
    request.squash = parsed.is("single-snapshot");
    let secrets = parsed.list("secret").into_iter().map(SecretFlag::from_str).collect::<Result<Vec<_>>>()?;
    request.secrets = secrets.iter().map(SecretFlag::read).collect::<Result<_>>()?;
    // Without --cache kaniko does every step.
    request.no_cache = !parsed.is("cache");
    if parsed.is("cache") {
        request.cache_max_age = Some(parsed.value("cache-ttl").map_or(Ok(CACHE_TTL), duration)?);
        if let Some(repository) = cache_repository(parsed, job)? {
            match parsed.is("no-push-cache") {
                true => request.cache_from = vec![repository],
                false => request.cache_repo = Some(repository),
            }
        }
    }
    Ok(request)
}

fn codec(parsed: &Parsed) -> Result<Codec> {
    let name = parsed.value("compression").filter(|name| !name.is_empty());
    // -1 is kaniko's word for its own default.
    let level = parsed.value("compression-level").filter(|level| !matches!(*level, "" | "-1"));
    match (name, level) {
        (None, None) => Ok(Codec::default()),
        (Some(name), None) => name.parse(),
        (name, Some(level)) => format!("{}:{level}", name.unwrap_or("gzip")).parse(),
    }
}

/// Where results of steps are shared.
fn cache_repository(parsed: &Parsed, job: &Job) -> Result<Option<Repository>> {
    match parsed.value("cache-repo").filter(|name| !name.is_empty()) {
        Some(folder) if folder.starts_with("oci:") => {
            Err(Error::new(ErrorKind::Unsupported, format!("a build cache in the folder `{folder}` cannot be used"))
                .with_hint("name a repository: --cache-repo HOST/PATH; the local store keeps results by itself"))
        }
        Some(name) => Reference::parse(name).map(|name| Some(name.repository().clone())),
        None => match job.destinations.first() {
            Some(destination) => Repository::parse(&format!("{}/cache", destination.repository())).map(Some),
            None => Ok(None),
        },
    }
}

/// The registries that are reached by plain HTTP or whatever their certificate is; `*` is all.
pub(super) fn insecure_registries(parsed: &Parsed, job: &Job, request: &BuildRequest) -> Vec<String> {
    let named = parsed.list("insecure-registry").into_iter().chain(parsed.list("skip-tls-verify-registry")).map(str::to_owned);
    let mut registries: Vec<String> = named.collect();
    if parsed.is("insecure") || parsed.is("skip-tls-verify") {
        let caches = request.cache_repo.iter().chain(&request.cache_from).map(Repository::registry);
        registries.extend(job.destinations.iter().map(Reference::registry).chain(caches).map(str::to_owned));
    }
    if parsed.is("insecure-pull") || parsed.is("skip-tls-verify-pull") {
        registries.push("*".into());
    }
    registries
}

/// Mirrors, in the library's form.
pub(super) fn mirrors(parsed: &Parsed) -> Vec<String> {
    let of_hub = parsed.list("registry-mirror").into_iter().map(str::to_owned).chain(variable("KANIKO_REGISTRY_MIRROR"));
    let maps = parsed.list("registry-map").into_iter().map(str::to_owned).chain(variable("KANIKO_REGISTRY_MAP"));
    let maps: Vec<String> = maps.collect();
    let mapped =
        maps.iter().flat_map(|map| map.split(';')).filter(|map| map.contains('=')).map(|map| match map.split_once('=') {
            Some(("index.docker.io", mirror)) => mirror.to_owned(),
            _ => map.to_owned(),
        });
    of_hub.chain(mapped).collect()
}

/// The certificate authorities of `HOST=FILE`.
pub(super) fn ca_files(parsed: &Parsed) -> Vec<PathBuf> {
    let file = |text: &str| PathBuf::from(text.split_once('=').map_or(text, |(_, file)| file));
    parsed.list("registry-certificate").into_iter().map(file).collect()
}

/// Go's words for true and false (strconv.ParseBool).
fn boolean(text: &str) -> Result<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        other => Err(Error::new(ErrorKind::Usage, format!("invalid value (true/false) for KANIKO_NO_PUSH: `{other}`"))
            .with_hint("set it to true or false")),
    }
}

/// Go's durations (time.ParseDuration): `336h`, `1h30m`, `90s`.
fn duration(text: &str) -> Result<Duration> {
    let wrong =
        || Error::new(ErrorKind::Usage, format!("`{text}` is not a duration")).with_hint("write it as 336h, 30m or 1h30m");
    let (mut rest, mut sum) = (text, 0.0);
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.').ok_or_else(wrong)?;
        let number: f64 = rest[..end].parse().map_err(|_| wrong())?;
        let unit_end = rest[end..].find(|letter: char| letter.is_ascii_digit()).map_or(rest.len(), |at| end + at);
        sum += number
            * match &rest[end..unit_end] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 0.001,
                _ => return Err(wrong()),
            };
        rest = &rest[unit_end..];
    }
    if text.is_empty() { Err(wrong()) } else { Duration::try_from_secs_f64(sum).map_err(|_| wrong()) }
}

#[cfg(test)]
mod tests {
    use super::super::flags::FLAGS;
    use super::*;

    fn parsed(words: &[&str]) -> Parsed {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Parsed::parse(&[FLAGS], false, &words).unwrap()
    }

    fn read(words: &[&str]) -> Result<(Job, BuildRequest)> {
        let parsed = parsed(words);
        let job = Job::read(&parsed)?;
        let request = request(&parsed, &job)?;
        Ok((job, request))
    }

    #[test]
    fn durations_are_those_of_go() {
        for (text, seconds) in [("336h", 1_209_600), ("1h30m", 5400), ("90s", 90), ("1.5h", 5400), ("0s", 0)] {
            assert_eq!(duration(text).unwrap().as_secs(), seconds, "{text}");
        }
        for text in ["", "7", "1d", "h", "-1h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_cache_is_beside_the_first_destination_unless_it_has_a_repository() {
        let (_, request) = read(&["-d", "h.example.com/a/b:1", "-d", "h.example.com/c:1", "--cache=true"]).unwrap();
        assert_eq!(request.cache_repo, Some(Repository::parse("h.example.com/a/b/cache").unwrap()));
        assert_eq!((request.no_cache, request.cache_max_age), (false, Some(CACHE_TTL)));
        let (_, request) =
            read(&["-d", "h.example.com/a:1", "--cache", "--no-push-cache", "--cache-repo", "h.example.com/s"]).unwrap();
        assert_eq!((request.cache_repo, request.cache_from.len()), (None, 1));
        let (_, request) = read(&["-d", "h.example.com/a:1", "--cache-repo", "h.example.com/s"]).unwrap();
        assert_eq!((request.no_cache, request.cache_repo), (true, None));
        assert!(read(&["-d", "a:1", "--cache", "--cache-repo", "oci:/cache"]).unwrap_err().hint().is_some());
    }

    #[test]
    fn what_kaniko_refuses_is_refused() {
        for words in [&[][..], &["--no-push", "--tarPath", "a.tar"], &["--no-push", "--cache", "-d", "a:1"], &["-d", "A B"]] {
            assert_eq!(read(words).unwrap_err().kind(), ErrorKind::Usage, "{words:?}");
        }
        let (job, _) = read(&["--no-push", "--oci-layout-path", "out"]).unwrap();
        assert_eq!((job.push, job.outputs.len()), (false, 1));
    }

    #[test]
    fn what_is_insecure_is_the_destination_a_named_registry_or_all() {
        let insecure = |words: &[&str]| {
            let (job, request) = read(words).unwrap();
            insecure_registries(&parsed(words), &job, &request)
        };
        assert_eq!(insecure(&["-d", "h:5000/a:1"]), Vec::<String>::new());
        assert_eq!(insecure(&["-d", "h:5000/a:1", "--insecure"]), ["h:5000"]);
        assert_eq!(insecure(&["-d", "h:5000/a:1", "--insecure-registry", "x", "--skip-tls-verify-pull"]), ["x", "*"]);
    }

    #[test]
    fn mirrors_of_docker_hub_and_of_others_are_told_apart() {
        let words =
            ["--registry-mirror", "m.example.com", "--registry-map", "index.docker.io=a.example.com/hub;gcr.io=b.example.com"];
        assert_eq!(mirrors(&parsed(&words)), ["m.example.com", "a.example.com/hub", "gcr.io=b.example.com"]);
    }

    #[test]
    fn the_level_belongs_to_the_compression() {
        for (words, codec) in [
            (&["--compression", "zstd"][..], "zstd"),
            (&["--compression=zstd", "--compression-level=9"], "zstd:9"),
            (&["--compression-level", "6"], "gzip:6"),
            (&["--compression-level", "-1"], "gzip"),
        ] {
            let words: Vec<&str> = ["-d", "a:1"].iter().chain(words).copied().collect();
            assert_eq!(read(&words).unwrap().1.codec, codec.parse::<Codec>().unwrap());
        }
    }
}
