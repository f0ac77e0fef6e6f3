//! The text of `RUN --mount`, with BuildKit's defaults.
//!
//! An option that the mount's type does not take is an error, as in BuildKit.

use crate::error::{Error, Result};
use crate::size::{Units, parse_size};

use super::super::path::{base_name, clean, join};
use super::super::source::Location;
use super::super::suggest::{did_you_mean, suggest};
use super::super::text::{comma_fields, parse_bool};
use super::super::{Base, MountRequest, Sharing};

/// Options as written, variables expanded.
#[derive(Default)]
struct Options {
    kind: Kind,
    from: Option<String>,
    source: Option<String>,
    target: Option<String>,
    read_only: Option<bool>,
    required: bool,
    size: Option<u64>,
    id: Option<String>,
    env: Option<String>,
    sharing: Option<Sharing>,
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Kind {
    #[default]
    Bind,
    Cache,
    Tmpfs,
    Secret,
    Ssh,
}

const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "readwrite",
    "rw",
    "required",
    "size",
    "id",
    "env",
    "sharing",
    "mode",
    "uid",
    "gid",
];

/// What a mount is read with, besides its text.
pub(in crate::dockerfile) struct MountScope<'a> {
    /// Expands a value.
    pub(in crate::dockerfile) expand: &'a mut dyn FnMut(&str) -> Result<String, String>,
    /// Finds what `from` means.
    pub(in crate::dockerfile) resolve: &'a dyn Fn(&str) -> Base,
    /// What relative targets are relative to.
    pub(in crate::dockerfile) working_dir: &'a str,
    /// How many ssh mounts the RUN has had before.
    pub(in crate::dockerfile) agents: usize,
}

/// The stage or image that a mount takes its files from: always literal, never a variable.
pub fn mount_from(text: &str) -> Option<String> {
    let fields = comma_fields(text).ok()?;
    let option = |wanted: &str| {
        let mut pairs = fields.iter().filter_map(|field| field.split_once('='));
        pairs.rfind(|(key, _)| key.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.to_owned())
    };
    let takes_files = option("type").is_none_or(|kind| !["tmpfs", "secret", "ssh"].contains(&kind.to_lowercase().as_str()));
    option("from").filter(|from| takes_files && !from.is_empty())
}

/// Checks a mount before its variables are known: everything if it has none, otherwise only
/// the literal parts.
pub(in crate::dockerfile) fn check_mount(location: &Location, text: &str) -> Result<()> {
    let wrong = |(part, message, hint): Wrong| wrong_at(location, &part, message, hint);
    if let Some(from) = mount_from(text).filter(|from| from.contains('$')) {
        let message = "`from` of a mount cannot have variables".to_owned();
        let hint = "name the image as a stage of its own with its ARG before the first FROM, and write from=NAME".to_owned();
        return Err(wrong((from, message, Some(hint))));
    }
    if text.contains(['$', '\'', '"', location.escape]) {
        return comma_fields(text).map(|_| ()).map_err(|message| wrong((text.to_owned(), message, None)));
    }
    let mut expand = |value: &str| Ok(value.to_owned());
    let scope =
        MountScope { expand: &mut expand, resolve: &|from| Base::Image(from.to_owned()), working_dir: "/folder", agents: 0 };
    parse_parts(text, scope).map(|_| ()).map_err(wrong)
}

/// Reads a mount.
pub(in crate::dockerfile) fn parse_mount(location: &Location, text: &str, scope: MountScope<'_>) -> Result<MountRequest> {
    parse_parts(text, scope).map_err(|(part, message, hint)| wrong_at(location, &part, message, hint))
}

/// The part that is wrong, why, and what to do.
type Wrong = (String, String, Option<String>);

fn wrong_at(location: &Location, part: &str, message: String, hint: Option<String>) -> Error {
    let error = location.error_at(part, message);
    error.with_hint(hint.unwrap_or_else(|| "write it as --mount=type=TYPE,target=PATH,…".into()))
}

fn parse_parts(text: &str, scope: MountScope<'_>) -> Result<MountRequest, Wrong> {
    let at = |part: &str| {
        let part = part.to_owned();
        move |message: String| (part, message, None)
    };
    let mut options = Options::default();
    for field in comma_fields(text).map_err(at(text))? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key, Some((scope.expand)(value).map_err(at(value))?)),
            None => (field.as_str(), None),
        };
        let lower = key.to_lowercase();
        if !KEYS.contains(&lower.as_str()) {
            let hint = suggest(key, KEYS).map(did_you_mean);
            return Err((key.to_owned(), format!("a mount has no option `{key}`"), hint));
        }
        options.set(&lower, value).map_err(at(&field))?;
    }
    options.check().map_err(at(text))?;
    options.mount(scope).map_err(at(text))
}

impl Options {
    fn set(&mut self, key: &str, value: Option<String>) -> Result<(), String> {
        let bool = |value: Option<String>| match value {
            None => Ok(true),
            Some(value) => parse_bool(&value).ok_or_else(|| format!("`{key}` of a mount is true or false, not `{value}`")),
        };
        match key {
            "readonly" | "ro" => self.read_only = Some(bool(value)?),
            "readwrite" | "rw" => self.read_only = Some(!bool(value)?),
            "required" => self.required = bool(value)?,
            _ => {
                let value = value.ok_or_else(|| format!("`{key}` of a mount has no value"))?;
                self.set_text(key, value)?;
            }
        }
        Ok(())
    }

