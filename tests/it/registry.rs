//! Pushing and pulling, against Debian's docker-registry and nginx, skopeo as the judge, and a server that misbehaves on order.

mod distribution;
mod faults;
mod fixture;
mod proxy;
mod resume;
