//! `mpimg pak`: a management pack and its image, for sites that the internet does not reach.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::flags::{ConnectionFlags, LoginFlags, parsed};
use crate::cli::size::Size;
use crate::cli::terminal::{Answer, Terminal};
use crate::cli::visible::visible_line;
use crate::error::{Error, ErrorKind, Result};
use crate::oci::Tag;
use crate::operation::PakImportRequest;
use crate::project::{ContainerRepository, Pak};
use crate::registry::{AnonymousReport, CheckState};

const EXAMPLES: &str = "\
A .pak does not contain the adapter's image: it names a registry, which the product pulls from. `export` puts both into one file; at \
the other site `import` pushes the image and writes the .pak that names it there.

Examples:
  mpimg pak inspect build/MyAdapter_1.0.0.pak
  mpimg pak export build/MyAdapter_1.0.0.pak
  mpimg pak import MyAdapter_1.0.0.pak.tar -r harbor.site.example.com/mp/my-adapter";

/// Look into a management pack, or move it with its image to another site
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PakCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Inspect(Inspect),
    Export(Export),
    Import(Box<Import>),
}

/// Show a management pack, where its image is, and whether the product can pull it
///
/// The exit code is 1 where the image is not there, or the product cannot pull it.
#[derive(Debug, Args)]
struct Inspect {
    /// The management pack
    #[arg(value_name = "FILE.pak")]
    file: PathBuf,

    /// The product's default registry, for a pack that names none
    #[arg(long, value_name = "HOST[:PORT]")]
    registry: Option<String>,

    #[command(flatten)]
    connection: ConnectionFlags,
}

/// Write a management pack, its image, signatures and bills of materials to one file
///
/// The file is an OCI archive, which other tools read, too.
#[derive(Debug, Args)]
struct Export {
    /// The management pack
    #[arg(value_name = "FILE.pak")]
    file: PathBuf,

    /// The file to write [default: FILE.pak.tar in the current folder]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// The product's default registry, for a pack that names none
    #[arg(long, value_name = "HOST[:PORT]")]
    registry: Option<String>,

    #[command(flatten)]
    connection: ConnectionFlags,
}

/// Push the image of an exported management pack, and write the pack that names it there
///
/// The image is the same byte for byte, with the same digest. In the pack, only the lines of the
/// repository change.
#[derive(Debug, Args)]
struct Import {
    /// What `mpimg pak export` has written
    #[arg(value_name = "FILE.tar")]
    file: PathBuf,

    /// The repository here, which the product pulls from
    #[arg(short, long, value_name = "HOST/PATH", visible_alias = "registry-tag", value_parser = parsed::<ContainerRepository>)]
    repository: ContainerRepository,

    /// The image's tag [default: the pack's version and the beginning of the digest]
    #[arg(short, long, value_name = "TAG", value_parser = parsed::<Tag>)]
    tag: Option<Tag>,

    /// Where the pack is written: a file, which is replaced, or a folder that has none of that name
    #[arg(short, long, value_name = "PATH", default_value = ".")]
    output: PathBuf,

    /// Leave the registry out of the pack: the product then uses its own default registry
    #[arg(long)]
    use_default_registry: bool,

    #[command(flatten)]
    login: LoginFlags,

    #[command(flatten)]
    connection: ConnectionFlags,
}

impl PakCommand {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<()> {
        match self.action {
            Action::Inspect(command) => command.run(terminal).await,
            Action::Export(command) => command.run(terminal).await,
            Action::Import(command) => command.run(terminal).await,
        }
    }
}

impl Inspect {
    async fn run(self, terminal: &Terminal) -> Result<()> {
        let mpimg = self.connection.mpimg(terminal, None);
        terminal.handle_signals();
        let found = mpimg.pak_inspect(&self.file, self.registry.as_deref()).await?;
        let pak = &found.pak;
        let registry = pak.registry.as_deref().unwrap_or("the product's default registry");
        let mut text = format!(
            "Name        {}\nVersion     {}\nKind        {}\nRegistry    {registry}\nRepository  {}\nDigest      {}\n",
            visible_line(&pak.name),
            visible_line(&pak.version),
            visible_line(&pak.kind),
            visible_line(&pak.repository),
            pak.digest
        );
        let theme = terminal.theme();
        let line = |good: bool, words: &str| {
            let sign = if good { theme.good("✓") } else { theme.bad("✗") };
            format!("  {sign} {words}\n")
        };
        match &found.present {
            None => text += "  - where the image is, the pack leaves to the product: --registry HOST asks a registry\n",
            Some(Ok(true)) => text += &line(true, "the image is there"),
            Some(Ok(false)) => text += &line(false, "the image is not there"),
            Some(Err(error)) => {
                text += &line(false, &format!("whether the image is there could not be found out: {}", error.in_one_line()))
            }
        }
        if let Some(report) = found.anonymous.as_ref().filter(|_| !matches!(found.present, Some(Ok(false)))) {
            text += &match report.worst() {
                _ if report.pullable() => line(true, "it can be pulled without logging in, as the product pulls it"),
                Some(item) => line(false, &format!("it cannot be pulled without logging in: {}: {}", item.name, item.detail)),
                None => String::new(),
            };
        }
        text += &signature_text(pak);
        let pulled = found.anonymous.as_ref().is_none_or(AnonymousReport::pullable);
        if !matches!(found.present, None | Some(Ok(true))) || !pulled {
            // As `check`: what the product cannot pull is not a success.
            terminal.set_done_code(1);
        }
        let image = found.image.as_ref().map(ToString::to_string);
        let present = found.present.as_ref().and_then(|present| present.as_ref().ok());
        terminal.answer(&Answer {
            text,
            quiet: format!("{}\n", image.clone().unwrap_or_else(|| pak.digest.to_string())),
            json: merged(
                pak_json(pak),
                json!({
                    "image": image,
                    "present": present,
                    "anonymous_pull": found.anonymous.as_ref().map(AnonymousReport::pullable),
                }),
            ),
        })
    }
}

