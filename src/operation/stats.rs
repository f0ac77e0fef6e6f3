//! What containers use at this moment.

use super::Mpimg;
use crate::container::{ContainerInfo, ContainerState, Stats};
use crate::error::Result;

/// A container, and what it uses.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ContainerStats {
    /// The container.
    pub info: ContainerInfo,
    /// What it uses.
    pub stats: Stats,
}

impl Mpimg {
    /// What these containers use; without names, all that run.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): there is no such container, or it is
    /// not running.
    pub fn stats(&self, containers: &[String]) -> Result<Vec<ContainerStats>> {
        let names = match containers {
            [] => {
                let running = self.containers()?.into_iter().filter(|info| info.state == ContainerState::Running);
                running.map(|info| info.id).collect()
            }
            names => names.to_vec(),
        };
        let measure = |name: &String| {
            let container = self.container(name)?;
            Ok(ContainerStats { stats: container.stats()?, info: container.info()? })
        };
        names.iter().map(measure).collect()
    }
}
