//! What a step changed, as entries of a layer.
//!
//! Refuses to write tars.

/// A tree before a step: what a later scan is compared with.
#[derive(Debug)]
pub struct Baseline;
