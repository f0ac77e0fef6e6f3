//! AWS: the password of an ECR registry, from whatever AWS identity this machine has. No `aws`
//! command is needed.

mod client;
pub(super) mod ecr;
mod endpoints;
mod identity;
mod machine;
mod profiles;
mod sso;
mod sts;
