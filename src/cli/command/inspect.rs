//! `mpimg inspect`: an image's configuration and layers, and the files in them.
//!
//! Layers in a registry are fetched only if their files are asked for.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::contents;
use crate::cli::flags::{ConnectionFlags, parsed};
use crate::cli::image;
use crate::cli::size::Size;
use crate::cli::style::Theme;
use crate::cli::table::Table;
use crate::cli::terminal::{Answer, Terminal};
use crate::cli::visible::visible_line;
use crate::cli::when;
use crate::error::Result;
use crate::image::{Image, RunConfig, Transport};
use crate::layer::LayerIndex;
use crate::oci::Platform;
use crate::operation::{HtmlFile, ImageAttestation, InspectedImage};

const EXAMPLES: &str = "\
SIZE: bytes of a layer in a registry. FILES, UNPACKED: how many files, and their bytes; - if the layer is not in the local store.

Examples:
  mpimg inspect base-adapter:python-1.2.0
  mpimg inspect --files oci:out | less
  mpimg inspect --html image.html base-adapter:python-1.2.0
  mpimg inspect --json docker://docker.io/library/python:3.11-slim";

/// Show an image: configuration, layers, and with --files what is in them
#[derive(Debug, Args)]
#[command(after_help = format!("{}\n\n{EXAMPLES}", image::FORMS))]
pub(crate) struct Inspect {
    /// The image
    #[arg(value_name = "IMAGE", value_parser = image::named)]
    image: Transport,

    /// List the files of each layer as `tar tv` does; fetches layers that are in a registry
    #[arg(long)]
    files: bool,

    /// Write a page for a browser to this file, too: sizes by layer and folder, files that a layer
    /// above hides, duplicates. It loads nothing from elsewhere. Reads all layers
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// The platform, if the image is for several
    #[arg(long, value_name = "PLATFORM", default_value = "linux/amd64", value_parser = parsed::<Platform>)]
    platform: Platform,

    #[command(flatten)]
    connection: ConnectionFlags,
}

impl Inspect {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<()> {
        let html = self.html.map(HtmlFile::new).transpose()?;
        let mpimg = self.connection.mpimg(terminal, None);
        terminal.handle_signals();
        if let Some(file) = &html {
            file.write(&mpimg.report(self.image.clone(), &self.platform).await?.to_html())?;
            terminal.say(&wrote_page(file));
        }
        let name = self.image.to_string();
        let InspectedImage { image, indexes, attestations } = mpimg.inspect(self.image, &self.platform, self.files).await?;

        let mut text = summary(&name, &image, &attestations);
        text += &layer_table(&image, &indexes, terminal.theme());
        if self.files {
            text += &files(&image, &indexes, terminal.theme());
        }
        let digest = image.descriptor().digest;
        let mut json = json(&name, &image, &indexes, self.files);
        if !attestations.is_empty() {
            json["attestations"] = attestations.iter().map(attestation_json).collect();
        }
        terminal.answer(&Answer { text, quiet: format!("{digest}\n"), json })
    }
}

/// What is said of a page that was written.
pub(super) fn wrote_page(file: &HtmlFile) -> String {
    format!("wrote the page to `{}`", file.path().display())
}

/// The configuration, without what is not set.
fn summary(name: &str, image: &Image, attestations: &[ImageAttestation]) -> String {
    let config = image.config();
    let run = &config.config;
    let mut lines: Vec<(&str, String)> = vec![
        ("Name", name.to_owned()),
        ("Digest", image.descriptor().digest.to_string()),
        ("Type", image.descriptor().media_type.to_string()),
        ("Platform", config.platform().to_string()),
        ("Created", when::shown(config.created.as_deref())),
        ("Author", config.author.clone().unwrap_or_default()),
        ("Size", image::extent(image)),
    ];
    lines.extend(run_lines(run));
    let pairs = |(key, value): (&String, &String)| format!("{key}={value}");
    lines.extend(image.manifest().annotations.iter().map(|pair| ("Annotation", pairs(pair))));
    lines
        .extend(attestations.iter().map(|attested| ("Attested", format!("{} ({})", attested.predicate_type, attested.manifest))));
    let mut last = "";
    let mut text = String::new();
    for (heading, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        let shown = if *heading == last { "" } else { *heading };
        text += &format!("{shown:<12}{}\n", visible_line(value));
        last = heading;
    }
    text
}

