//! Reading what a container has written.

use std::collections::VecDeque;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Mpimg, blocking};
use crate::container::{Container, Follow, Stream};
use crate::error::Result;

/// Which part of a log is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Wait for more until the container ends.
    pub follow: bool,
    /// Only the last lines of what is there; all of them without it.
    pub tail: Option<usize>,
}

impl Mpimg {
    /// Hands over what a container has written, each piece with its stream and its time since 1970.
    /// Returns when all is read, with [`LogOptions::follow`] once the container has ended or the
    /// operations are cancelled.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): there is no such container; and what
    /// `output` returns.
    pub async fn logs(
        &self,
        container: &str,
        options: LogOptions,
        mut output: impl FnMut(Stream, Duration, &[u8]) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let (container, cancel) = (self.container(container)?, self.cancellation().clone());
        blocking(move || read_logs(&container, options, &cancel, &mut output)).await
    }
}

/// The blocking part of [`Mpimg::logs`], with a token of its own.
///
/// # Errors
/// See [`Mpimg::logs`].
pub fn read_logs(container: &Container, options: LogOptions, cancel: &CancellationToken, output: &mut Follow<'_>) -> Result<()> {
    // What is there is read to its end even if there is nothing to wait for.
    let only_what_is_there = CancellationToken::new();
    only_what_is_there.cancel();
    let cancel = if options.follow { cancel } else { &only_what_is_there };
    let Some(most) = options.tail else { return container.follow(cancel, output) };
    let mut last: VecDeque<(Stream, Duration, Vec<u8>)> = VecDeque::new();
    let mut seen = 0;
    container.follow(&only_what_is_there, &mut |stream, time, text| {
        seen += 1;
        last.extend(text.split_inclusive(|byte| *byte == b'\n').map(|line| (stream, time, line.to_vec())));
        while last.len() > most {
            last.pop_front();
        }
        Ok(())
    })?;
    last.iter().try_for_each(|(stream, time, text)| output(*stream, *time, text))?;
    if !options.follow {
        return Ok(());
    }
    container.follow(cancel, &mut |stream, time, text| {
        // What was handed over or left out above is read once more.
        if seen > 0 {
            seen -= 1;
            return Ok(());
        }
        output(stream, time, text)
    })
}
