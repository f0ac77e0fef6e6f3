//! `mpimg diff`: what differs between two images.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use super::inspect::wrote_page;
use crate::cli::flags::{ConnectionFlags, parsed};
use crate::cli::image;
use crate::cli::size::Size;
use crate::cli::style::Theme;
use crate::cli::terminal::{Answer, Terminal};
use crate::cli::visible::visible_line;
use crate::error::Result;
use crate::image::Transport;
use crate::oci::Platform;
use crate::operation::{Aspect, Change, FileChange, HtmlFile, ImageDiff, PackageChange, StepChange};

/// As diff(1): 0 is for no difference.
const DIFFERENT: u8 = 1;
const TROUBLE: u8 = 2;

const EXAMPLES: &str = "\
Exit code: 0 if nothing differs, 1 if something does, 2 if the images could not be compared.

A folder that one image has is listed without what is in it. Of small texts the changed lines are shown.

Examples:
  mpimg diff app:1 app:2
  mpimg diff docker://harbor.example.com/mp/nsx:1.0.0 oci:out
  mpimg diff --html diff.html app:1 app:2
  mpimg diff --json app:1 app:2 | jq -r '.files[].path'";

/// Show what differs between two images: configuration, steps, layers, packages and files
#[derive(Debug, Args)]
#[command(after_help = format!("{}\n\n{EXAMPLES}", image::FORMS))]
pub(crate) struct Diff {
    /// The image to compare with
    #[arg(value_name = "OLD", value_parser = image::named)]
    old: Transport,

    /// The image that may have changed
    #[arg(value_name = "NEW", value_parser = image::named)]
    new: Transport,

    /// Write the difference to this file, too, as a page for a browser that loads nothing from
    /// elsewhere
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// The platform, if the image is for several
    #[arg(long, value_name = "PLATFORM", default_value = "linux/amd64", value_parser = parsed::<Platform>)]
    platform: Platform,

    #[command(flatten)]
    connection: ConnectionFlags,
}

impl Diff {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<()> {
        terminal.set_failed_code(TROUBLE);
        let html = self.html.map(HtmlFile::new).transpose()?;
        let mpimg = self.connection.mpimg(terminal, None);
        terminal.handle_signals();
        let diff = mpimg.diff(self.old, self.new, &self.platform).await?;
        if let Some(file) = &html {
            file.write(&diff.to_html())?;
            terminal.say(&wrote_page(file));
        }
        let text = drawn(&diff, terminal.theme());
        terminal.answer(&Answer { text, quiet: String::new(), json: diff.to_json() })?;
        if !diff.is_same() {
            terminal.set_done_code(DIFFERENT);
        }
        Ok(())
    }
}

fn drawn(diff: &ImageDiff, theme: Theme) -> String {
    if diff.is_same() {
        return String::new();
    }
    let mut text = String::new();
    for (sign, image) in [("---", &diff.old), ("+++", &diff.new)] {
        let _ = writeln!(text, "{sign} {} ({})", visible_line(&image.name), image.digest);
    }
    let mut section = |heading: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            let _ = writeln!(text, "\n{}\n{}", theme.strong(heading), lines.join("\n"));
        }
    };
    let value = |value: &Value| if value.is_null() { "(not set)".to_owned() } else { visible_line(&value.to_string()) };
    let config = diff.config.iter();
    section(
        "Configuration",
        config.map(|one| format!("~ {}: {} → {}", visible_line(&one.field), value(&one.old), value(&one.new))).collect(),
    );
    section("Steps", diff.history.iter().map(step).collect());
    section("Layers", diff.layers.iter().map(step).collect());
    section("Packages", diff.packages.iter().map(package).collect());
    section("Files", diff.files.iter().map(file).collect());
    text
}

fn sign(change: Change) -> char {
    match change {
        Change::Added => '+',
        Change::Removed => '-',
        Change::Changed => '~',
    }
}

fn step(step: &StepChange) -> String {
    let size = step.size.map(|size| format!(" {}", Size(size))).unwrap_or_default();
    format!("{} {}{size}", sign(step.change), visible_line(&step.text))
}

fn package(package: &PackageChange) -> String {
    let versions = |versions: &BTreeSet<String>| {
        let all: Vec<&str> = versions.iter().map(String::as_str).collect();
        visible_line(&all.join(", "))
    };
    let name = format!("{} {}", package.kind, visible_line(&package.name));
    match (package.old.is_empty(), package.new.is_empty()) {
        (true, _) => format!("+ {name} {}", versions(&package.new)),
        (_, true) => format!("- {name} {}", versions(&package.old)),
        _ => format!("~ {name} {} → {}", versions(&package.old), versions(&package.new)),
    }
}

fn file(file: &FileChange) -> String {
    let mut line = format!("{} {}", sign(file.change), visible_line(&file.path));
    match file.change {
        Change::Changed => {
            let aspect = |aspect: &Aspect| match aspect.what {
                // Digests and seconds say nothing to people.
                "content" | "time" => aspect.what.to_owned(),
                what => format!("{what} {} → {}", visible_line(&aspect.old), visible_line(&aspect.new)),
            };
            let _ = write!(line, " ({})", file.differs.iter().map(aspect).collect::<Vec<_>>().join(", "));
        }
        _ if file.kind == "directory" => {
            let _ = write!(line, "/ ({} in it, {})", file.entries, Size(file.size));
        }
        _ if file.kind == "file" => {
            let _ = write!(line, " ({})", Size(file.size));
        }
        _ => {
            let _ = write!(line, " ({})", file.kind);
        }
    }
    for changed in file.text.iter().flat_map(|text| text.lines()) {
        let _ = write!(line, "\n    {}", visible_line(changed));
    }
    line
}
