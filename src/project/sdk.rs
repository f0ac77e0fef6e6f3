//! The installed Integration SDK, as far as its base images go: since 1.3 they are in no registry,
//! `mp-build` builds `base-adapter:LANGUAGE-VERSION` from a folder of its own package
//! (`docker_wrapper.ensure_base_image_exists`).
//!
//! Never runs Python: the package is found by the folders that pip, pipx and virtual environments
//! make.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::variable::variable;
use super::{VIRTUAL_ENVIRONMENTS, json};
use crate::error::{Error, ErrorKind, Result};

const PACKAGE: &str = "vmware_aria_operations_integration_sdk";
/// The same as pip writes it.
const WHEEL: &str = "vmware-aria-operations-integration-sdk";
const VERSIONS: &str = "container_versions.json";
/// The folder whose presence tells the SDK's `images` from anybody else's.
const PYTHON_IMAGE: &str = "base-python-adapter";

/// An installed SDK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledSdk {
    images: PathBuf,
    versions: PathBuf,
}

impl InstalledSdk {
    /// Looks for an SDK with base images: beside the build context `folder` if that is one of them,
    /// in virtual environments of the project in `folder`, in that of `MPIMG_PYTHON`, in the active
    /// one, where `mp-build` on the PATH lies, and where pip installs for a user or all.
    pub fn find(folder: &Path) -> Option<Self> {
        Self::find_with(folder, &variable)
    }

    fn find_with(folder: &Path, variable: &dyn Fn(&str) -> Option<OsString>) -> Option<Self> {
        let own = folder.canonicalize().ok().and_then(|folder| Self::at(folder.parent()?.parent()?));
        own.or_else(|| prefixes(folder, variable).iter().flat_map(|prefix| sites(prefix)).find_map(|site| Self::at(&site)))
    }

    /// Whether `folder` is what an installed SDK builds one of its base images from.
    pub fn has_folder(folder: &Path) -> bool {
        let Ok(folder) = folder.canonicalize() else { return false };
        let sdk = folder.parent().and_then(Path::parent).and_then(Self::at);
        let images = sdk.and_then(|sdk| sdk.base_images().ok()).unwrap_or_default();
        images.iter().any(|(_, image)| image.canonicalize().is_ok_and(|image| image == folder))
    }

    /// The SDK installed in this `site-packages` folder.
    fn at(site: &Path) -> Option<Self> {
        let versions = site.join(PACKAGE).join(VERSIONS);
        // The wheel has them beside the package, a checkout of the SDK one folder up.
        let images =
            [site.join("images"), site.parent()?.join("images")].into_iter().find(|images| images.join(PYTHON_IMAGE).is_dir());
        images.filter(|_| versions.is_file()).map(|images| Self { images, versions })
    }

    /// The error where [`Self::find`] finds none: what is installed instead, and the way on.
    pub fn missing(folder: &Path) -> Error {
        Self::missing_with(folder, &variable)
    }

    fn missing_with(folder: &Path, variable: &dyn Fn(&str) -> Option<OsString>) -> Error {
        // Releases before 1.3 have no images in their wheels.
        let old = prefixes(folder, variable).iter().flat_map(|prefix| sites(prefix)).find_map(|site| version_in(&site));
        let (message, hint) = match old {
            Some(version) => (
                format!("the installed SDK {version} builds no base images"),
                format!("install one that does: `pip install --upgrade {WHEEL}`, or in a virtual environment of the project"),
            ),
            None => (
                "no SDK is installed that builds base images".to_owned(),
                format!(
                    "install it where mpimg finds it: `pip install {WHEEL}`; on the PATH, in ~/.local or in a virtual environment of the project"
                ),
            ),
        };
        Error::new(ErrorKind::NotFound, message).with_hint(hint)
    }

    /// Its version, where pip has written it down.
    pub fn version(&self) -> Option<String> {
        version_in(self.versions.parent()?.parent()?)
    }

    /// The base images that this SDK builds: tag (`python-1.2.0`) and folder of each.
    ///
    /// # Errors
    /// container_versions.json cannot be read, or is no JSON object.
    pub fn base_images(&self) -> Result<Vec<(String, PathBuf)>> {
        let versions = json::read_object(&self.versions)?;
        let others = versions.get("secondary_images").and_then(Value::as_array);
        let all = versions.get("base_image").into_iter().chain(others.into_iter().flatten());
        let image = |entry: &Value| {
            let text = |key| entry.get(key).and_then(Value::as_str);
            let path = text("path")?;
            // A name of a folder, not a way out of `images`.
            let plain = !path.is_empty() && !path.contains(['/', '\\']) && path != "..";
            let tag = format!("{}-{}", text("language")?.to_lowercase(), text("version")?);
            plain.then(|| (tag, self.images.join(path)))
        };
        Ok(all.filter_map(image).collect())
    }
}

/// The version of the SDK in a `site-packages` folder, where pip has written it down.
fn version_in(site: &Path) -> Option<String> {
    let names = site.read_dir().ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let version = |name: String| Some(name.strip_prefix(PACKAGE)?.strip_prefix('-')?.strip_suffix(".dist-info")?.to_owned());
    names.filter_map(version).next()
}