fn run_lines(run: &RunConfig) -> Vec<(&'static str, String)> {
    let words = |words: &Option<Vec<String>>| words.as_ref().map(|words| json!(words).to_string()).unwrap_or_default();
    let joined = |words: &mut dyn Iterator<Item = &String>| words.map(String::as_str).collect::<Vec<_>>().join(" ");
    let mut lines = vec![
        ("User", run.user.clone()),
        ("Workdir", run.working_dir.clone()),
        ("Entrypoint", words(&run.entrypoint)),
        ("Cmd", words(&run.cmd)),
        ("Shell", words(&run.shell)),
        ("Ports", joined(&mut run.exposed_ports.iter())),
        ("Volumes", joined(&mut run.volumes.iter())),
        ("StopSignal", run.stop_signal.clone().unwrap_or_default()),
        ("Healthcheck", run.healthcheck.as_ref().map(|check| json!(check).to_string()).unwrap_or_default()),
    ];
    lines.extend(run.env.iter().map(|pair| ("Env", pair.clone())));
    lines.extend(run.labels.iter().map(|(key, value)| ("Label", format!("{key}={value}"))));
    lines.extend(run.on_build.iter().map(|trigger| ("Onbuild", trigger.clone())));
    lines
}

fn layer_table(image: &Image, indexes: &[Option<LayerIndex>], theme: Theme) -> String {
    let mut table = Table::new(["#", "DIGEST", "SIZE", "FILES", "UNPACKED", "CREATED BY"], &[0, 2, 3, 4]);
    let steps = image.config().layer_steps();
    for (number, (layer, index)) in image.layers().iter().zip(indexes).enumerate() {
        let digest = layer.descriptor.digest;
        let (files, unpacked) = match index {
            Some(index) => (contents::files(index).to_string(), Size(contents::unpacked_size(index)).to_string()),
            None => ("-".to_owned(), "-".to_owned()),
        };
        let step = steps.get(number).copied().flatten().and_then(|step| step.created_by.as_deref()).unwrap_or("-");
        table.row([
            (number + 1).to_string(),
            format!("{}:{}", digest.algorithm(), digest.short()),
            Size(layer.descriptor.size).to_string(),
            files,
            unpacked,
            step.split_whitespace().collect::<Vec<_>>().join(" "),
        ]);
    }
    format!("\n{}\n{}", theme.strong("Layers"), table.draw())
}

fn files(image: &Image, indexes: &[Option<LayerIndex>], theme: Theme) -> String {
    let mut text = String::new();
    for (number, (layer, index)) in image.layers().iter().zip(indexes).enumerate() {
        text += &format!("\n{}\n", theme.strong(format!("Layer {}: {}", number + 1, layer.descriptor.digest)));
        for entry in index.iter().flat_map(LayerIndex::entries) {
            text += &contents::line(&entry);
            text.push('\n');
        }
    }
    text
}

fn json(name: &str, image: &Image, indexes: &[Option<LayerIndex>], files: bool) -> Value {
    let mut layers = image::layers_json(image);
    for (layer, index) in layers.as_array_mut().into_iter().flatten().zip(indexes) {
        layer["unpacked_size"] = index.as_ref().map(contents::unpacked_size).into();
        if files {
            let paths = index.iter().flat_map(LayerIndex::entries).map(|entry| file_json(&entry));
            layer["files"] = paths.collect();
        }
    }
    for (layer, stored) in layers.as_array_mut().into_iter().flatten().zip(image.layers()) {
        layer["media_type"] = json!(stored.descriptor.media_type);
    }
    json!({
        "name": name,
        "digest": image.descriptor().digest,
        "media_type": image.descriptor().media_type,
        "platform": image.config().platform().to_string(),
        "created": image.config().created,
        "size": image::size(image),
        "annotations": image.manifest().annotations,
        "config": image.config().config,
        "history": image.config().history,
        "layers": layers,
    })
}

fn attestation_json(attested: &ImageAttestation) -> Value {
    json!({
        "manifest": attested.manifest,
        "predicate_type": attested.predicate_type,
        "digest": attested.statement.digest,
        "size": attested.statement.size,
    })
}

fn file_json(entry: &crate::layer::Entry) -> Value {
    let (kind, link) = entry.kind.describe();
    json!({
        "path": entry.path.to_string(),
        "kind": kind,
        "link": link,
        "mode": format!("{:04o}", entry.metadata.mode),
        "uid": entry.metadata.uid,
        "gid": entry.metadata.gid,
        "mtime": entry.metadata.mtime,
        "size": entry.kind.size(),
    })
}
