//! The operations: one file for each verb of the command line. The command line and the Python
//! package translate words and draw; what is decided is decided here, for every program.
//!
//! Operations are futures for a multi-threaded tokio runtime; what computes runs on threads of its
//! own. Nothing here knows terminals, prompts or flags.

mod archive;
#[cfg(feature = "run")]
mod as_product;
#[cfg(feature = "sign")]
mod attached;
#[cfg(feature = "sign")]
mod attest;
mod attestation;
mod build;
mod build_index;
mod build_input;
mod build_outputs;
mod check;
#[cfg(feature = "run")]
mod commit;
mod configuration;
#[cfg(feature = "run")]
mod containers;
mod copy;
#[cfg(feature = "run")]
mod copy_into;
#[cfg(feature = "run")]
mod create;
mod destination;
mod diff;
mod doctor;
mod engine;
#[cfg(feature = "run")]
mod exec;
mod image;
mod image_files;
mod image_report;
mod images;
mod import;
mod index;
#[cfg(feature = "sign")]
mod index_statements;
mod inspect;
#[cfg(feature = "sign")]
mod key;
mod load;
mod local_images;
mod login;
#[cfg(feature = "run")]
mod logs;
mod migrate;
mod page;
mod pak;
mod policy;
#[cfg(feature = "sign")]
mod provenance;
mod prune;
mod pull;
mod push;
#[cfg(feature = "sign")]
mod record;
mod recorded;
mod remove;
mod reproducible;
#[cfg(feature = "run")]
mod run;
mod save;
mod sbom;
#[cfg(feature = "serve")]
mod serve;
mod settings;
#[cfg(feature = "sign")]
mod sign;
#[cfg(feature = "sign")]
mod signed_file;
#[cfg(feature = "run")]
mod stats;
#[cfg(feature = "run")]
mod stop;
mod tag;
mod tags;
mod transfer;
#[cfg(feature = "sign")]
mod verify;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

pub use archive::ArchiveSource;
#[cfg(feature = "run")]
pub use as_product::{AsProduct, ProductCheck};
pub use attestation::ImageAttestation;
pub use build::Built;
pub use build_input::StreamedInput;
pub use build_outputs::BuildOutputs;
pub use check::{CheckReport, CheckSubject};
#[cfg(feature = "run")]
pub use commit::CommitRequest;
pub use configuration::{ConfigurationFile, StoredCredential};
pub use copy::{CopiedImage, CopyRequest};
#[cfg(feature = "run")]
pub use copy_into::CopyIntoSource;
pub use destination::{Destination, DestinationOptions};
pub use diff::{Aspect, Change, ConfigChange, DiffedImage, FileChange, ImageDiff, PackageChange, StepChange};
pub use doctor::DoctorReport;
pub use image::{find_image, find_local_image, image_size, not_stored};
pub use image_files::{FoundFile, ImageFiles};
pub use image_report::{DuplicateFiles, FolderReport, HiddenFile, ImageReport, LayerReport};
pub use images::StoredImage;
pub use import::ImportRequest;
pub use index::IndexPart;
#[cfg(feature = "sign")]
pub use index_statements::FoundAttestation;
pub use inspect::InspectedImage;
#[cfg(feature = "sign")]
pub use key::{KeyFiles, generate_key, read_signing_key};
pub use load::{LoadRequest, LoadedImage};
pub use local_images::LocalImage;
pub use login::registry_name;
#[cfg(feature = "run")]
pub use logs::{LogOptions, read_logs};
pub use migrate::{BaseChange, MigrateRequest, Migration};
pub use page::HtmlFile;
pub use pak::{ExportedPak, ImportedPak, InspectedPak, PakImportRequest};
pub use policy::Policy;
pub use prune::PrunedStore;
pub use pull::PulledImage;
pub use push::{PushRequest, PushSource, PushSubject, PushedImage};
pub use recorded::SbomOutputs;
#[cfg(feature = "sign")]
pub use recorded::{AttestationForm, IndexAttestations, ProvenanceOptions};
#[cfg(feature = "run")]
pub use run::{RunRequest, Started};
pub use save::SaveRequest;
pub use sbom::ImageSbom;
#[cfg(feature = "serve")]
pub use serve::{ServeRequest, ServedRegistry};
pub use settings::Settings;
#[cfg(feature = "sign")]
pub use sign::{SignRequest, Signed};
#[cfg(feature = "sign")]
pub use signed_file::{SignedFile, sign_file, verify_file};
#[cfg(feature = "run")]
pub use stats::ContainerStats;
#[cfg(feature = "run")]
pub use stop::{StopRequest, StoppedContainers};
#[cfg(feature = "sign")]
pub use verify::{FoundReferrer, FoundSignature, SignatureForm, VerifiedManifest, VerifyRequest, manifest_name};

use crate::error::Result;
use crate::oci::Reference;
use crate::progress::Progress;
use crate::registry::{Client, ClientOptions, Credential, CredentialSources};
pub(crate) use crate::store::blocking;
use crate::store::{ImageRecord, Store};

