//! The isolation of a build's RUN steps: tried out once, and where a RUN is certain to come, while
//! the steps before it are done.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::{Builder, JoinHandle};

use crate::error::Result;
use crate::sandbox::{Isolation, IsolationMode};
use crate::store::Store;

/// The isolation, or how far it is known.
#[derive(Default)]
pub(super) struct ChosenIsolation {
    chosen: OnceLock<Isolation>,
    ahead: Mutex<Option<JoinHandle<Result<Isolation>>>>,
}

impl ChosenIsolation {
    /// Begins to try isolations, beside what the caller does next. Saves about 25 ms, most of which
    /// is the copy of this program that the sandbox is started from.
    pub(super) fn begin(&self, store: &Store, mode: IsolationMode) {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        if self.chosen.get().is_none() && ahead.is_none() {
            let store = store.clone();
            // Where there is no thread to be had, it is tried when it is needed.
            *ahead = Builder::new().name("isolation".into()).spawn(move || detect(&store, mode)).ok();
        }
    }

    /// The isolation, and whether this is the first to hear of it. Waits until one has been tried.
    pub(super) fn get(&self, store: &Store, mode: IsolationMode) -> Result<(&Isolation, bool)> {
        if let Some(chosen) = self.chosen.get() {
            return Ok((chosen, false));
        }
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        let mut is_first = false;
        if self.chosen.get().is_none() {
            let panicked = |panic| std::panic::resume_unwind(panic);
            let found = ahead.take().map_or_else(|| detect(store, mode), |thread| thread.join().unwrap_or_else(panicked))?;
            is_first = self.chosen.set(found).is_ok();
        }
        drop(ahead);
        Ok((self.chosen.wait(), is_first))
    }
}

impl Drop for ChosenIsolation {
    fn drop(&mut self) {
        // A build that failed before its RUN: what is tried out goes with it.
        let ahead = self.ahead.get_mut().unwrap_or_else(PoisonError::into_inner);
        drop(ahead.take().map(JoinHandle::join));
    }
}

fn detect(store: &Store, mode: IsolationMode) -> Result<Isolation> {
    // What is tried out goes with this process, however it ends.
    let scratch = store.scratch()?;
    Isolation::detect(scratch.path(), mode)
}