    fn set_text(&mut self, key: &str, value: String) -> Result<(), String> {
        let number = |value: &str, radix| {
            u32::from_str_radix(value, radix).map_err(|_| format!("`{value}` is not a number for `{key}` of a mount"))
        };
        match key {
            "type" => {
                self.kind = match value.to_lowercase().as_str() {
                    "bind" => Kind::Bind,
                    "cache" => Kind::Cache,
                    "tmpfs" => Kind::Tmpfs,
                    "secret" => Kind::Secret,
                    "ssh" => Kind::Ssh,
                    _ => return Err(format!("`{value}` is not a mount type: use bind, cache, tmpfs, secret or ssh")),
                }
            }
            "sharing" => {
                self.sharing = Some(match value.to_lowercase().as_str() {
                    "shared" => Sharing::Shared,
                    "private" => Sharing::Private,
                    "locked" => Sharing::Locked,
                    _ => return Err(format!("`{value}` is not a sharing mode of a cache: use shared, private or locked")),
                });
            }
            "from" => self.from = Some(value).filter(|from| !from.is_empty()),
            "source" | "src" => self.source = Some(value),
            "id" => self.id = Some(value).filter(|id| !id.is_empty()),
            "env" => self.env = Some(value),
            "size" => {
                self.size = Some(
                    parse_size(&value, Units::Memory).ok_or_else(|| format!("`{value}` is not a size: write it as 64m or 1g"))?,
                )
            }
            "mode" => self.mode = Some(number(&value, 8)?),
            "uid" => self.uid = Some(number(&value, 10)?),
            "gid" => self.gid = Some(number(&value, 10)?),
            _ => self.target = Some(value),
        }
        Ok(())
    }

    /// What BuildKit's validateMount refuses.
    fn check(&self) -> Result<(), String> {
        let kind = self.kind;
        let only = |present: bool, option: &str, kinds: &[Kind]| match present && !kinds.contains(&kind) {
            true => Err(format!("a mount of type {kind} has no `{option}`")),
            false => Ok(()),
        };
        let owned = [Kind::Secret, Kind::Ssh, Kind::Cache];
        only(self.mode.is_some(), "mode", &owned)?;
        only(self.uid.is_some(), "uid", &owned)?;
        only(self.gid.is_some(), "gid", &owned)?;
        only(self.required, "required", &[Kind::Secret, Kind::Ssh])?;
        only(self.size.is_some(), "size", &[Kind::Tmpfs])?;
        only(self.env.is_some(), "env", &[Kind::Secret])?;
        only(self.sharing.is_some(), "sharing", &[Kind::Cache])?;
        only(self.from.is_some(), "from", &[Kind::Bind, Kind::Cache, Kind::Tmpfs])?;
        only(self.source.is_some(), "source", &[Kind::Bind, Kind::Cache, Kind::Tmpfs, Kind::Secret])?;
        if kind == Kind::Secret && self.source.is_some() && self.id.is_some() {
            return Err("a secret has an `id` or a `source`, not both".into());
        }
        Ok(())
    }

    fn mount(self, scope: MountScope<'_>) -> Result<MountRequest, String> {
        let owner = (self.uid.unwrap_or(0), self.gid.unwrap_or(0));
        let target = self.target.as_deref().filter(|target| !target.is_empty());
        let absolute = |target: &str| join(scope.working_dir, target);
        let at = absolute(target.unwrap_or_default());
        if at == "/" && !matches!(self.kind, Kind::Secret | Kind::Ssh) {
            return Err("a mount cannot cover `/`: give it a `target`".into());
        }
        let owned = self.mode.is_some() || self.uid.is_some() || self.gid.is_some();
        let source = join("/", self.source.as_deref().unwrap_or_default());
        let from = self.from.as_deref().map(scope.resolve);
        Ok(match self.kind {
            Kind::Bind => MountRequest::Bind { target: at, source, from, read_write: self.read_only == Some(false) },
            // With an owner or a mode BuildKit mounts a folder that it makes, not all of the stage
            // (`setCacheUIDGID`).
            Kind::Cache => MountRequest::Cache {
                target: at,
                id: self.id.unwrap_or_else(|| clean(target.unwrap_or("."))),
                from: from.filter(|from| *from != Base::Scratch && !(source == "/" && owned)),
                source,
                read_only: self.read_only == Some(true),
                sharing: self.sharing.unwrap_or_default(),
                owned,
                // Go's file modes have the special bits elsewhere: BuildKit drops them.
                mode: self.mode.unwrap_or(0o755) & 0o777,
                uid: owner.0,
                gid: owner.1,
            },
            Kind::Tmpfs => MountRequest::Tmpfs { target: at, size: self.size },
            Kind::Secret => {
                let named = self.source.filter(|source| !source.is_empty()).or(self.id);
                let id = match (named, target) {
                    (Some(id), _) => id,
                    (None, Some(target)) => base_name(target).to_owned(),
                    (None, None) => return Err("a secret has neither `id` nor `target`".into()),
                };
                let default = || format!("/run/secrets/{}", base_name(&id));
                let target = target.map(absolute).or_else(|| self.env.is_none().then(default));
                MountRequest::Secret {
                    id,
                    target,
                    env: self.env,
                    required: self.required,
                    mode: self.mode.unwrap_or(0o400),
                    uid: owner.0,
                    gid: owner.1,
                }
            }
            Kind::Ssh => MountRequest::Ssh {
                id: self.id.unwrap_or_else(|| "default".into()),
                target: target.map_or_else(|| format!("/run/buildkit/ssh_agent.{}", scope.agents), absolute),
                required: self.required,
                mode: self.mode.unwrap_or(0o600),
                uid: owner.0,
                gid: owner.1,
            },
        })
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bind => "bind",
            Self::Cache => "cache",
            Self::Tmpfs => "tmpfs",
            Self::Secret => "secret",
            Self::Ssh => "ssh",
        })
    }
}
