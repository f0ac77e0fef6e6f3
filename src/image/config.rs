//! The image configuration (image specification, config.md), with docker's additions (Healthcheck,
//! OnBuild, Shell).
//!
//! Fields that mpimg does not know are kept: the types of oci-spec and oci-client drop them,
//! docker's included. Refuses a known field of the wrong type, and a rootfs that is not of layers.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use jiff::civil::DateTime;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result};
use crate::oci::{DiffId, Platform, or_default};

/// An image's configuration: what it runs on, how it is run, what it is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// The CPU, by Go's name: `amd64`.
    #[serde(default, deserialize_with = "or_default")]
    pub architecture: String,
    /// Who made the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// How a container of this image is run.
    #[serde(default, deserialize_with = "or_default")]
    pub config: RunConfig,
    /// When, as RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// What was done to make it, first step first.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
    /// The operating system: `linux`.
    #[serde(default, deserialize_with = "or_default")]
    pub os: String,
    /// The layers.
    #[serde(default, deserialize_with = "or_default")]
    pub rootfs: RootFs,
    /// The CPU's variant: `v7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Fields that mpimg does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// How a container is run: the object `config` of an image configuration.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RunConfig {
    /// User name or number, with `:group` where one is given; empty is root.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// `8080/tcp`, …
    #[serde(with = "keys", skip_serializing_if = "BTreeSet::is_empty")]
    pub exposed_ports: BTreeSet<String>,
    /// `NAME=value`, in order; see [`RunConfig::set_env`].
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The command's fixed part.
    #[serde(deserialize_with = "word_or_list", skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// The command's default arguments, or the command.
    #[serde(deserialize_with = "word_or_list", skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Folders that are volumes.
    #[serde(with = "keys", skip_serializing_if = "BTreeSet::is_empty")]
    pub volumes: BTreeSet<String>,
    /// Where commands start; empty is `/`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Free-form pairs.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The signal that stops the container, by name or number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// How to tell whether a container is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Instructions for builds on this image.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    /// The shell of shell forms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    /// Fields that mpimg does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A health check, as docker writes it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", command]`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// Nanoseconds between checks; 0 is docker's default.
    #[serde(skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// Nanoseconds that one check may take; 0 is docker's default.
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// Nanoseconds after the start in which failures do not count.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Nanoseconds between checks in the start period.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// How many failures in a row make a container unhealthy; 0 is docker's default.
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: i64,
    /// Fields that mpimg does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// One step of an image's making.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// When, as RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The instruction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Who.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// By what: `buildkit.dockerfile.v0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether the step made no layer.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
    /// Fields that mpimg does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The layers of an image by diff ID, lowest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    #[serde(rename = "type")]
    kind: String,
    /// The diff IDs.
    #[serde(default, deserialize_with = "or_default")]
    pub diff_ids: Vec<DiffId>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self { kind: "layers".into(), diff_ids: Vec::new() }
    }
}

/// Old images have a single string where others have a list (moby, `strslice.StrSlice`).
fn word_or_list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum WordOrList {
        Word(String),
        List(Vec<String>),
    }
    Ok(Option::deserialize(deserializer)?.map(|value| match value {
        WordOrList::Word(word) => vec![word],
        WordOrList::List(list) => list,
    }))
}

/// Go's form of a set: an object whose values say nothing.
mod keys {
    use super::*;

    pub(super) fn serialize<S: Serializer>(keys: &BTreeSet<String>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(keys.iter().map(|key| (key, Map::new())))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<String>, D::Error> {
        let object: Option<BTreeMap<String, IgnoredAny>> = Option::deserialize(deserializer)?;
        Ok(object.unwrap_or_default().into_keys().collect())
    }
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// A time in seconds since 1970 as RFC 3339 in UTC: `2024-02-29T12:00:00Z`. Beyond the years that
/// it can write, 1970.
pub fn rfc3339(seconds: i64) -> String {
    const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
    let time = EPOCH.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(EPOCH);
    format!("{time}Z")
}

impl ImageConfig {
    /// The configuration of `FROM scratch`: a platform and nothing else.
    pub fn scratch(platform: &Platform) -> Self {
        Self {
            architecture: platform.architecture.clone(),
            author: None,
            config: RunConfig::default(),
            created: None,
            history: Vec::new(),
            os: platform.os.clone(),
            rootfs: RootFs::default(),
            variant: platform.variant.clone(),
            other: Map::new(),
        }
    }

    /// Parses a configuration, OCI's or docker's.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`]: no JSON, or a known field of the wrong type.
    /// [`ErrorKind::Unsupported`]: a rootfs not of layers.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let config: Self = serde_json::from_slice(bytes)
            .map_err(|error| Error::new(ErrorKind::Corrupt, "the image configuration cannot be read").with_source(error))?;
        match config.rootfs.kind.as_str() {
            "layers" => Ok(config),
            kind => Err(Error::new(ErrorKind::Unsupported, format!("the image's rootfs is of type `{kind}`, not `layers`"))),
        }
    }

    /// The configuration as JSON: the same bytes for equal configurations, on any machine.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self)
            .map_err(|error| Error::new(ErrorKind::Corrupt, "the image configuration cannot be written").with_source(error))
    }

