//! What a document says of its own making: by which program, and when, which is when the image was
//! made.

use crate::image::Image;

/// Name and version of the program.
pub(super) const TOOL: (&str, &str) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));

/// The image's time in whole seconds, as both formats want it; one that tells none gets 1970.
pub(super) fn created(image: &Image) -> String {
    let seconds = image.config().created.as_deref().and_then(|time| time.strip_suffix('Z')?.get(..19));
    format!("{}Z", seconds.unwrap_or("1970-01-01T00:00:00"))
}
