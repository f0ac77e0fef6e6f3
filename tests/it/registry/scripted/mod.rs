//! Registries that cannot be had on one machine, played as their operators and their users describe
//! them (docs/registries.md): Harbor, Amazon ECR, Docker Hub, GHCR, Quay, Google Artifact Registry,
//! zot, ACR. What is asserted is what a user sees.

mod attached;
mod auth;
mod aws;
mod aws_endpoints;
mod aws_profiles;
mod bases;
mod checks;
mod credentials;
mod dialects;
mod downloads;
mod early;
mod ecr;
mod harbor;
pub(crate) mod http_server;
mod hub;
mod identity;
mod locations;
mod log;
mod logins;
mod matrix;
mod memory;
mod network;
mod oddities;
mod others;
mod platforms;
mod preflight;
mod recipes;
mod testbed;
mod uploads;