    /// The configuration to start from when building on this image: what speaks of this image alone
    /// is left out (docker's fields of a time before layers), and its history is completed, so that
    /// the steps to come stand with their layers.
    #[must_use]
    pub fn derive(&self) -> Self {
        let mut config = self.clone();
        for field in ["container", "container_config", "docker_version", "id", "parent", "moby.buildkit.buildinfo.v1"] {
            config.other.remove(field);
        }
        config.complete_history();
        config
    }

    /// Adds steps of unknown origin until every layer has one: some tools write no history (it is
    /// optional), and whatever pairs steps with layers would otherwise give them the wrong ones.
    pub(crate) fn complete_history(&mut self) {
        let known = self.history.iter().filter(|step| !step.empty_layer).count();
        let missing = self.rootfs.diff_ids.len().saturating_sub(known);
        let unknown = History { comment: Some("no history was recorded for this layer".into()), ..History::default() };
        self.history.extend(std::iter::repeat_n(unknown, missing));
    }

    /// What the image runs on.
    pub fn platform(&self) -> Platform {
        Platform { architecture: self.architecture.clone(), os: self.os.clone(), variant: self.variant.clone() }
    }

    /// Sets what the image runs on.
    pub fn set_platform(&mut self, platform: Platform) {
        Platform { architecture: self.architecture, os: self.os, variant: self.variant } = platform;
    }

    /// The step that made each layer, lowest layer first; `None` where the history does not tell.
    pub fn layer_steps(&self) -> Vec<Option<&History>> {
        let steps = self.history.iter().filter(|step| !step.empty_layer).map(Some);
        steps.chain(std::iter::repeat(None)).take(self.rootfs.diff_ids.len()).collect()
    }
}

impl RunConfig {
    /// The value of an environment variable.
    pub fn env(&self, name: &str) -> Option<&str> {
        self.env.iter().find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }

    /// Sets an environment variable; one that is there keeps its place, as with docker.
    pub fn set_env(&mut self, name: &str, value: &str) {
        let pair = format!("{name}={value}");
        let same = |old: &&mut String| old.strip_prefix(name).is_some_and(|rest| rest.starts_with('='));
        match self.env.iter_mut().find(same) {
            Some(old) => *old = pair,
            None => self.env.push(pair),
        }
    }
}

