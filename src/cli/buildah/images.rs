//! `buildah images`, `tag`, `untag`, `rmi`, `inspect`: the local store as buildah shows it.

use std::collections::BTreeSet;

use futures_util::FutureExt as _;
use serde_json::{Value, json};

use super::command::Command;
use super::invocation::{CommandResult, Failure, Found, Invocation, new_name};
use crate::cli::drop_in::{Flag, Parsed};
use crate::cli::size::Size;
use crate::cli::when;
use crate::image::ImageConfig;
use crate::oci::Reference;

/// How many digits of an ID lists show.
const SHORT: usize = 12;

const FORMAT: &str = "`{{.Field}}` alone is replaced: ID, Name, Tag, Digest, Created, Size";

pub(super) const IMAGES: Command = Command {
    names: &["images"],
    usage: "[OPTIONS] [IMAGE]",
    about: "List images of the local store",
    arguments: (0, 1),
    options_first: false,
    flags: &[&[
        Flag::switch("quiet", "Image IDs alone").short('q'),
        Flag::switch("noheading", "No heading").short('n'),
        Flag::switch("no-trunc", "Whole IDs"),
        Flag::switch("digests", "Digests of manifests"),
        Flag::switch("json", "JSON"),
        Flag::value("format", "Template for each image").differs(FORMAT),
        Flag::switch("all", "Also images without a name").short('a').ignored("every image of the store has a name"),
        Flag::switch("history", "Former names").ignored("former names are not kept"),
        Flag::list("filter", "Filter").short('f').refused("name the image, or use --json with a program such as jq"),
    ]],
    differs: "SIZE is what the image takes in a registry; CREATED is the time in its configuration, which is reproducible",
    run: |invocation, parsed| async move { images(invocation, parsed) }.boxed_local(),
};

pub(super) const TAG: Command = Command {
    names: &["tag"],
    usage: "IMAGE NAME [NAME…]",
    about: "Give an image further names",
    arguments: (2, usize::MAX),
    options_first: false,
    flags: &[],
    differs: "",
    run: |invocation, parsed| async move { tag(invocation, parsed) }.boxed_local(),
};

pub(super) const RMI: Command = Command {
    names: &["rmi"],
    usage: "IMAGE [IMAGE…]",
    about: "Remove images",
    arguments: (0, usize::MAX),
    options_first: false,
    flags: &[&[
        Flag::switch("all", "All images").short('a'),
        Flag::switch("force", "Also what is missing").short('f'),
        Flag::switch("prune", "Images without a name")
            .short('p')
            .ignored("every image of the store has a name; `mpimg prune` frees space"),
    ]],
    differs: "bytes are freed by `mpimg prune`",
    run: |invocation, parsed| async move { rmi(invocation, parsed) }.boxed_local(),
};

pub(super) const INSPECT: Command = Command {
    names: &["inspect"],
    usage: "[OPTIONS] CONTAINER|IMAGE",
    about: "Show an image or a working container",
    arguments: (1, 1),
    options_first: false,
    flags: &[&[
        Flag::value("type", "container, image or manifest"),
        Flag::value("format", "Template").short('f').differs("`{{.Field}}` and `{{.OCIv1.Config.Field}}` alone"),
    ]],
    differs: "FromImage, FromImageID, FromImageDigest, Config and OCIv1 of an image",
    run: |invocation, parsed| inspect(invocation, parsed).boxed_local(),
};

fn images(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let listed: Vec<Found> = match parsed.arguments.first() {
        None => invocation.images()?,
        Some(name) => {
            let found = invocation.must_find(name)?;
            // A name without a tag is that of all tags; an ID that of one image.
            let whole = Reference::has_tag_or_digest(name) || found.id().starts_with(name.as_str());
            let mut all = invocation.images()?;
            all.retain(|other| match whole {
                true => other.name == found.name,
                false => other.name.repository() == found.name.repository(),
            });
            all
        }
    };
    let rows: Vec<Row> = listed.iter().map(|found| Row::of(invocation, found)).collect::<Result<_, _>>()?;
    let short = |id: &str| if parsed.is("no-trunc") { format!("sha256:{id}") } else { id[..SHORT].to_owned() };
    if parsed.is("json") {
        let all: Vec<Value> = rows.iter().map(Row::json).collect();
        invocation.print(format!("{:#}\n", Value::from(all)))?;
    } else if parsed.is("quiet") {
        let mut seen = BTreeSet::new();
        let ids = rows.iter().filter(|row| seen.insert(row.id.clone())).map(|row| short(&row.id) + "\n");
        invocation.print(ids.collect::<String>())?;
    } else if let Some(template) = parsed.value("format") {
        let lines = rows.iter().map(|row| row.filled(template, &short(&row.id)) + "\n");
        invocation.print(lines.collect::<String>())?;
    } else {
        let mut table: Vec<Vec<String>> = Vec::new();
        let digests = parsed.is("digests");
        if !parsed.is("noheading") {
            let heading = ["REPOSITORY", "TAG", "DIGEST", "IMAGE ID", "CREATED", "SIZE"];
            table.push(heading.iter().filter(|name| digests || **name != "DIGEST").map(|name| (*name).to_owned()).collect());
        }
        for row in &rows {
            let mut cells = vec![row.repository.clone(), row.tag.clone()];
            cells.extend(digests.then(|| row.digest.clone()));
            cells.extend([short(&row.id), row.created.clone(), row.size.clone()]);
            table.push(cells);
        }
        invocation.print(aligned(&table))?;
    }
    Ok(0)
}

