//! `docker manifest`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::command::{Arguments, Command};
use super::invocation::{CommandResult, Failure, Invocation};
use super::tag;
use crate::cli::drop_in::{Flag, Parsed, make_parent};
use crate::error::{Error, ErrorKind};
use crate::image::{Format, write_result};
use crate::oci::{Digest, Platform, Reference};
use crate::operation::IndexPart;

const INSECURE: Flag = Flag::switch("insecure", "Allow communication with an insecure registry")
    .differs("loopback addresses are in any case; others in registries.conf");

pub(super) const INSPECT: Command = Command {
    arguments: Arguments::Exactly(1),
    flags: &[&[INSECURE, Flag::switch("verbose", "Output additional info including layers and platform").short('v')]],
    ..Command::new(
        &["manifest inspect"],
        "[OPTIONS] MANIFEST",
        "Display an image manifest, or manifest list",
        |invocation, parsed| Box::pin(inspect(invocation, parsed)),
    )
};

pub(super) const CREATE: Command = Command {
    arguments: Arguments::AtLeast(2),
    flags: &[&[Flag::switch("amend", "Amend an existing manifest list").short('a'), INSECURE]],
    ..Command::new(
        &["manifest create"],
        "MANIFEST_LIST MANIFEST [MANIFEST...]",
        "Create a local manifest list for annotating and pushing to a registry",
        |invocation, parsed| Box::pin(create(invocation, parsed)),
    )
};

pub(super) const ANNOTATE: Command = Command {
    arguments: Arguments::Exactly(2),
    flags: &[&[
        Flag::value("arch", "Set architecture"),
        Flag::value("os", "Set operating system"),
        Flag::list("os-features", "Set operating system feature").ignored("linux has none"),
        Flag::value("os-version", "Set operating system version").ignored("linux has none"),
        Flag::value("variant", "Set architecture variant"),
    ]],
    ..Command::new(
        &["manifest annotate"],
        "[OPTIONS] MANIFEST_LIST MANIFEST",
        "Add additional information to a local image manifest",
        |invocation, parsed| Box::pin(async move { annotate(invocation, parsed) }),
    )
};

pub(super) const PUSH: Command = Command {
    arguments: Arguments::Exactly(1),
    flags: &[&[INSECURE, Flag::switch("purge", "Remove the local manifest list after push").short('p')]],
    ..Command::new(&["manifest push"], "[OPTIONS] MANIFEST_LIST", "Push a manifest list to a repository", |invocation, parsed| {
        Box::pin(push(invocation, parsed))
    })
};

pub(super) const RM: Command = Command {
    arguments: Arguments::AtLeast(1),
    ..Command::new(
        &["manifest rm"],
        "MANIFEST_LIST [MANIFEST_LIST...]",
        "Delete one or more manifest lists from local storage",
        |invocation, parsed| {
            Box::pin(async move {
                for text in &parsed.arguments {
                    let list = List::read(invocation, &tag::name(text)?)?;
                    std::fs::remove_file(&list.path).map_err(|error| Error::io("remove", &list.path, error))?;
                }
                Ok(0)
            })
        },
    )
};

/// A list that was made and not pushed yet, kept with docker's configuration as docker keeps it.
struct List {
    path: PathBuf,
    name: Reference,
    parts: Vec<Part>,
}

#[derive(Serialize, Deserialize)]
struct Part {
    name: String,
    platform: Option<Platform>,
}

impl List {
    fn at(invocation: &Invocation, name: &Reference) -> Result<Self, Failure> {
        let folder = invocation.config_folder()?.join("mpimg-manifests");
        let path = folder.join(format!("{}.json", Digest::of(name.to_string()).hex()));
        Ok(Self { path, name: name.clone(), parts: Vec::new() })
    }