impl History {
    /// A step, with its time in seconds since 1970.
    pub fn new(created: i64, created_by: impl Into<String>, empty_layer: bool) -> Self {
        Self { created: Some(rfc3339(created)), created_by: Some(created_by.into()), empty_layer, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::oci::Digest;

    #[test]
    fn dockers_own_fields_and_unknown_ones_survive() {
        let text = concat!(
            r#"{"architecture":"arm","config":{"User":"adapter","ExposedPorts":{"443/tcp":{},"8080/tcp":{}},"Env":["A=1","B=2"],"#,
            r#""Entrypoint":["python3"],"Cmd":[],"Labels":{"a":"b"},"StopSignal":"SIGINT","Healthcheck":{"Test":["NONE"],"#,
            r#""Interval":30000000000,"Retries":3,"New":true},"OnBuild":["RUN x"],"Shell":["/bin/bash","-c"],"ArgsEscaped":true},"#,
            r#""created":"2024-01-01T00:00:00Z","history":[{"created_by":"x","empty_layer":true,"n":1.5}],"os":"linux","#,
            r#""rootfs":{"type":"layers","diff_ids":[]},"variant":"v7","os.version":"1","z":{"b":null,"a":[1]}}"#
        );
        let config = ImageConfig::from_bytes(text.as_bytes()).unwrap();
        let written: Value = serde_json::from_slice(&config.to_bytes().unwrap()).unwrap();
        assert_eq!(written, serde_json::from_str::<Value>(text).unwrap());
        assert_eq!(config.config.healthcheck.unwrap().interval, 30_000_000_000);
    }

    #[test]
    fn gos_nulls_and_a_single_word_as_command_are_read() {
        let text = r#"{"architecture":"amd64","os":"linux","config":{"Env":null,"Cmd":"run","Entrypoint":null,"Volumes":{"/v":null},
            "ExposedPorts":null,"Labels":null,"OnBuild":null},"history":null,"rootfs":{"type":"layers","diff_ids":null}}"#;
        let config = ImageConfig::from_bytes(text.as_bytes()).unwrap();
        assert_eq!(config.config.cmd, Some(vec!["run".to_owned()]));
        assert_eq!(config.config.entrypoint, None);
        assert_eq!(config.config.volumes, BTreeSet::from(["/v".to_owned()]));
        let nothing = ImageConfig::from_bytes(br#"{"config":null,"rootfs":null}"#).unwrap();
        assert_eq!(nothing.config, RunConfig::default());
    }

    #[test]
    fn fields_of_the_wrong_type_are_refused() {
        for text in ["", "[]", r#"{"config":[]}"#, r#"{"config":{"Env":{}}}"#, r#"{"rootfs":{"type":"layers","diff_ids":["x"]}}"#]
        {
            assert_eq!(ImageConfig::from_bytes(text.as_bytes()).unwrap_err().kind(), ErrorKind::Corrupt, "{text}");
        }
        let error = ImageConfig::from_bytes(br#"{"rootfs":{"type":"tarballs"}}"#).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn a_variable_that_is_set_again_keeps_its_place() {
        let mut config = RunConfig { env: vec!["PATH=/bin".into(), "A=1".into(), "AB=2".into()], ..RunConfig::default() };
        config.set_env("A", "x=y");
        config.set_env("C", "");
        assert_eq!(config.env, ["PATH=/bin", "A=x=y", "AB=2", "C="]);
        assert_eq!(config.env("A"), Some("x=y"));
        assert_eq!(config.env("C"), Some(""));
        assert_eq!(config.env("B"), None);
    }

    #[test]
    fn times_are_written_as_docker_writes_them() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_709_208_000), "2024-02-29T12:00:00Z");
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59Z");
        assert_eq!(rfc3339(253_402_300_799), "9999-12-31T23:59:59Z");
        assert_eq!(rfc3339(i64::MAX), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn steps_stand_with_their_layers_even_if_the_base_tells_nothing() {
        let mut base = ImageConfig::scratch(&Platform::default());
        base.rootfs.diff_ids = vec![DiffId(Digest::of("a"))];
        let mut config = base.derive();
        config.history.push(History::new(0, "ENV A=1", true));
        config.history.push(History::new(0, "COPY b .", false));
        config.rootfs.diff_ids.push(DiffId(Digest::of("b")));
        let steps: Vec<_> = config.layer_steps().into_iter().map(|step| step.unwrap().created_by.as_deref()).collect();
        assert_eq!(steps, [None, Some("COPY b .")]);
        assert_eq!(base.layer_steps(), [None]);
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(".{0,6}", inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn unknown_fields_survive_anywhere(
            top in json(), run in json(), step in json(), env in proptest::collection::vec("[A-Z]{1,4}=.{0,6}", 1..4),
        ) {
            let text = serde_json::json!({
                "architecture": "amd64", "os": "linux", "x.top": top,
                "config": {"Env": env, "x.run": run},
                "history": [{"created_by": "RUN", "x.step": step}],
                "rootfs": {"type": "layers", "diff_ids": []},
            });
            let config = ImageConfig::from_bytes(text.to_string().as_bytes()).unwrap();
            let bytes = config.to_bytes().unwrap();
            prop_assert_eq!(&serde_json::from_slice::<Value>(&bytes).unwrap(), &text);
            prop_assert_eq!(ImageConfig::from_bytes(&bytes).unwrap().to_bytes().unwrap(), bytes);
        }
    }
}
