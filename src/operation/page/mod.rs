//! Pages for a browser: one file each, which loads nothing from elsewhere.
//!
//! Names of files, labels and steps come from the maker of the image. So all of it is JSON in the
//! page, which the page's script shows as text; and the page's policy lets no other script run.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::error::Result;
use crate::image::{expect_writable, write_result};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// What a page is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    /// One image.
    Image,
    /// The difference of two.
    Diff,
}

/// A file for a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HtmlFile {
    path: PathBuf,
}

impl HtmlFile {
    /// The file `path`, which need not be there.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io): it could not be written now.
    pub fn new(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        expect_writable(&path)?;
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes it: a reader sees the old bytes or the new ones, never a mixture.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io): it cannot be written.
    pub fn write(&self, page: &str) -> Result<()> {
        write_result(&self.path, page.as_bytes())
    }
}

/// The page.
pub(super) fn page(page: Page, report: &Value) -> String {
    let name = match page {
        Page::Image => "image",
        Page::Diff => "diff",
    };
    let data = json!({ "page": name, "version": env!("CARGO_PKG_VERSION"), "report": report }).to_string();
    // The end of the element, or the beginning of a comment, would end the data (HTML standard,
    // "Restrictions for contents of script elements"). In JSON `<` can only stand in a string.
    let data = data.replace('<', "\\u003c");
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
    let (style, script) = (hash(STYLE), hash(SCRIPT));
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{style}'; \
         script-src 'sha256-{script}'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{name}</title>\n<style>{STYLE}</style>\n</head>\n\
         <body>\n<main><noscript>This page needs JavaScript.</noscript></main>\n\
         <script type=\"application/json\" id=\"data\">{data}</script>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )
}
