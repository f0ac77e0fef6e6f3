//! `mpimg prune`: frees the space of what nothing needs any more.

use clap::Args;
use serde_json::json;

use crate::cli::flags::{ConnectionFlags, parsed};
use crate::cli::size::Size;
use crate::cli::terminal::{Answer, Terminal};
use crate::error::Result;
use crate::operation::PrunedStore;
use crate::store::PruneOptions;

const EXAMPLES: &str = "\
Examples:
  mpimg prune                        What neither a name nor the cache refers to
  mpimg prune --keep-storage 10GB    Also the oldest entries of the build cache
  mpimg prune --all                  Also the whole build cache";

/// Free space in the local store
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Prune {
    /// Also remove the whole build cache, with the folders of `RUN --mount=type=cache`, and all
    /// unpacked layers
    #[arg(short, long)]
    all: bool,

    /// Shrink the build cache, entries unused for longest first, until the store takes at most this
    /// much: 10GB, 500MB
    #[arg(long, value_name = "SIZE", value_parser = parsed::<Size>, conflicts_with = "all")]
    keep_storage: Option<Size>,
}

impl Prune {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<()> {
        let mpimg = ConnectionFlags::default().mpimg(terminal, None);
        let keep_storage = self.keep_storage.map(|Size(bytes)| bytes);
        let options = PruneOptions { keep_storage, keep_cache: None, all: self.all };
        let PrunedStore { report, left, .. } = mpimg.prune(options).await?;
        let (blobs, records, unpacked, mounts) = (report.blobs, report.cache_records, report.unpacked, report.mounts);
        terminal.answer(&Answer {
            text: format!(
                "Removed {blobs} blobs, {records} cache entries, {mounts} cache folders, {unpacked} unpacked layers\nFreed   {}\nLeft    {}\n",
                Size(report.freed),
                Size(left)
            ),
            quiet: format!("{}\n", Size(report.freed)),
            json: json!({ "blobs": blobs, "cache_records": records, "mounts": mounts, "unpacked": unpacked, "freed": report.freed, "left": left }),
        })
    }
}