/// How an [`Mpimg`] works. `Default` is what the command does without flags.
#[derive(Debug, Clone)]
pub struct Options {
    /// The local store's folder; `None`: `$MPIMG_HOME`, else `mpimg` in the XDG data folder.
    pub home: Option<PathBuf>,
    /// Where credentials for registries come from.
    pub credentials: CredentialSources,
    /// PEM files with certificate authorities to trust besides the system's.
    pub ca_files: Vec<PathBuf>,
    /// Registries (`host[:port]`) that may be reached by plain HTTP or with a certificate that does
    /// not verify.
    pub insecure_registries: Vec<String>,
    /// Mirrors of Docker Hub, asked before it: `host[:port][/path]`.
    pub registry_mirrors: Vec<String>,
    /// Receives everything that happens.
    pub progress: Progress,
    /// Cancels every operation, those that begin later included: requests in flight end, a RUN step
    /// is killed, nothing new begins. The operation returns
    /// [`ErrorKind::Interrupted`](crate::ErrorKind::Interrupted) once it has cleaned up.
    pub cancel: CancellationToken,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            home: None,
            credentials: CredentialSources::default(),
            ca_files: Vec::new(),
            insecure_registries: Vec::new(),
            registry_mirrors: Vec::new(),
            progress: Progress::silent(),
            cancel: CancellationToken::new(),
        }
    }
}

/// What operations work with: the local store, registries, progress, and a way to cancel. Cheap to
/// clone.
#[derive(Debug, Clone)]
pub struct Mpimg {
    home: Option<PathBuf>,
    store: Arc<OnceLock<Store>>,
    client: Client,
    progress: Progress,
    cancel: CancellationToken,
}

impl Mpimg {
    /// Nothing is read, opened or connected before an operation needs it.
    pub fn new(options: Options) -> Self {
        let Options { home, credentials, ca_files, insecure_registries, registry_mirrors, progress, cancel } = options;
        let client = Client::new(ClientOptions {
            credentials,
            ca_files,
            insecure: insecure_registries,
            mirrors: registry_mirrors,
            progress: progress.clone(),
            // Without a folder for the store there is none for upload sessions; what needs either
            // says so.
            state_dir: home.clone().or_else(|| Store::default_root().ok()),
            cancel: cancel.clone(),
            ..ClientOptions::default()
        });
        Self { home, store: Arc::default(), client, progress, cancel }
    }

    /// This `Mpimg` with a credential for one registry (`host[:port]`), which wins over all others.
    #[must_use]
    pub fn with_credential(&self, registry: &str, credential: Credential) -> Self {
        let mut credentials = self.client.options().credentials.clone();
        credentials.explicit.insert(0, (registry.to_owned(), credential));
        Self { client: self.client.with_credentials(credentials), ..self.clone() }
    }

    /// The local store, opened when it is first asked for.
    ///
    /// # Errors
    /// [`ErrorKind::Store`](crate::ErrorKind::Store): it cannot be opened.
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage): no folder for it is known.
    pub fn store(&self) -> Result<&Store> {
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        let root = self.home.clone().map_or_else(Store::default_root, Ok)?;
        let store = Store::open(root)?;
        Ok(self.store.get_or_init(|| store))
    }

    /// As `store`, from a future: opening may wait for a disk or another process, and must not
    /// block the caller's executor.
    async fn open_store(&self) -> Result<Store> {
        match self.store.get() {
            Some(store) => Ok(store.clone()),
            None => {
                let this = self.clone();
                blocking(move || this.store().cloned()).await
            }
        }
    }

    /// The client for registries.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Where events go.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The token that cancels operations.
    pub fn cancellation(&self) -> &CancellationToken {
        &self.cancel
    }
}

/// Names an image of the store off the network's threads: that waits for the disk.
pub(crate) async fn name_image(store: &Store, names: &[Reference], record: ImageRecord) -> Result<()> {
    let (store, names) = (store.clone(), names.to_vec());
    blocking(move || names.iter().try_for_each(|name| store.tag(name, &record))).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Transport;
    use crate::oci::Platform;

    /// If this compiles, operations can be given to `tokio::spawn`.
    #[test]
    fn operations_are_futures_that_any_thread_may_drive() {
        fn sendable(_: impl Send) {}
        let mpimg = Mpimg::new(Options::default());
        sendable(mpimg.build(crate::build::BuildRequest::new("."), &BuildOutputs::default()));
        sendable(mpimg.push(PushRequest::new(PushSource::Build(crate::build::BuildRequest::new(".")))));
        sendable(mpimg.check(&CheckSubject::parse("127.0.0.1:1/a").unwrap()));
        sendable(mpimg.inspect(Transport::parse("a").unwrap(), &Platform::default(), false));
        sendable(mpimg.diff(Transport::parse("a").unwrap(), Transport::parse("b").unwrap(), &Platform::default()));
        sendable(mpimg.copy(CopyRequest::new(Transport::parse("a").unwrap(), Transport::parse("b").unwrap())));
        #[cfg(feature = "run")]
        sendable(mpimg.run(RunRequest::new("a")));
        sendable(mpimg.login("127.0.0.1:1", "user", "password"));
    }
}
