//! mpimg builds container images of Integration SDK adapter projects and pushes them to registries,
//! with no daemon.
//!
//! ```no_run
//! use mpimg::{ContainerRepository, Mpimg, Options, PushRequest};
//!
//! # async fn example() -> mpimg::Result<()> {
//! let mpimg = Mpimg::new(Options::default());
//! let mut request = PushRequest::project("my-adapter")?;
//! request.destination.repository = Some(ContainerRepository::parse("harbor.example.com/mp/my-adapter")?);
//! println!("{}", mpimg.push(request).await?.conf_entries());
//! # Ok(())
//! # }
//! ```
//!
//! [`Mpimg`] has one method for each command. What is exported here is the interface, and
//! docs/library.md lists it; the modules behind it are public for this project's own tests, benches
//! and Python package only, and change with any release.

// Base images are unpacked and RUN steps run with Linux's own system calls; a port without them
// would build other images.
#[cfg(not(target_os = "linux"))]
compile_error!("mpimg runs on Linux: on macOS or Windows build it in a virtual machine or WSL2");

#[doc(hidden)]
pub mod build;
#[cfg(any(feature = "run", feature = "serve"))]
mod certificate;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
#[cfg(feature = "run")]
#[doc(hidden)]
pub mod container;
#[doc(hidden)]
pub mod context;
#[doc(hidden)]
pub mod dockerfile;
#[doc(hidden)]
pub mod error;
#[doc(hidden)]
pub mod image;
#[doc(hidden)]
pub mod layer;
#[doc(hidden)]
pub mod oci;
#[doc(hidden)]
pub mod operation;
pub mod progress;
#[doc(hidden)]
pub mod project;
#[doc(hidden)]
pub mod registry;
#[doc(hidden)]
pub mod sandbox;
#[doc(hidden)]
pub mod sbom;
#[cfg(feature = "serve")]
#[doc(hidden)]
pub mod serve;
#[cfg(feature = "sign")]
#[doc(hidden)]
pub mod signature;
mod size;
#[doc(hidden)]
pub mod store;
mod threads;

/// The examples of the documentation are compiled and run.
#[cfg(all(doctest, feature = "run", feature = "serve"))]
#[doc = include_str!("../docs/library.md")]
mod documentation {}

// Operations: what is asked for and what comes back.
pub use build::{AllowedBase, BuildMaterials, BuildRequest, ImageMaterial, RunMount, RunSettings, SdkBase};
pub use operation::{
    ArchiveSource, Aspect, BaseChange, BuildOutputs, Built, Change, CheckReport, CheckSubject, ConfigChange, ConfigurationFile,
    CopiedImage, CopyRequest, Destination, DestinationOptions, DiffedImage, DoctorReport, DuplicateFiles, ExportedPak,
    FileChange, FolderReport, HiddenFile, HtmlFile, ImageDiff, ImageReport, ImageSbom, ImportRequest, ImportedPak,
    InspectedImage, InspectedPak, LayerReport, LoadRequest, LoadedImage, MigrateRequest, Migration, Mpimg, Options,
    PackageChange, PakImportRequest, Policy, PrunedStore, PulledImage, PushRequest, PushSource, PushSubject, PushedImage,
    SaveRequest, SbomOutputs, Settings, StepChange, StoredCredential, StoredImage, StreamedInput,
};
#[cfg(feature = "run")]
pub use operation::{AsProduct, ContainerStats, LogOptions, ProductCheck, RunRequest, Started, StopRequest, StoppedContainers};
#[cfg(feature = "sign")]
pub use operation::{
    FoundReferrer, FoundSignature, KeyFiles, ProvenanceOptions, SignRequest, SignatureForm, Signed, VerifiedManifest,
    VerifyRequest, generate_key, read_signing_key,
};
#[cfg(feature = "serve")]
pub use operation::{ServeRequest, ServedRegistry};

// Values in requests and results.
#[cfg(feature = "run")]
pub use container::{
    Attached, AttachedControl, Container, ContainerInfo, ContainerSpec, ContainerState, NetworkMode, Outcome, PortMapping, Stats,
    Stream, TmpfsMount, Volume,
};
pub use image::{Format, Image, ImageConfig, Layer, ManifestTree, Transport};
pub use layer::{Codec, LayerIndex};
pub use oci::{Descriptor, DiffId, Digest, MediaType, Platform, Reference, Repository, Tag};
pub use project::{ConfEntries, ContainerRepository, Pak, Project, ProjectConfig};
pub use registry::{
    AnonymousReport, BlobOutcome, CheckItem, CheckState, Credential, CredentialSources, CredentialStore, Pushed, PushedBlob,
};
pub use sandbox::{IsolationKind, IsolationMode, SecretBytes, set_helper};
pub use sbom::{Checksum, Inventory, Package, PackageKind, PackagePlace, SbomFile, SbomFormat};
#[cfg(feature = "serve")]
pub use serve::{Registry, RegistryOptions};
#[cfg(feature = "sign")]
pub use signature::{PublicKey, SigningCommand, SigningKey};
pub use store::{DiskUsage, PruneOptions, PruneReport};

// Errors, and how operations are cancelled.
pub use error::{Error, ErrorKind, Result, Setting};
pub use tokio_util::sync::CancellationToken;

/// Does the work of a helper if this process was started as one for a RUN step or a container, and
/// then never returns. `main` of a program must call it first, before it starts a thread; a program
/// that cannot (Python) calls [`set_helper`].
pub fn init_main() {
    #[cfg(feature = "run")]
    container::init_main();
    #[cfg(not(feature = "run"))]
    sandbox::init_main();
}