impl Export {
    async fn run(self, terminal: &Terminal) -> Result<()> {
        let mpimg = self.connection.mpimg(terminal, None);
        terminal.handle_signals();
        let output = match (self.output, self.file.file_name()) {
            (Some(output), _) => output,
            (None, Some(name)) => format!("{}.tar", name.to_string_lossy()).into(),
            (None, None) => return Err(Error::new(ErrorKind::Usage, format!("`{}` is not a file", self.file.display()))),
        };
        let exported = mpimg.pak_export(&self.file, self.registry.as_deref(), &output).await?;
        let file = exported.file.display().to_string();
        let others = match exported.referrers {
            0 => String::new(),
            1 => ", 1 signature or bill of materials".into(),
            count => format!(", {count} signatures and bills of materials"),
        };
        terminal.say(&format!("wrote `{file}`: the pack, its image ({}){others}", Size(exported.size)));
        terminal.answer(&Answer {
            text: format!("{file}\n"),
            quiet: format!("{file}\n"),
            json: merged(
                pak_json(&exported.pak),
                json!({ "image": exported.image.to_string(), "file": file, "referrers": exported.referrers, "size": exported.size }),
            ),
        })
    }
}

impl Import {
    async fn run(self, terminal: &Terminal) -> Result<()> {
        let credential = self.login.credential(terminal, self.repository.repository().registry())?;
        let mpimg = self.connection.mpimg(terminal, credential);
        terminal.handle_signals();
        let Self { file, repository, tag, output, use_default_registry, .. } = self;
        let imported = mpimg.pak_import(PakImportRequest { file, repository, tag, output, use_default_registry }).await?;
        let pak = &imported.pak;
        terminal.say(&format!("pushed `{}` under the tag {}; wrote `{}`", imported.image, imported.tag, pak.path.display()));
        if !pak.signatures.is_empty() {
            terminal
                .warn(&signature_warning(pak), Some("the product installs it as an unsigned pack; the vendor can sign it again"));
        }
        let report = &imported.anonymous;
        match report.worst() {
            _ if report.pullable() => {
                let tick = terminal.error_theme().good("✓");
                terminal.say(&format!("{tick} the image can be pulled without logging in, as the product pulls it"));
            }
            Some(item) => {
                let words = if item.state == CheckState::Failed { "cannot pull" } else { "may be unable to pull" };
                let hint = report.hint.as_deref().or(item.hint.as_deref());
                terminal.warn(&format!("the product {words} the image without logging in: {}: {}", item.name, item.detail), hint);
            }
            None => {}
        }
        let path = pak.path.display().to_string();
        terminal.answer(&Answer {
            text: format!("{path}\n"),
            quiet: format!("{path}\n"),
            json: merged(
                pak_json(pak),
                json!({
                    "image": imported.image.to_string(),
                    "tag": imported.tag.as_str(),
                    "referrers": imported.referrers,
                    "anonymous_pull": report.pullable(),
                }),
            ),
        })
    }
}

fn signature_text(pak: &Pak) -> String {
    match pak.signatures.is_empty() {
        true => "  - the pack is not signed\n".into(),
        false => format!("  - the pack is signed: {}; a pack for another repository would not be\n", pak.signatures.join(", ")),
    }
}

fn signature_warning(pak: &Pak) -> String {
    format!("the pack was signed ({}), and its signature does not fit the new repository", pak.signatures.join(", "))
}

fn pak_json(pak: &Pak) -> Value {
    json!({
        "pak": pak.path,
        "name": pak.name,
        "version": pak.version,
        "kind": pak.kind,
        "registry": pak.registry,
        "repository": pak.repository,
        "digest": pak.digest,
        "signatures": pak.signatures,
    })
}

fn merged(mut first: Value, second: Value) -> Value {
    if let (Value::Object(first), Value::Object(second)) = (&mut first, second) {
        first.extend(second);
    }
    first
}
