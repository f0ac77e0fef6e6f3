//! Registries that cannot be had on one machine, played as their operators and their users describe them (docs/registries.md):
//! Harbor, Amazon ECR, Docker Hub, GHCR, Quay, Google Artifact Registry, zot, ACR. What is asserted is what a user sees.

mod aws;
mod aws_endpoints;
mod aws_profiles;
mod checks;
mod credentials;
mod ecr;
mod habits;
mod harbor;
mod hub;
mod locations;
mod login;
mod logins;
mod matrix;
mod network;
mod others;
mod recipes;
mod registry;
pub(crate) mod wire;
mod world;
