//! `docker ps`.

use serde_json::{Value, json};

use super::command::{Arguments, Command};
use super::container_id::{is_running, long_id, name_of};
use super::filter::Filters;
use super::format::{self, List};
use super::invocation::{CommandResult, Failure, Invocation};
use super::{container_image, networks};
use crate::cli::drop_in::{Flag, Parsed};
use crate::cli::when;
use crate::container::{ContainerInfo, ContainerState};
use crate::image::rfc3339;
use crate::operation::LocalImage;

const LIST: List = List {
    default: "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}",
    headings: &[
        ("ID", "CONTAINER ID"),
        ("Image", "IMAGE"),
        ("Command", "COMMAND"),
        ("RunningFor", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("Status", "STATUS"),
        ("Ports", "PORTS"),
        ("Names", "NAMES"),
        ("LocalVolumes", "LOCAL VOLUMES"),
    ],
    kind: "*formatter.ContainerContext",
};

/// Letters of the command that are shown.
const COMMAND_LENGTH: usize = 20;

pub(super) const COMMAND: Command = Command {
    arguments: Arguments::Exactly(0),
    flags: &[&[
        Flag::switch("all", "Show all containers (default shows just running)").short('a'),
        Flag::list("filter", "Filter output based on conditions provided")
            .short('f')
            .differs("id, name, status, exited, ancestor, publish, label, network, volume, before, since"),
        Flag::value("format", "Format output using a custom template"),
        Flag::value("last", "Show n last created containers").short('n').checked(super::value::INTEGER),
        Flag::switch("latest", "Show the latest created container").short('l'),
        Flag::switch("no-trunc", "Don't truncate output"),
        Flag::switch("quiet", "Only display container IDs").short('q'),
        Flag::switch("size", "Display total file sizes").short('s').differs("0B"),
    ]],
    differs: "a container that was given no name is called by its ID",
    ..Command::new(
        &["ps", "container ls", "container list", "container ps"],
        "[OPTIONS]",
        "List containers",
        |invocation, parsed| Box::pin(async move { run(invocation, parsed) }),
    )
};

fn run(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let known =
        ["id", "name", "status", "exited", "ancestor", "publish", "label", "before", "since", "network", "volume", "health"];
    let filters = Filters::parse(&parsed.list("filter"), &known)?;
    let images = invocation.mpimg().local_images()?;
    expect_values(&filters)?;
    let last = match parsed.value("last") {
        Some(number) => number.parse::<i64>().ok().and_then(|number| usize::try_from(number).ok()),
        None => parsed.is("latest").then_some(1),
    };
    let all = parsed.is("all") || last.is_some() || !filters.values("status").is_empty() || !filters.values("exited").is_empty();
    let mut found = Vec::new();
    for info in invocation.mpimg().containers()? {
        if (all || is_running(&info)) && fits(invocation, &filters, &info, &images)? {
            found.push(info);
        }
    }
    found.truncate(last.unwrap_or(usize::MAX));
    let whole = parsed.is("no-trunc");
    let id = |info: &ContainerInfo| if whole { long_id(&info.id) } else { info.id.clone() };
    if parsed.is("quiet") && parsed.value("format").is_none() {
        invocation.print(found.iter().map(|info| id(info) + "\n").collect::<String>())?;
        return Ok(0);
    }
    let mut rows = Vec::new();
    for info in &found {
        rows.push(fields(info, &images, &id(info), &networks::of(invocation, info)?.join(","), whole));
    }
    invocation.print(LIST.draw(parsed.value("format"), &rows)?)?;
    Ok(0)
}

/// The state in docker's word.
pub(super) fn state(info: &ContainerInfo) -> &'static str {
    match info.state {
        ContainerState::Created => "created",
        ContainerState::Starting | ContainerState::Running => "running",
        ContainerState::Ended(_) => "exited",
        ContainerState::Lost => "dead",
    }
}

