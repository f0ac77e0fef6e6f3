//! Management packs (`.pak`): which image one names, and the same pack for another repository.
//!
//! A pack of the Integration SDK is a ZIP archive with manifest.txt and adapter.zip, in which
//! `<kind>.conf` has the lines REGISTRY, REPOSITORY and DIGEST (`mp_build.build_pak_file`).
//! Everything in it is hostile input: nothing is unpacked by its name, and what is read has limits.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;
use zip::read::ZipFile;
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

use super::replace::replace_file;
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Digest, Reference, Repository};

const MANIFEST: &str = "manifest.txt";
const ADAPTER: &str = "adapter.zip";

/// Bytes of manifest.txt and of `<kind>.conf` at most.
const TEXT_LIMIT: u64 = 1 << 20;
/// Bytes of adapter.zip, and of a whole pack, at most.
const PAK_LIMIT: u64 = 1 << 30;

/// A management pack.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pak {
    /// Its file.
    pub path: PathBuf,
    /// `name` of manifest.txt.
    pub name: String,
    /// `version` of manifest.txt.
    pub version: String,
    /// `KINDKEY`: the adapter kind.
    pub kind: String,
    /// `REGISTRY`: host and port; `None`: the product's own default registry.
    pub registry: Option<String>,
    /// `REPOSITORY`: the path in the registry, without a slash before it.
    pub repository: String,
    /// `DIGEST`: the image.
    pub digest: Digest,
    /// Members that look like a signature of the pack itself. A changed pack no longer fits them.
    pub signatures: Vec<String>,
    /// The member of adapter.zip that names the image.
    conf: String,
}

impl Pak {
    /// Reads a management pack.
    ///
    /// # Errors
    /// [`ErrorKind::Io`]: the file cannot be read; [`ErrorKind::Corrupt`]: it is not a management
    /// pack that names an image.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::new(ErrorKind::NotFound, format!("there is no file `{}`", path.display()))
                .with_hint("mp-build writes the .pak into the project's folder `build`"),
            _ => Error::io("open", path, error),
        })?;
        Self::read(path, BufReader::new(file))
    }

    /// Reads a management pack from its bytes; `path` names it.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`]: it is not a management pack that names an image.
    pub fn read(path: &Path, bytes: impl Read + Seek) -> Result<Self> {
        Self::parse(path, bytes).map_err(|error| {
            error
                .wrap(format!("`{}` is not a management pack of the Integration SDK", path.display()))
                .with_hint("name a .pak file that mp-build has made")
        })
    }

    fn parse(path: &Path, bytes: impl Read + Seek) -> Result<Self> {
        let mut pak = ZipArchive::new(bytes).map_err(damaged)?;
        let manifest: Value = serde_json::from_slice(&member(&mut pak, MANIFEST, TEXT_LIMIT)?)
            .map_err(|error| Error::new(ErrorKind::Corrupt, format!("its {MANIFEST} is not JSON")).with_source(error))?;
        let text = |key: &str| manifest.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let signatures = names(&pak).into_iter().filter(|name| is_signature(name)).collect();
        let mut adapter = ZipArchive::new(Cursor::new(member(&mut pak, ADAPTER, PAK_LIMIT)?)).map_err(damaged)?;
        let confs: Vec<String> =
            names(&adapter).into_iter().filter(|name| name.ends_with(".conf") && !name.contains('/')).collect();
        for conf in confs {
            let bytes = member(&mut adapter, &conf, TEXT_LIMIT)?;
            let lines = String::from_utf8_lossy(&bytes).into_owned();
            let entry = |key: &str| lines.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(str::trim);
            let (Some(repository), Some(digest)) = (entry("REPOSITORY"), entry("DIGEST")) else { continue };
            return Ok(Self {
                path: path.to_owned(),
                name: text("name"),
                version: text("version"),
                kind: entry("KINDKEY").unwrap_or_default().to_owned(),
                registry: entry("REGISTRY").filter(|registry| !registry.is_empty()).map(str::to_owned),
                repository: repository.trim_start_matches('/').to_owned(),
                digest: digest.parse()?,
                signatures,
                conf,
            });
        }
        Err(Error::new(ErrorKind::Corrupt, format!("its {ADAPTER} names no image: no .conf file has REPOSITORY and DIGEST")))
    }

    /// The image, if the pack names its registry, else in the registry `default`.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`]: what the pack names is not a repository.
    pub fn image(&self, default: Option<&str>) -> Result<Option<Reference>> {
        let Some(registry) = self.registry.as_deref().or(default) else { return Ok(None) };
        let repository = Repository::parse(&format!("{registry}/{}", self.repository))
            .map_err(|error| Error::new(ErrorKind::Corrupt, "the pack names no repository").with_source(error))?;
        Ok(Some(repository.with_digest(self.digest)))
    }

    /// The usual name of its file: as mp-build writes it.
    pub fn file_name(&self) -> String {
        let plain = |text: &str| text.replace(['/', '\\', '\0'], "_");
        let name = self.name.strip_prefix("iSDK_").unwrap_or(&self.name);
        format!("{}_{}.pak", plain(name), plain(&self.version))
    }

    /// Writes the pack to `output`, with its image in `repository`. All other members keep their
    /// bytes.
    ///
    /// `registry`: whether the pack names the registry; without it the product uses its own
    /// default.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], [`ErrorKind::Corrupt`].
    pub fn write_for(&self, bytes: &[u8], repository: &Repository, registry: bool, output: &Path) -> Result<()> {
        let mut pak = ZipArchive::new(Cursor::new(bytes)).map_err(damaged)?;
        let adapter = member(&mut pak, ADAPTER, PAK_LIMIT)?;
        let adapter = replaced(&mut ZipArchive::new(Cursor::new(adapter)).map_err(damaged)?, &self.conf, |conf| {
            conf_for(&conf, repository, registry)
        })?;
        let pak = replaced(&mut pak, ADAPTER, |_| adapter)?;
        replace_file(output, &pak).map_err(|error| Error::io("write", output, error))
    }
}