    fn read(invocation: &Invocation, name: &Reference) -> Result<Self, Failure> {
        let list = Self::at(invocation, name)?;
        let missing = || Failure::new(format!("No such manifest: {}", name.familiar()));
        let bytes = std::fs::read(&list.path).map_err(|_| missing())?;
        let parts = serde_json::from_slice(&bytes).map_err(|error| {
            Failure::from(
                Error::new(ErrorKind::Corrupt, format!("`{}` is damaged", list.path.display()))
                    .with_source(error)
                    .with_hint(format!("`docker manifest rm {}`, then make the list again", name.familiar())),
            )
        })?;
        Ok(Self { parts, ..list })
    }

    fn write(&self) -> Result<(), Failure> {
        make_parent(&self.path)?;
        Ok(write_result(&self.path, json!(self.parts).to_string().as_bytes())?)
    }

    fn index_parts(&self) -> Result<Vec<IndexPart>, Failure> {
        let part = |part: &Part| Ok(IndexPart { name: tag::name(&part.name)?, platform: part.platform.clone() });
        self.parts.iter().map(part).collect()
    }
}

/// What docker says of a name that the registry does not have.
fn no_such(name: &Reference, error: Error) -> Failure {
    match error.kind() {
        ErrorKind::NotFound => Failure::new(format!("no such manifest: {}", name.familiar())).with_error(error),
        _ => error.into(),
    }
}

async fn inspect(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let name = tag::name(&parsed.arguments[0])?;
    if let Ok(list) = List::read(invocation, &name) {
        let index = invocation.mpimg().join_index(&list.index_parts()?, Format::Docker).await?;
        invocation.print(reindented(&String::from_utf8_lossy(&index.bytes)) + "\n")?;
        return Ok(0);
    }
    let found = invocation.mpimg().client().pull_manifest(&name).await.map_err(|error| no_such(&name, error))?;
    let text = String::from_utf8_lossy(&found.bytes).into_owned();
    if !parsed.is("verbose") {
        invocation.print(reindented(&text) + "\n")?;
        return Ok(0);
    }
    let tree = invocation.mpimg().client().pull_tree(&name, None).await.map_err(|error| no_such(&name, error))?;
    let is_index = tree.descriptor.media_type.is_index();
    let manifests = if is_index { tree.children.iter().collect() } else { vec![&tree] };
    let mut shown = Vec::new();
    for manifest in manifests {
        let mut descriptor = json!(manifest.descriptor);
        if descriptor.get("platform").is_none_or(Value::is_null)
            && let Ok(image) = manifest.image().await
        {
            descriptor["platform"] = json!(image.config().platform());
        }
        let document: Value = serde_json::from_slice(&manifest.bytes).unwrap_or_default();
        let kind = if manifest.descriptor.media_type.as_str().contains("oci") { "OCIManifest" } else { "SchemaV2Manifest" };
        let reference = if is_index { name.repository().with_digest(manifest.descriptor.digest) } else { name.clone() };
        shown.push(json!({ "Ref": reference.to_string(), "Descriptor": descriptor, kind: document }));
    }
    let shown = match shown.as_slice() {
        [one] if !is_index => one.to_string(),
        all => json!(all).to_string(),
    };
    invocation.print(reindented(&shown) + "\n")?;
    Ok(0)
}

async fn create(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let name = tag::name(&parsed.arguments[0])?;
    let mut list = match List::read(invocation, &name) {
        Ok(_) if !parsed.is("amend") => {
            return Err(Failure::new("refusing to amend an existing manifest list with no --amend flag"));
        }
        Ok(list) => list,
        Err(_) => List::at(invocation, &name)?,
    };
    for text in &parsed.arguments[1..] {
        let part = tag::name(text)?;
        invocation.mpimg().client().pull_manifest(&part).await.map_err(|error| no_such(&part, error))?;
        let part = part.to_string();
        if list.parts.iter().all(|known| known.name != part) {
            list.parts.push(Part { name: part, platform: None });
        }
    }
    list.write()?;
    invocation.print(format!("Created manifest list {name}\n"))?;
    Ok(0)
}

