//! What a user has answered to a question whose answer is not in use yet.
//!
//! Only what a prompt offers the next time: a loss costs typing.

use std::path::PathBuf;

use super::Store;
use super::handle::Durability;
use super::layout::failed;
use crate::error::Result;
use crate::oci::Digest;

const ANSWERS: &str = "answers";

impl Store {
    /// The answer to `question`, as it was kept.
    pub fn answer(&self, question: &str) -> Option<String> {
        std::fs::read_to_string(self.answer_path(question)).ok()
    }

    /// Keeps the answer to `question`.
    ///
    /// # Errors
    /// [`ErrorKind::Store`](crate::error::ErrorKind::Store): it cannot be written.
    pub fn keep_answer(&self, question: &str, answer: &str) -> Result<()> {
        self.write_file(&self.answer_path(question), &[answer.as_bytes()], Durability::Whenever)
    }

    /// Forgets the answer to `question`.
    ///
    /// # Errors
    /// [`ErrorKind::Store`](crate::error::ErrorKind::Store): it cannot be removed.
    pub fn forget_answer(&self, question: &str) -> Result<()> {
        let path = self.answer_path(question);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed("remove", &path, error)),
            _ => Ok(()),
        }
    }

    fn answer_path(&self, question: &str) -> PathBuf {
        self.root().join(ANSWERS).join(Digest::of(question).hex())
    }
}
