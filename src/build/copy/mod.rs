//! COPY and ADD: where sources come from, what is done to them, and how they are put into a layer.

mod add;
mod archive;
mod context_source;
mod copier;
mod destination;
mod download;
mod instruction;
mod merge;
mod repository;
mod rules;
mod stage_source;

pub(super) use add::add;
pub(super) use copier::{Copier, NewFolders};
pub(super) use instruction::copy;
