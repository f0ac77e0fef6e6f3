//! `docker images`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::command::{Arguments, Command};
use super::filter::{self, Filters};
use super::format::{self, List};
use super::invocation::{CommandResult, Failure, Invocation};
use crate::cli::drop_in::{Flag, Parsed};
use crate::cli::size::Size;
use crate::cli::when;
use crate::oci::Reference;
use crate::operation::LocalImage;

const LIST: List = List {
    default: "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
    headings: &[
        ("ID", "IMAGE ID"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("VirtualSize", "SIZE"),
        ("SharedSize", "SHARED SIZE"),
        ("UniqueSize", "UNIQUE SIZE"),
    ],
    kind: "*formatter.imageContext",
};
const WITH_DIGESTS: List =
    List { default: "table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}", ..LIST };

pub(super) const COMMAND: Command = Command {
    arguments: Arguments::AtMost(1),
    flags: &[&[
        Flag::switch("all", "Show all images (default hides intermediate images)")
            .short('a')
            .differs("there are no intermediate images"),
        Flag::switch("digests", "Show digests"),
        Flag::list("filter", "Filter output based on conditions provided")
            .short('f')
            .differs("dangling, reference, label, before, since, until"),
        Flag::value("format", "Format output using a custom template"),
        Flag::switch("no-trunc", "Don't truncate output"),
        Flag::switch("quiet", "Only show image IDs").short('q'),
        Flag::switch("tree", "List multi-platform images as a tree")
            .refused("leave it out: an image of the local store is for one platform"),
    ]],
    differs: "SIZE is what an image takes in a registry: compressed",
    ..Command::new(&["images", "image ls", "image list"], "[OPTIONS] [REPOSITORY[:TAG]]", "List images", |invocation, parsed| {
        Box::pin(async move { run(invocation, parsed) })
    })
};

/// A name of an image, or one of what repositories call it, or neither.
struct Row<'i> {
    image: &'i LocalImage,
    name: Option<&'i Reference>,
    digest: Option<&'i Reference>,
}

fn run(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let images = invocation.mpimg().local_images()?;
    let filters = Filters::parse(&parsed.list("filter"), &["dangling", "reference", "label", "before", "since", "until"])?;
    let digests = parsed.is("digests") || parsed.value("format").is_some_and(|format| format.contains("Digest"));
    let mut rows = Vec::new();
    for image in &images {
        if filters.takes_image(image, &images, invocation)? {
            rows.extend(rows_of(image, digests).into_iter().filter(|row| {
                let name = row.name.or(row.digest);
                parsed.arguments.first().is_none_or(|wanted| name.is_some_and(|name| filter::fits(name, wanted)))
                    && filters.takes_reference(name)
            }));
        }
    }
    let (now, whole) = (when::now(), parsed.is("no-trunc"));
    let format = parsed.value("format");
    if parsed.is("quiet") && format.is_none() {
        return print_ids(invocation, &rows, whole);
    }
    let rows: Vec<Value> = rows.iter().map(|row| fields(row, now, whole)).collect();
    let list = if parsed.is("digests") { WITH_DIGESTS } else { LIST };
    invocation.print(list.draw(format, &rows)?)?;
    Ok(0)
}

fn print_ids(invocation: &Invocation, rows: &[Row<'_>], whole: bool) -> Result<u8, Failure> {
    let ids: String = rows.iter().map(|row| format::image_id(row.image.id(), whole) + "\n").collect();
    invocation.print(ids)?;
    Ok(0)
}

fn rows_of(image: &LocalImage, digests: bool) -> Vec<Row<'_>> {
    let digest_of = |name: &Reference| image.digests.iter().find(|digest| digest.repository() == name.repository());
    let mut rows: Vec<Row<'_>> = Vec::new();
    for name in &image.names {
        rows.push(Row { image, name: Some(name), digest: if digests { digest_of(name) } else { None } });
    }
    // What was pulled by digest has no tag.
    let tagged = |digest: &Reference| image.names.iter().any(|name| name.repository() == digest.repository());
    rows.extend(image.digests.iter().filter(|digest| !tagged(digest)).map(|digest| Row {
        image,
        name: None,
        digest: Some(digest),
    }));
    if rows.is_empty() {
        rows.push(Row { image, name: None, digest: None });
    }
    rows
}

fn fields(row: &Row<'_>, now: Timestamp, whole: bool) -> Value {
    let none = || "<none>".to_owned();
    let image = row.image;
    let repository = row.name.or(row.digest).map_or_else(none, |name| name.repository().familiar());
    let size = Size(image.size()).to_string();
    json!({
        "Containers": "N/A",
        "CreatedAt": format::at(image.created()),
        "CreatedSince": format::ago(image.created(), now),
        "Digest": row.digest.and_then(Reference::digest).map_or_else(none, ToString::to_string),
        "ID": format::image_id(image.id(), whole),
        "Repository": repository,
        "SharedSize": "N/A",
        "Size": size,
        "Tag": row.name.and_then(Reference::tag).map_or_else(none, ToString::to_string),
        "UniqueSize": "N/A",
        "VirtualSize": size,
    })
}
