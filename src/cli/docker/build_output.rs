//! Where `docker build` puts what it has built: `--output`, `--push`.

use std::path::PathBuf;

use super::invocation::{Failure, Invocation};
use super::tag;
use crate::cli::drop_in::Parsed;
use crate::error::Error;
use crate::image::{Image, Transport, replace_file};
use crate::oci::Reference;
use crate::operation::SaveRequest;

/// Where the files of an image go.
#[derive(Debug)]
pub(super) enum FilesTo {
    /// This folder.
    Folder(PathBuf),
    /// This tar.
    TarFile(PathBuf),
    /// A tar on standard output.
    TarToOutput,
}

/// What a build is asked for.
#[derive(Debug, Default)]
pub(super) struct Output {
    /// The image's names in the local store.
    pub(super) names: Vec<Reference>,
    /// Whether it is pushed under them.
    pub(super) push: bool,
    /// Layouts and archives.
    pub(super) archives: Vec<Transport>,
    /// Its files, in a folder or a tar.
    pub(super) files: Vec<FilesTo>,
    /// A docker archive on standard output.
    pub(super) archive_to_output: bool,
}

impl Output {
    /// What the flags say; `names` are those of `--tag`.
    pub(super) fn all(parsed: &Parsed, names: &[Reference]) -> Result<Self, Failure> {
        let mut output = Self { names: names.to_vec(), push: parsed.is("push"), ..Self::default() };
        for text in parsed.list("output") {
            output.add(text)?;
        }
        output.names.dedup();
        if output.push && output.names.is_empty() {
            return Err(Failure::new("ERROR: tag is needed when pushing to registry"));
        }
        Ok(output)
    }

    fn add(&mut self, text: &str) -> Result<(), Failure> {
        let wrong = |why: String| Failure::new(format!("ERROR: invalid output {text:?}: {why}")).with_code(125);
        let fields: Vec<(&str, &str)> = match text.contains('=') {
            true => text.split(',').map(|field| field.split_once('=').unwrap_or((field, "true"))).collect(),
            false if text == "-" => vec![("type", "tar"), ("dest", "-")],
            false => vec![("type", "local"), ("dest", text)],
        };
        let field = |name: &str| fields.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        let file = field("dest").filter(|dest| *dest != "-").map(PathBuf::from);
        // Several names stand in quotes in CSV; buildx's own separator is a comma.
        for name in field("name").into_iter().flat_map(|names| names.split(',')).filter(|name| !name.is_empty()) {
            self.names.push(tag::name(name.trim_matches('"'))?);
        }
        match (field("type").unwrap_or_default(), file) {
            ("image", _) => self.push |= field("push").is_some_and(|push| push != "false"),
            ("registry", _) => self.push = true,
            ("docker", Some(file)) => self.archives.push(Transport::DockerArchive { file, reference: None }),
            ("docker", None) if field("dest").is_some() => self.archive_to_output = true,
            ("docker", None) => {}
            ("oci", Some(folder)) if field("tar") == Some("false") => {
                self.archives.push(Transport::OciLayout { folder, tag: None })
            }
            ("oci", Some(file)) => self.archives.push(Transport::OciArchive { file, tag: None }),
            ("oci", None) => return Err(wrong("dest is required".into())),
            ("local", Some(folder)) => self.files.push(FilesTo::Folder(folder)),
            ("local", None) => return Err(wrong("dest is required for local output".into())),
            ("tar", Some(file)) => self.files.push(FilesTo::TarFile(file)),
            ("tar", None) => self.files.push(FilesTo::TarToOutput),
            ("cacheonly", _) => {}
            (kind, _) => return Err(wrong(format!("unknown type {kind:?}"))),
        }
        Ok(())
    }
}

/// Writes an image's files where `output` says, and its archive to standard output. `name` is what
/// the local store calls it.
pub(super) async fn export(invocation: &Invocation, image: &Image, name: &Reference, output: &Output) -> Result<(), Failure> {
    if output.archive_to_output {
        let mut request = SaveRequest::new(Transport::Store(name.clone()));
        request.platform = image.config().platform();
        invocation.mpimg().save_to(request, &mut std::io::stdout()).await?;
    }
    if output.files.is_empty() {
        return Ok(());
    }
    let files = invocation.mpimg().image_files(image).await?;
    let all = files.find("/", false)?;
    for target in &output.files {
        match target {
            FilesTo::Folder(folder) => {
                std::fs::create_dir_all(folder).map_err(|error| Error::io("make", folder, error))?;
                files.write_to(&all, folder)?;
            }
            FilesTo::TarFile(path) => replace_file(path, |file| files.write_tar(&all, "", file))?,
            FilesTo::TarToOutput => files.write_tar(&all, "", &mut std::io::stdout().lock())?,
        }
    }
    Ok(())
}