/// Columns with three spaces between them.
fn aligned(table: &[Vec<String>]) -> String {
    let columns = table.iter().map(Vec::len).max().unwrap_or_default();
    let width =
        |column: usize| table.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}   "));
        format!("{}\n", cells.collect::<String>().trim_end())
    };
    table.iter().map(line).collect()
}

/// An image as lists show it.
struct Row {
    repository: String,
    tag: String,
    digest: String,
    id: String,
    created: String,
    size: String,
    time: Option<String>,
}

impl Row {
    fn of(invocation: &Invocation, found: &Found) -> Result<Self, Failure> {
        let record = &found.record;
        let bytes = invocation.mpimg().store()?.read_small(&record.config.digest, crate::image::CONFIG_LIMIT)?;
        let time = ImageConfig::from_bytes(&bytes)?.created;
        Ok(Self {
            repository: found.name.repository().to_string(),
            tag: found.name.tag().map_or_else(|| "<none>".to_owned(), ToString::to_string),
            digest: record.manifest.digest.to_string(),
            id: found.id(),
            created: when::ago(time.as_deref(), when::now()),
            // `246 MB`, with a space.
            size: spaced(&Size(record.size()).to_string()),
            time,
        })
    }

    fn filled(&self, template: &str, id: &str) -> String {
        let fields = [
            ("ID", id),
            ("Name", &self.repository),
            ("Tag", &self.tag),
            ("Digest", &self.digest),
            ("CreatedAt", self.time.as_deref().unwrap_or_default()),
            ("Created", &self.created),
            ("Size", &self.size),
        ];
        super::template::fill(template, |field| {
            fields.iter().find(|(name, _)| *name == field).map(|(_, value)| (*value).to_owned())
        })
    }

    fn json(&self) -> Value {
        json!({
            "id": self.id,
            "names": [format!("{}:{}", self.repository, self.tag)],
            "digest": self.digest,
            "createdat": self.created,
            "size": self.size,
            "createdatraw": self.time,
            "readonly": false,
            "history": [],
        })
    }
}

fn spaced(size: &str) -> String {
    let at = size.find(char::is_alphabetic).unwrap_or(size.len());
    format!("{} {}", &size[..at], &size[at..])
}

fn tag(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let [source, names @ ..] = parsed.arguments.as_slice() else { return Ok(0) };
    let found = invocation.must_find(source)?;
    for name in names {
        invocation.mpimg().tag(&found.name, &new_name(name)?)?;
    }
    Ok(0)
}

fn rmi(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let (all, force) = (parsed.is("all"), parsed.is("force"));
    if parsed.arguments.is_empty() && !all {
        return Err(Failure::new("image name or ID must be specified"));
    }
    let mut names = Vec::new();
    let mut missing = Vec::new();
    for text in &parsed.arguments {
        match invocation.find(text)? {
            // An ID is that of all names, if they are to go.
            Some(found) if found.id().starts_with(text.as_str()) => {
                let others = invocation.names_of(&found.record.config.digest)?;
                if others.len() > 1 && !force {
                    let named: Vec<String> = others.iter().map(ToString::to_string).collect();
                    missing.push(format!(
                        "unable to delete image \"{}\" by ID with more than one tag ({:?}): please force removal",
                        found.id(),
                        named
                    ));
                } else {
                    names.extend(others);
                }
            }
            Some(found) => names.push(found.name),
            None if force => {}
            None => missing.push(format!("{text}: image not known")),
        }
    }
    if all {
        names = invocation.images()?.into_iter().map(|found| found.name).collect();
    }
    let mut text = String::new();
    for name in names {
        let Some(record) = invocation.mpimg().store()?.resolve(&name)? else { continue };
        invocation.mpimg().remove(std::slice::from_ref(&name), true)?;
        text += &format!("untagged: {name}\n");
        if invocation.names_of(&record.config.digest)?.is_empty() {
            text += &format!("{}\n", record.config.digest.hex());
        }
    }
    invocation.print(text)?;
    if missing.is_empty() {
        return Ok(0);
    }
    let (count, plural) = (missing.len(), if missing.len() == 1 { "" } else { "s" });
    Err(Failure::new(format!("{count} error{plural} occurred:\n\t* {}\n\n", missing.join("\n\t* "))))
}

async fn inspect(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let Some(name) = parsed.arguments.first() else { return Ok(0) };
    let working = invocation.find_working(name)?;
    let found = match (&working, parsed.value("type")) {
        (Some(found), None | Some("container")) => found.clone(),
        (None, Some("container")) => {
            return Err(Failure::new(format!("reading build container \"{name}\": container not known")));
        }
        _ => invocation.must_find(name)?,
    };
    let image = invocation.mpimg().find(crate::image::Transport::Store(found.name.clone()), &found.record.platform).await?;
    let config: Value = serde_json::from_slice(image.config_bytes()).map_err(|error| Failure::new(error.to_string()))?;
    let shown = json!({
        "Type": "buildah 0.0.1",
        "FromImage": found.name.to_string(),
        "FromImageID": found.id(),
        "FromImageDigest": found.record.manifest.digest,
        "Config": String::from_utf8_lossy(image.config_bytes()),
        "Manifest": String::from_utf8_lossy(image.manifest_bytes()),
        "Container": if working.is_some() { name.as_str() } else { "" },
        "OCIv1": config,
        "Docker": config,
    });
    match parsed.value("format") {
        Some(template) => {
            let text = super::template::fill(template, |path| super::template::field(&shown, path));
            invocation.print(text + "\n")?;
        }
        None => invocation.print(format!("{shown:#}\n"))?,
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let table = [["REPOSITORY", "TAG"], ["h/a", "1"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(aligned(&table), "REPOSITORY   TAG\nh/a          1\n");
        assert_eq!(spaced("246MB"), "246 MB");
    }
}
