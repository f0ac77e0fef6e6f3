//! `docker history`.

use serde_json::{Value, json};

use super::command::{Arguments, Command};
use super::format::{self, List};
use super::invocation::{CommandResult, Failure, Invocation};
use crate::cli::drop_in::{Flag, Parsed};
use crate::cli::size::Size;
use crate::cli::when;

const LIST: List = List {
    default: "table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
    headings: &[("ID", "IMAGE"), ("CreatedSince", "CREATED"), ("CreatedAt", "CREATED AT"), ("CreatedBy", "CREATED BY")],
    kind: "*formatter.historyContext",
};

/// Letters of an instruction that are shown.
const CREATED_BY: usize = 45;

pub(super) const COMMAND: Command = Command {
    arguments: Arguments::Exactly(1),
    flags: &[&[
        Flag::value("format", "Format output using a custom template"),
        Flag::switch("human", "Print sizes and dates in human readable format (default true)").short('H'),
        Flag::switch("no-trunc", "Don't truncate output"),
        Flag::switch("quiet", "Only show image IDs").short('q'),
        Flag::value("platform", "Show history for the given platform").ignored("an image of the local store is for one platform"),
    ]],
    differs: "SIZE is what a layer takes in a registry: compressed",
    ..Command::new(&["history", "image history"], "[OPTIONS] IMAGE", "Show the history of an image", |invocation, parsed| {
        Box::pin(async move { run(invocation, parsed) })
    })
};

fn run(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let name = &parsed.arguments[0];
    let image = invocation.mpimg().local_image(name)?;
    let Some(image) = image else { return Err(Failure::daemon(format!("No such image: {name}"))) };
    let whole = parsed.is("no-trunc");
    let human = parsed.switch("human").unwrap_or(true);
    let history = image.config.as_ref().map(|config| config.history.as_slice()).unwrap_or_default();
    let mut layers = image.record.layers.iter();
    let sizes: Vec<u64> = history
        .iter()
        .map(|step| if step.empty_layer { 0 } else { layers.next().map_or(0, |layer| layer.descriptor.size) })
        .collect();
    let last = history.len().saturating_sub(1);
    let now = when::now();
    let rows = history.iter().zip(sizes).enumerate().rev().map(|(number, (step, size))| {
        let created_by = step.created_by.as_deref().unwrap_or_default().replace('\t', " ");
        let created_by = if whole || created_by.chars().count() <= CREATED_BY {
            created_by
        } else {
            created_by.chars().take(CREATED_BY - 1).chain(['…']).collect()
        };
        let created = step.created.as_deref();
        json!({
            "Comment": step.comment.as_deref().unwrap_or_default(),
            "CreatedAt": created.unwrap_or_default(),
            "CreatedBy": created_by,
            "CreatedSince": if human { format::ago(created, now) } else { created.unwrap_or_default().to_owned() },
            "ID": if number == last { format::image_id(image.id(), whole) } else { "<missing>".into() },
            "Size": if human { Size(size).to_string() } else { size.to_string() },
        })
    });
    let rows: Vec<Value> = rows.collect();
    if parsed.is("quiet") {
        invocation.print(rows.iter().filter_map(|row| row["ID"].as_str()).map(|id| format!("{id}\n")).collect::<String>())?;
        return Ok(0);
    }
    invocation.print(LIST.draw(parsed.value("format"), &rows)?)?;
    Ok(0)
}