fn annotate(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let mut list = List::read(invocation, &tag::name(&parsed.arguments[0])?)?;
    let part = tag::name(&parsed.arguments[1])?.to_string();
    let missing =
        || Failure::new(format!("manifest for image {} does not exist in {}", parsed.arguments[1], list.name.familiar()));
    let position = list.parts.iter().position(|known| known.name == part).ok_or_else(missing)?;
    let found = &mut list.parts[position];
    let mut platform = found.platform.clone().unwrap_or_else(Platform::host);
    for (flag, field) in [("os", &mut platform.os), ("arch", &mut platform.architecture)] {
        if let Some(value) = parsed.value(flag) {
            value.clone_into(field);
        }
    }
    platform.variant = parsed.value("variant").map(str::to_owned).or(platform.variant);
    if !is_known(&platform) {
        let Platform { os, architecture, .. } = platform;
        return Err(Failure::new(format!("manifest entry for image has unsupported os/arch combination: {os}/{architecture}")));
    }
    found.platform = Some(platform);
    list.write()?;
    Ok(0)
}

/// Whether docker knows the platform.
fn is_known(platform: &Platform) -> bool {
    let processors: &[&str] = match platform.os.as_str() {
        "linux" => &["386", "amd64", "arm", "arm64", "loong64", "mips64", "mips64le", "ppc64", "ppc64le", "riscv64", "s390x"],
        "darwin" | "freebsd" | "netbsd" | "openbsd" => &["386", "amd64", "arm", "arm64"],
        "windows" => &["386", "amd64", "arm", "arm64"],
        "dragonfly" | "illumos" | "solaris" => &["amd64"],
        "plan9" => &["386", "amd64"],
        _ => &[],
    };
    processors.contains(&platform.architecture.as_str())
}

async fn push(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let name = tag::name(&parsed.arguments[0])?;
    let list = List::read(invocation, &name)?;
    invocation.terminal().handle_signals();
    let index = invocation.mpimg().join_index(&list.index_parts()?, Format::Docker).await?;
    let digest = invocation.mpimg().push_index(&name, &index).await?;
    invocation.print(format!("{digest}\n"))?;
    if parsed.is("purge") {
        std::fs::remove_file(&list.path).map_err(|error| Error::io("remove", &list.path, error))?;
    }
    Ok(0)
}

/// The same JSON indented by tabs, its members in their order.
fn reindented(text: &str) -> String {
    let (mut out, mut depth, mut in_string, mut escaped) = (String::new(), 0_usize, false, false);
    let mut letters = text.chars().peekable();
    let feed = |out: &mut String, depth: usize| {
        out.push('\n');
        out.push_str(&"\t".repeat(depth));
    };
    while let Some(letter) = letters.next() {
        if in_string {
            out.push(letter);
            in_string = escaped || letter != '"';
            escaped = !escaped && letter == '\\';
            continue;
        }
        match letter {
            ' ' | '\t' | '\r' | '\n' => {}
            '{' | '[' => {
                out.push(letter);
                while letters.next_if(|next| next.is_ascii_whitespace()).is_some() {}
                match letters.next_if(|next| matches!(next, '}' | ']')) {
                    Some(close) => out.push(close),
                    None => {
                        depth += 1;
                        feed(&mut out, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                feed(&mut out, depth);
                out.push(letter);
            }
            ',' => {
                out.push(letter);
                feed(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ => {
                in_string = letter == '"';
                out.push(letter);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_indented_by_tabs_and_keeps_its_order() {
        let text = r#"{ "b":1, "a":["x: {\"}", {}, []],"c":{"d":null} }"#;
        let expected =
            "{\n\t\"b\": 1,\n\t\"a\": [\n\t\t\"x: {\\\"}\",\n\t\t{},\n\t\t[]\n\t],\n\t\"c\": {\n\t\t\"d\": null\n\t}\n}";
        assert_eq!(reindented(text), expected);
    }
}
