//! Builds images: stages and steps over the build context, the layer pipeline, the sandbox and the
//! store.
//!
//! Knows no flags and no terminal, and pushes nothing: an image is handed to a destination. Each
//! line imports only lines below it:
//!
//! | | |
//! | --- | --- |
//! | `builder`, `check` | one build from the Dockerfile's text to the image, or what can be told of it before |
//! | `schedule` | stages side by side; gives each step the finished stages as `Sources` |
//! | `step/` | one step: expand, do, write history; the table of instructions |
//! | `copy/`, `run/` | what COPY, ADD and RUN do |
//! | `inputs` | what a step gets besides its stage |
//! | `cache/` | keys, files of the build context, records, the remote cache |
//! | `stage` | the state of a stage: config, file system, scope, users |
//! | `base`, `sdk_base`, `named_context`, `context_image` | the images that the plan names |
//! | `squash` | one layer in place of a stage's own |
//! | `sources`, `stage_tree`, `selection`, `filesystem` | layers as trees, as folders, as entries |
//! | `guarded_walk`, `session` | what one build has in its hands |
//! | `materials` | what the image was made of, for its provenance |
//! | `git_authorization`, `item`, `sink`, `outcome`, `remote_time`, `request`, `run_settings`, `times` | values |

mod allowed_bases;
mod base;
mod builder;
mod cache;
mod check;
mod chosen_isolation;
mod context_image;
mod copy;
mod filesystem;
mod git_authorization;
mod guarded_walk;
mod inputs;
mod item;
mod materials;
mod named_context;
mod outcome;
mod remote_time;
mod request;
mod run;
mod run_settings;
mod schedule;
mod sdk_base;
mod selection;
mod session;
mod sink;
mod sources;
mod squash;
mod stage;
mod stage_tree;
mod step;
mod times;

pub use allowed_bases::AllowedBase;
pub(crate) use allowed_bases::expect_allowed;
pub use base::stored_image;
pub use builder::Builder;
pub(crate) use builder::expect_folder;
pub use check::{BaseFound, BuildCheck};
pub(crate) use git_authorization::git_authorization;
pub use materials::{BuildMaterials, ImageMaterial};
pub use named_context::NamedContext;
pub use request::{BuildRequest, SdkBase};
pub use run_settings::{RunMount, RunSettings};
pub use sink::OnLayer;