/// The lines of `<kind>.conf` with other values for REGISTRY and REPOSITORY; all else as it was.
fn conf_for(conf: &[u8], repository: &Repository, registry: bool) -> Vec<u8> {
    let text = String::from_utf8_lossy(conf);
    let has_registry = text.lines().any(|line| line.starts_with("REGISTRY="));
    let mut written = String::new();
    for line in text.split_inclusive('\n') {
        let end = &line[line.trim_end_matches(['\r', '\n']).len()..];
        let registry_line = format!("REGISTRY={}{end}", repository.registry());
        if line.starts_with("REGISTRY=") {
            written += if registry { &registry_line } else { "" };
        } else if line.starts_with("REPOSITORY=") {
            // Where mp-build has it: before the repository.
            written += if registry && !has_registry { &registry_line } else { "" };
            written += &format!("REPOSITORY=/{}{end}", repository.path());
        } else {
            written += line;
        }
    }
    written.into_bytes()
}

/// The archive with one member replaced; the others are copied as they are compressed.
fn replaced(archive: &mut ZipArchive<impl Read + Seek>, name: &str, new: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Result<Vec<u8>> {
    let before = member(archive, name, PAK_LIMIT)?;
    let mut new = Some(new);
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for index in 0..archive.len() {
        let file = archive.by_index_raw(index).map_err(damaged)?;
        if file.name() != name {
            writer.raw_copy_file(file).map_err(damaged)?;
            continue;
        }
        let Some(new) = new.take() else {
            return Err(Error::new(ErrorKind::Corrupt, format!("it has the member `{name}` twice")));
        };
        let options = options(&file);
        drop(file);
        writer.start_file(name, options).map_err(damaged)?;
        writer.write_all(&new(before.clone())).map_err(|error| damaged(error.into()))?;
    }
    writer.set_raw_comment(archive.comment().into());
    Ok(writer.finish().map_err(damaged)?.into_inner())
}

/// How a member was written: compression, time and mode.
fn options<R: Read>(file: &ZipFile<'_, R>) -> SimpleFileOptions {
    let mut options = SimpleFileOptions::default().compression_method(file.compression());
    if let Some(time) = file.last_modified() {
        options = options.last_modified_time(time);
    }
    file.unix_mode().map_or(options, |mode| options.unix_permissions(mode))
}

/// The names of the members.
fn names<R: Read + Seek>(archive: &ZipArchive<R>) -> Vec<String> {
    archive.file_names().map(str::to_owned).collect()
}

/// The content of a member of at most `limit` bytes.
fn member(archive: &mut ZipArchive<impl Read + Seek>, name: &str, limit: u64) -> Result<Vec<u8>> {
    let file = archive.by_name(name).map_err(|error| match error {
        zip::result::ZipError::FileNotFound => Error::new(ErrorKind::Corrupt, format!("it has no {name}")),
        error => damaged(error),
    })?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| damaged(error.into()))?;
    if bytes.len() as u64 > limit {
        return Err(Error::new(ErrorKind::Corrupt, format!("its {name} is larger than {limit} bytes")));
    }
    Ok(bytes)
}

/// What signs the pack itself lies at its top: the product's packs have signature.mf with a
/// certificate, JAR signers META-INF.
fn is_signature(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let signs = |end: &str| lower.ends_with(end);
    match lower.strip_prefix("meta-inf/") {
        Some(_) => [".sf", ".rsa", ".dsa", ".ec"].into_iter().any(signs),
        None => {
            !lower.contains('/') && (lower.starts_with("signature") || [".mf", ".cert", ".p7s", ".sig"].into_iter().any(signs))
        }
    }
}

