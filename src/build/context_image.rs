//! The files of a folder as an image of one layer: what FROM and `--from` see of a build context
//! that has a name.

use super::guarded_walk::GuardedWalk;
use super::item::{Content, LayerItem};
use super::session::Session;
use crate::context::{BuildContext, Patterns};
use crate::error::Result;
use crate::image::{Image, ImageConfig, Layer};
use crate::oci::Platform;
use crate::store::BlobSource;

/// Packs what `context` holds, with the owners and times that COPY gives files of the build
/// context.
pub(super) fn of_context(session: &Session<'_>, context: &BuildContext, name: &str, platform: &Platform) -> Result<Image> {
    let instruction = format!("the build context `{name}`");
    let exclude = Patterns::default();
    let walk = GuardedWalk { session, instruction: &instruction, exclude: &exclude };
    let mut writer = session.layer_writer(false)?;
    for source in context.sources(".")? {
        for walked in source.walk(&exclude)? {
            let walked = walked?;
            walk.check(&walked)?;
            let mut entry = walked.entry.clone();
            if entry.path.is_root() {
                continue;
            }
            (entry.metadata.uid, entry.metadata.gid, entry.metadata.mtime) = (0, 0, session.times.context);
            let content = if entry.kind.size() > 0 { Content::Context(Box::new(walked)) } else { Content::None };
            LayerItem::new(entry, content).append(&mut writer)?;
        }
    }
    let finished = writer.finish()?;
    session.store.write_layer_data(&finished.diff_id, crate::store::LayerData::Index, finished.index.to_bytes())?;
    let path = finished.sink.commit(finished.descriptor.clone(), finished.diff_id)?;
    let layer = Layer { diff_id: finished.diff_id, descriptor: finished.descriptor, source: BlobSource::File(path) };
    Image::assemble(ImageConfig::scratch(platform), vec![layer], Default::default(), session.request.format)
}