/// Where Python packages may be installed, nearest first.
fn prefixes(folder: &Path, variable: &dyn Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let mut prefixes = virtual_environments(folder);
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    // The Python that mp-build runs with. It is a link in its virtual environment.
    prefixes.extend(set("MPIMG_PYTHON").and_then(|python| Some(Path::new(&python).parent()?.parent()?.to_owned())));
    prefixes.extend(set("VIRTUAL_ENV").map(PathBuf::from));
    let path = set("PATH").unwrap_or_default();
    let scripts = std::env::split_paths(&path).flat_map(|folder| ["mp-build", "mp-build.exe"].map(|name| folder.join(name)));
    // pipx links a script into ~/.local/bin; it lies two folders below its environment.
    let real = scripts.filter_map(|script| script.canonicalize().ok());
    prefixes.extend(real.filter_map(|script| Some(script.parent()?.parent()?.to_owned())));
    prefixes.extend(set("HOME").map(|home| PathBuf::from(home).join(".local")));
    prefixes.extend(["/usr/local", "/usr"].map(PathBuf::from));
    prefixes
}

/// The virtual environments directly in a project's folder, by name.
fn virtual_environments(folder: &Path) -> Vec<PathBuf> {
    let environment = |path: &PathBuf| VIRTUAL_ENVIRONMENTS.iter().any(|pair| pair.iter().all(|file| path.join(file).exists()));
    folders(folder).into_iter().filter(environment).collect()
}

/// The folders that hold the packages of a prefix.
fn sites(prefix: &Path) -> Vec<PathBuf> {
    let pythons = folders(&prefix.join("lib"));
    // The newest Python first.
    let unix = pythons.iter().rev().flat_map(|python| ["site-packages", "dist-packages"].map(|name| python.join(name)));
    unix.chain([prefix.join("Lib/site-packages")]).collect()
}

/// The folders in a folder, sorted; none where it cannot be read.
fn folders(parent: &Path) -> Vec<PathBuf> {
    let entries = parent.read_dir().into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(site: &Path) {
        for folder in ["images/base-python-adapter", "images/java-adapter", PACKAGE] {
            std::fs::create_dir_all(site.join(folder)).unwrap();
        }
        let versions = r#"{"base_image": {"language": "Python", "path": "base-python-adapter", "version": "1.2.0"},
            "secondary_images": [{"language": "Java", "path": "java-adapter", "version": "1.3.0"},
                                 {"language": "Evil", "path": "../x", "version": "1"}]}"#;
        std::fs::write(site.join(PACKAGE).join(VERSIONS), versions).unwrap();
    }

    #[test]
    fn the_sdk_is_found_where_pip_pipx_and_virtual_environments_put_it() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().canonicalize().unwrap();
        let project = home.join("project");
        std::fs::create_dir_all(&project).unwrap();
        let bin = home.join(".local/bin");
        let variable = |name: &str| match name {
            "HOME" => Some(home.clone().into_os_string()),
            "PATH" => Some(bin.clone().into_os_string()),
            _ => None,
        };
        let found = |project: &Path| InstalledSdk::find_with(project, &variable).map(|sdk| sdk.images);
        // Whatever this machine has in /usr is not in these folders.
        let ours = |project: &Path| found(project).filter(|images| images.starts_with(&home));
        assert_eq!(ours(&project), None);
        // An older one is found as what it is: it has no images.
        let old = home.join(".local/lib/python3.11/site-packages");
        std::fs::create_dir_all(old.join(format!("{PACKAGE}-1.2.0.dist-info"))).unwrap();
        let error = InstalledSdk::missing_with(&project, &variable);
        assert_eq!(error.to_string(), "the installed SDK 1.2.0 builds no base images");
        assert!(error.hint().unwrap().contains(&format!("`pip install --upgrade {WHEEL}`")), "{error:?}");
        std::fs::remove_dir_all(&old).unwrap();

        let pipx = home.join(".local/share/pipx/venvs/sdk");
        install(&pipx.join("lib/python3.12/site-packages"));
        std::fs::create_dir_all(pipx.join("bin")).unwrap();
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::write(pipx.join("bin/mp-build"), "").unwrap();
        std::os::unix::fs::symlink(pipx.join("bin/mp-build"), bin.join("mp-build")).unwrap();
        assert_eq!(ours(&project), Some(pipx.join("lib/python3.12/site-packages/images")));

        // A virtual environment of the project is nearer.
        let venv = project.join("venv-Adapter");
        install(&venv.join("lib/python3.11/site-packages"));
        assert_eq!(ours(&project), Some(pipx.join("lib/python3.12/site-packages/images")), "it is none yet");
        std::fs::create_dir_all(venv.join("bin")).unwrap();
        ["activate", "python"].iter().for_each(|name| std::fs::write(venv.join("bin").join(name), "").unwrap());
        let images = venv.join("lib/python3.11/site-packages/images");
        assert_eq!(ours(&project), Some(images.clone()));

        // An image of the SDK that stands on another one finds it beside itself.
        assert_eq!(ours(&images.join("java-adapter")), Some(images));
    }

    #[test]
    fn base_images_have_the_tags_that_the_sdk_gives_them() {
        let site = tempfile::tempdir().unwrap();
        install(site.path());
        let sdk = InstalledSdk::at(site.path()).unwrap();
        let images = site.path().join("images");
        let expected =
            [("python-1.2.0".into(), images.join("base-python-adapter")), ("java-1.3.0".into(), images.join("java-adapter"))];
        assert_eq!(sdk.base_images().unwrap(), expected);
    }
}