fn damaged(error: zip::result::ZipError) -> Error {
    Error::new(ErrorKind::Corrupt, "the ZIP archive cannot be read").with_source(io::Error::other(error))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const CONF: &str = "KINDKEY=Hello\r\nAPI_PORT=443\nREGISTRY=harbor.example.com\nREPOSITORY=/mp/hello\nDIGEST=";

    /// A pack as mp-build writes it, with members in both methods.
    pub(crate) fn pack(conf: &str, digest: &Digest) -> Vec<u8> {
        let zip = |members: &[(&str, &[u8])]| {
            let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
            for (number, (name, bytes)) in members.iter().enumerate() {
                let method = if number % 2 == 0 { zip::CompressionMethod::Stored } else { zip::CompressionMethod::Deflated };
                writer
                    .start_file(*name, SimpleFileOptions::default().compression_method(method).unix_permissions(0o640))
                    .unwrap();
                writer.write_all(bytes).unwrap();
            }
            writer.finish().unwrap().into_inner()
        };
        let conf = format!("{conf}{digest}\n");
        let adapter = zip(&[("Hello.conf", conf.as_bytes()), ("manifest.txt", b"{}"), ("Hello/conf/describe.xml", b"<a/>")]);
        let manifest = br#"{"name": "iSDK_Hello", "version": "1.2.3", "adapter_kinds": ["Hello"]}"#;
        zip(&[("manifest.txt", manifest), ("content/a", &[7; 5000]), ("adapter.zip", &adapter)])
    }

    fn members(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut archive = ZipArchive::new(Cursor::new(bytes)).unwrap();
        let names: Vec<String> = (0..archive.len()).map(|index| archive.by_index(index).unwrap().name().to_owned()).collect();
        names.into_iter().map(|name| (name.clone(), member(&mut archive, &name, PAK_LIMIT).unwrap())).collect()
    }

    #[test]
    fn a_pack_for_another_repository_differs_in_the_lines_of_the_repository_alone() {
        let digest = Digest::of("image");
        let bytes = pack(CONF, &digest);
        let pak = Pak::read(Path::new("a.pak"), Cursor::new(&bytes)).unwrap();
        assert_eq!((pak.name.as_str(), pak.version.as_str(), pak.kind.as_str()), ("iSDK_Hello", "1.2.3", "Hello"));
        assert_eq!(pak.image(None).unwrap().unwrap().to_string(), format!("harbor.example.com/mp/hello@{digest}"));
        assert_eq!((pak.file_name().as_str(), pak.signatures.len()), ("Hello_1.2.3.pak", 0));

        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("b.pak");
        pak.write_for(&bytes, &Repository::parse("dark.example.com:8443/x/y").unwrap(), true, &output).unwrap();
        let (before, after) = (members(&bytes), members(&std::fs::read(&output).unwrap()));
        assert_eq!(before[..2], after[..2]);
        let (before, after) = (members(&before[2].1), members(&after[2].1));
        assert_eq!(before[1..], after[1..]);
        let expected = CONF.replace("harbor.example.com", "dark.example.com:8443").replace("/mp/hello", "/x/y");
        assert_eq!(String::from_utf8_lossy(&after[0].1), format!("{expected}{digest}\n"));
        assert_eq!(Pak::open(&output).unwrap().registry.as_deref(), Some("dark.example.com:8443"));
    }

    #[test]
    fn the_registry_is_named_or_left_to_the_product() {
        let to = Repository::parse("h.example.com/a").unwrap();
        let conf = |text: &str, registry| String::from_utf8(conf_for(text.as_bytes(), &to, registry)).unwrap();
        assert_eq!(conf("REPOSITORY=/b\nDIGEST=c", true), "REGISTRY=h.example.com\nREPOSITORY=/a\nDIGEST=c");
        assert_eq!(conf("REGISTRY=x\r\nREPOSITORY=/b\r\n", false), "REPOSITORY=/a\r\n");
        assert_eq!(conf("REPOSITORY=/b", false), "REPOSITORY=/a");
    }

    #[test]
    fn what_is_no_pack_is_said() {
        let error = |bytes: &[u8]| Pak::read(Path::new("a.pak"), Cursor::new(bytes)).unwrap_err();
        assert_eq!(error(b"x").causes(), ["the ZIP archive cannot be read", "invalid Zip archive: Could not find EOCD"]);
        assert_eq!(error(b"x").to_string(), "`a.pak` is not a management pack of the Integration SDK");
        let none = pack("KINDKEY=Hello\n", &Digest::of("x"));
        assert!(error(&none).causes()[0].starts_with("its adapter.zip names no image"), "{:?}", error(&none));
    }

    #[test]
    fn signatures_are_known_by_their_names() {
        for (name, signs) in [
            ("signature.mf", true),
            ("Signature.cert", true),
            ("META-INF/VMWARE.RSA", true),
            ("META-INF/MANIFEST.MF", false),
            ("manifest.txt", false),
            ("content/files/signature.txt", false),
        ] {
            assert_eq!(is_signature(name), signs, "{name}");
        }
    }
}
