//! A walk that goes on in a thread of its own while its entries are used: reading folders is most
//! of what a build costs that finds a large tree unchanged, and about half of what follows.

use std::sync::mpsc::{Receiver, SendError, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use super::walk::{Walk, WalkEntry};
use crate::error::Result;

/// Entries that come without a thread: most projects have no more.
const WITHOUT_THREAD: usize = 256;

/// Entries that are handed over at once. Each may hold a folder open, so they and those that wait
/// must stay few: many systems allow a process 1,024 descriptors.
const BATCH: usize = 32;

/// Batches that wait.
const WAITING: usize = 2;

/// The entries of a [`Walk`], in the same order.
#[derive(Debug)]
pub struct WalkAhead(State);

#[derive(Debug)]
enum State {
    /// So many entries come before a thread is tried.
    Here {
        walk: Box<Walk>,
        left: usize,
    },
    InThread(Ahead),
    Ended,
}

/// The rest of a walk.
#[derive(Debug)]
struct Ahead {
    batch: std::vec::IntoIter<Result<WalkEntry>>,
    /// The end of the walk is a batch that is not full. Taken away before the thread is joined.
    batches: Option<Receiver<Vec<Result<WalkEntry>>>>,
    is_last: bool,
    thread: Option<JoinHandle<()>>,
}

impl Walk {
    /// The same entries; a large tree is read ahead of their use.
    pub fn ahead(self) -> WalkAhead {
        WalkAhead(State::Here { walk: Box::new(self), left: WITHOUT_THREAD })
    }
}

impl Ahead {
    /// Gives the walk back where there is no thread to be had.
    fn start(walk: Box<Walk>) -> std::result::Result<Self, Box<Walk>> {
        let (sender, batches) = sync_channel(WAITING);
        let (hand_over, taken) = sync_channel(1);
        let work = move || taken.into_iter().for_each(|walk| send_all(walk, &sender));
        let Ok(thread) = Builder::new().name("walk".into()).spawn(work) else { return Err(walk) };
        hand_over.send(walk).map_err(|SendError(walk)| walk)?;
        Ok(Self { batch: Vec::new().into_iter(), batches: Some(batches), is_last: false, thread: Some(thread) })
    }

    /// Waits for the thread, and panics if it did.
    fn join(&mut self) {
        self.batches = None;
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join)
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

fn send_all(mut walk: Box<Walk>, sender: &SyncSender<Vec<Result<WalkEntry>>>) {
    loop {
        let batch: Vec<_> = walk.by_ref().take(BATCH).collect();
        let is_last = batch.len() < BATCH;
        // An error: nobody wants the rest.
        if sender.send(batch).is_err() || is_last {
            return;
        }
    }
}

impl Iterator for Ahead {
    type Item = Result<WalkEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.batch.next() {
                return Some(entry);
            }
            if self.is_last {
                return None;
            }
            match self.batches.as_ref().and_then(|batches| batches.recv().ok()) {
                Some(batch) => {
                    self.is_last = batch.len() < BATCH;
                    self.batch = batch.into_iter();
                }
                // Without its last batch only a panic ends the thread: what came so far must not
                // pass for the whole tree.
                None => {
                    self.join();
                    return None;
                }
            }
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.join();
    }
}

impl Iterator for WalkAhead {
    type Item = Result<WalkEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        if let State::Here { left: 0, .. } = self.0
            && let State::Here { walk, .. } = std::mem::replace(&mut self.0, State::Ended)
        {
            self.0 = Ahead::start(walk).map_or_else(|walk| State::Here { walk, left: usize::MAX }, State::InThread);
        }
        match &mut self.0 {
            State::Here { walk, left } => {
                *left -= 1;
                walk.next()
            }
            State::InThread(ahead) => ahead.next(),
            State::Ended => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BuildContext, ContextOptions, Patterns};
    use super::*;

    fn paths(entries: impl Iterator<Item = Result<WalkEntry>>) -> Vec<String> {
        entries.map(|entry| entry.unwrap().entry.path.to_string()).collect()
    }

    #[test]
    fn what_comes_ahead_is_the_walk() {
        for files in [0, WITHOUT_THREAD - 1, WITHOUT_THREAD, WITHOUT_THREAD + BATCH, 1000] {
            let folder = tempfile::tempdir().unwrap();
            for number in 0..files {
                std::fs::write(folder.path().join(number.to_string()), "").unwrap();
            }
            let context = BuildContext::open(folder.path(), ContextOptions::default()).unwrap();
            let walk = || context.sources(".").unwrap()[0].walk(&Patterns::default()).unwrap();
            assert_eq!(paths(walk().ahead()), paths(walk()), "{files} files");
            assert_eq!(paths(walk().ahead().take(files / 2)), paths(walk().take(files / 2)), "ended early");
        }
    }

    #[test]
    fn an_error_comes_in_its_place_and_ends_the_walk() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..600 {
            std::fs::write(folder.path().join(format!("{number:03}")), "").unwrap();
        }
        let context = BuildContext::open(folder.path(), ContextOptions::default()).unwrap();
        let mut walk = context.sources(".").unwrap()[0].walk(&Patterns::default()).unwrap().ahead();
        assert_eq!(walk.by_ref().take(10).filter(Result::is_ok).count(), 10);
        // A name that was a file in the listing and is a folder now.
        std::fs::remove_file(folder.path().join("500")).unwrap();
        std::fs::create_dir(folder.path().join("500")).unwrap();
        let rest: Vec<_> = walk.collect();
        assert_eq!(rest.len(), 491);
        assert!(rest.last().unwrap().is_err() && rest[..490].iter().all(Result::is_ok));
    }
}
