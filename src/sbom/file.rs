//! The file that a bill of materials is written to; its name tells the form.
//!
//! A name that says no format, and a place that cannot be written, are errors when it is made,
//! before the work.

use std::path::{Path, PathBuf};

use super::SbomFormat;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{expect_writable, write_result};

/// A file for a bill of materials: `NAME.spdx.json` or `NAME.cdx.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SbomFile {
    path: PathBuf,
    format: SbomFormat,
}

impl SbomFile {
    /// The file `path`, which need not be there.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`]: its name tells no form. [`ErrorKind::Io`]: it could not be written
    /// now.
    pub fn new(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let Some(format) = named(&path) else {
            let message = format!("`{}` does not say which SBOM format to write", path.display());
            return Err(Error::new(ErrorKind::Usage, message)
                .with_hint("name it FILE.spdx.json for SPDX, or FILE.cdx.json for CycloneDX"));
        };
        Self::with_format(path, format)
    }

    /// The file `path` for a document in this form.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`]: its name tells the other form. [`ErrorKind::Io`]: it could not be
    /// written now.
    pub fn with_format(path: impl Into<PathBuf>, format: SbomFormat) -> Result<Self> {
        let path = path.into();
        if let Some(other) = named(&path).filter(|other| *other != format) {
            let message = format!("`{}` is the name of a file in the format {other}, not {format}", path.display());
            return Err(
                Error::new(ErrorKind::Usage, message).with_hint(format!("name it FILE{}, or ask for {other}", format.suffix()))
            );
        }
        expect_writable(&path)?;
        Ok(Self { path, format })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The form that its name tells.
    pub fn format(&self) -> SbomFormat {
        self.format
    }

    /// Writes it: a reader sees the old bytes or the new ones, never a mixture.
    ///
    /// # Errors
    /// [`ErrorKind::Io`]: it cannot be written.
    pub fn write(&self, document: &str) -> Result<()> {
        write_result(&self.path, document.as_bytes())
    }
}

/// The form that the name of a file tells.
fn named(path: &Path) -> Option<SbomFormat> {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    [SbomFormat::Spdx, SbomFormat::CycloneDx].into_iter().find(|form| name.ends_with(form.suffix().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_tells_the_form_and_what_cannot_be_written_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| SbomFile::new(folder.path().join(name));
        assert_eq!(at("app.spdx.json").unwrap().format(), SbomFormat::Spdx);
        assert_eq!(at("gl-sbom-app.cdx.json").unwrap().format(), SbomFormat::CycloneDx);
        for name in ["sbom", "sbom.json", "spdx.json", "app.SPDX.json", "app.spdx.json/.."] {
            assert_eq!(at(name).unwrap_err().kind(), ErrorKind::Usage, "{name}");
        }
        let other = SbomFile::with_format(folder.path().join("app.cdx.json"), SbomFormat::Spdx).unwrap_err();
        assert_eq!(other.kind(), ErrorKind::Usage, "{other}");
        SbomFile::with_format(folder.path().join("app.json"), SbomFormat::Spdx).unwrap();
        std::fs::create_dir(folder.path().join("folder.spdx.json")).unwrap();
        for name in ["folder.spdx.json", "missing/app.spdx.json"] {
            assert_eq!(at(name).unwrap_err().kind(), ErrorKind::Io, "{name}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "a trial left something");
        let file = at("app.spdx.json").unwrap();
        ["{\"long\": true}", "{}"].iter().for_each(|document| file.write(document).unwrap());
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "{}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