fn fits(invocation: &Invocation, filters: &Filters, info: &ContainerInfo, local: &[LocalImage]) -> Result<bool, Failure> {
    let mut images = Vec::new();
    for ancestor in filters.values("ancestor") {
        images.extend(invocation.mpimg().local_image(ancestor)?.map(|image| image.record.manifest.digest));
    }
    let exited = |code: &str| matches!(info.state, ContainerState::Ended(outcome) if code.parse() == Ok(outcome.status()));
    let named = |wanted: &str| {
        let wanted = regex::Regex::new(wanted);
        // Docker matches the name with and without its slash.
        wanted.is_ok_and(|wanted| wanted.is_match(name_of(info)) || wanted.is_match(&format!("/{}", name_of(info))))
    };
    let shows = |volume: &str| {
        let folder = super::run_spec::named(invocation, volume).ok();
        let volumes = &info.spec.volumes;
        volumes.iter().any(|known| known.target == volume || folder.as_ref() == Some(&known.source))
    };
    for (name, newer) in [("before", false), ("since", true)] {
        for other in filters.values(name) {
            let other = super::container_id::find(invocation, other)?.info()?;
            if other.id == info.id || newer != (info.created >= other.created) {
                return Ok(false);
            }
        }
    }
    let networks = networks::of(invocation, info)?;
    Ok(filters.values("health").iter().all(|health| *health == "none")
        && filters.takes_labels(&container_image::labels(local, info))
        && filters.any("network", |network| networks.iter().any(|known| known == network))
        && filters.any("volume", shows)
        && filters.any("id", |id| long_id(&info.id).starts_with(id))
        && filters.any("name", named)
        && filters.any("status", |status| status == state(info))
        && filters.any("exited", exited)
        && filters.any("publish", |port| info.ports.iter().any(|known| known.host.to_string() == port.trim_end_matches("/tcp")))
        && (filters.values("ancestor").is_empty() || images.contains(&info.digest)))
}

/// Values that docker refuses.
fn expect_values(filters: &Filters) -> Result<(), Failure> {
    let states = ["created", "restarting", "running", "removing", "paused", "exited", "dead"];
    let wrong = filters.values("status").into_iter().find(|status| !states.contains(status));
    if let Some(status) = wrong {
        return Err(Failure::daemon(format!("invalid filter 'status={status}'")));
    }
    let kinds = ["starting", "healthy", "unhealthy", "none"];
    if let Some(health) = filters.values("health").into_iter().find(|health| !kinds.contains(health)) {
        return Err(Failure::daemon(format!("unrecognized filter value for health: {health}")));
    }
    if let Some(code) = filters.values("exited").into_iter().find(|code| code.parse::<i64>().is_err()) {
        return Err(Failure::daemon(format!("strconv.Atoi: parsing {code:?}: invalid syntax")));
    }
    if let Some(port) = filters.values("publish").into_iter().find(|port| super::value::PORTS(port).is_err()) {
        return Err(Failure::daemon(format!("error while looking up for publish {port}: invalid syntax")));
    }
    Ok(())
}

/// How long it has run, or how it ended.
fn status(info: &ContainerInfo) -> String {
    let since = |seconds: i64| format::duration(when::now().as_second() - seconds);
    match info.state {
        ContainerState::Created => "Created".into(),
        ContainerState::Starting | ContainerState::Running => format!("Up {}", since(info.created)),
        ContainerState::Ended(outcome) => format!("Exited ({}) {} ago", outcome.status(), since(outcome.finished)),
        ContainerState::Lost => "Dead".into(),
    }
}

fn fields(info: &ContainerInfo, images: &[LocalImage], id: &str, networks: &str, whole: bool) -> Value {
    let command = info.command.join(" ");
    let command = match whole || command.chars().count() <= COMMAND_LENGTH {
        true => command,
        false => command.chars().take(COMMAND_LENGTH - 1).chain(['…']).collect(),
    };
    let created = rfc3339(info.created);
    let ports = if is_running(info) { container_image::ports(images, info) } else { String::new() };
    let labels = container_image::labels(images, info);
    // A whole digest is shown as an ID.
    let image =
        info.image.strip_prefix("sha256:").map_or(info.image.as_str(), |hex| if whole { hex } else { &hex[..12.min(hex.len())] });
    json!({
        "Command": format!("\"{command}\""),
        "CreatedAt": format::at(Some(&created)),
        "ID": id,
        "Image": image,
        "Labels": labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(","),
        "LocalVolumes": "0",
        "Mounts": info.spec.volumes.iter().map(|volume| volume.source.display().to_string()).collect::<Vec<_>>().join(","),
        "Names": name_of(info),
        "Platform": null,
        "Networks": networks,
        "Ports": ports,
        "RunningFor": format::ago(Some(&created), when::now()),
        "Size": "0B",
        "State": state(info),
        "Status": status(info),
    })
}
