//! Integration SDK projects: manifest.txt, config.json, the global configuration, the container
//! repository, and what of a project enters an image.
//!
//! Knows nothing of layers, Dockerfiles and the network; everything here agrees with the SDK's own
//! `mp-build`.

mod config;
mod exclusions;
mod json;
mod manifest;
mod pak;
mod replace;
mod repository;
mod sdk;
mod sdk_base;
mod variable;

pub use config::{GlobalConfig, ProjectConfig};
pub use exclusions::{EXCLUDED_FOLDERS, VIRTUAL_ENVIRONMENTS, excludes_folder};
pub use manifest::Project;
pub use pak::Pak;
pub(crate) use replace::replace_file;
pub use repository::{ConfEntries, ContainerRepository};
pub use sdk::InstalledSdk;
pub use sdk_base::SdkBaseImage;
pub(crate) use variable::variable;
