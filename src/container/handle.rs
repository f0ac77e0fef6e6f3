//! A container by handle: start, find, watch, stop, remove.
//!
//! Refuses to start an ended one again: its process is gone, and so is what it wrote unless that
//! was to be kept.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::ContainerSpec;
use super::attached::Attached;
use super::launch::launch;
use super::log::{LogReader, Stream};
use super::record::{self, ContainerInfo, ContainerState, Folder, Outcome};
use super::stats::{self, Stats};
use super::watch::Watch;
use crate::error::{Error, ErrorKind, Result, Setting};
use crate::image::Image;
use crate::store::Store;

/// What [`Container::follow`] hands over: the stream, the time since 1970, the text.
pub type Follow<'a> = dyn FnMut(Stream, Duration, &[u8]) -> Result<()> + 'a;

/// How long a killed container may take to be taken down.
const KILLED: Duration = Duration::from_secs(20);

/// A container of the store. It lives by itself: dropping this changes nothing.
#[derive(Debug, Clone)]
pub struct Container {
    id: String,
    folder: Folder,
}

impl Container {
    /// Starts a container of `image` that outlives this process; `name` is how the image is called
    /// in lists. Returns when its command runs. `note` gets what the user should know: which
    /// network it has, a limit that does not hold.
    ///
    /// Blocks. Inside a tokio runtime, call it off the async threads; layers that are still in a
    /// registry need such a runtime around.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`]: no command, a taken name. [`ErrorKind::Network`]: a taken port.
    /// [`ErrorKind::Sandbox`]: this machine cannot run it. Nothing is left behind then.
    pub fn start(store: &Store, image: &Image, name: &str, spec: &ContainerSpec, note: &mut dyn FnMut(&str)) -> Result<Self> {
        if spec.interactive {
            return Err(Error::new(ErrorKind::Usage, "a container in the background has no standard input")
                .with_hint(format!("leave out {}, or attach to the container", Setting::Interactive)));
        }
        let launched = launch(store, image, name, spec, false, note)?;
        Ok(Self { id: launched.id, folder: launched.folder })
    }

    /// As [`start`](Self::start), but the container ends with the value that is returned, or with
    /// this process.
    pub fn attach(
        store: &Store,
        image: &Image,
        name: &str,
        spec: &ContainerSpec,
        note: &mut dyn FnMut(&str),
    ) -> Result<Attached> {
        launch(store, image, name, spec, true, note).map(Attached::new)
    }

    /// Makes a container of `image` that is started later, by
    /// [`start_created`](Self::start_created). Its layers are fetched.
    ///
    /// # Errors
    /// Those of [`start`](Self::start) that show without starting anything.
    pub fn create(store: &Store, image: &Image, name: &str, spec: &ContainerSpec) -> Result<Self> {
        super::launch::create(store, image, name, spec).map(|(folder, id)| Self { id, folder })
    }

    /// Starts a container that [`create`](Self::create) has made, of the same image.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`]: it was started before; and those of [`start`](Self::start). It stays
    /// as it was.
    pub fn start_created(&self, store: &Store, image: &Image, note: &mut dyn FnMut(&str)) -> Result<()> {
        self.expect_created()?;
        super::launch::start(store, image, &self.folder, false, note).map(drop)
    }

    /// As [`start_created`](Self::start_created), but the container ends with the value that is
    /// returned, or with this process.
    ///
    /// # Errors
    /// See there.
    pub fn attach_created(&self, store: &Store, image: &Image, note: &mut dyn FnMut(&str)) -> Result<Attached> {
        self.expect_created()?;
        super::launch::start(store, image, &self.folder, true, note).map(Attached::new)
    }

    fn expect_created(&self) -> Result<()> {
        match self.info()?.state {
            ContainerState::Created => Ok(()),
            _ => Err(Error::new(ErrorKind::Usage, format!("container `{}` was started before", self.id))
                .with_hint("start a new one: an ended container is not started again")),
        }
    }

    /// The container that a name, an ID or the beginning of one means.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]: there is none, or more than one.
    pub fn find(store: &Store, name: &str) -> Result<Self> {
        record::find(store, name).map(|(folder, info)| Self { id: info.id, folder })
    }

    /// All containers, those that have ended and were not removed included, newest first.
    pub fn list(store: &Store) -> Result<Vec<ContainerInfo>> {
        Ok(record::list(store)?.into_iter().map(|(_, info)| info).collect())
    }

    /// Where all that is known of it is.
    pub(super) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// The folder with what its command writes.
    pub(super) fn scratch(&self) -> std::path::PathBuf {
        self.folder.scratch()
    }

    /// Its ID: 12 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What is known of it now.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]: it was removed.
    pub fn info(&self) -> Result<ContainerInfo> {
        self.folder.look()
    }

    /// What it uses now.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]: it is not running.
    pub fn stats(&self) -> Result<Stats> {
        stats::measure(&self.info()?)
    }

    /// The processes in it, as this machine numbers them.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]: it was removed.
    pub fn processes(&self) -> Result<Vec<i32>> {
        Ok(stats::processes(&self.info()?).into_iter().collect())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// [`ErrorKind::Sandbox`]: it was lost with its own process. [`ErrorKind::NotFound`]: it was
    /// removed. [`ErrorKind::Interrupted`].
    pub fn wait(&self, cancel: &CancellationToken) -> Result<Outcome> {
        let changes = Watch::new(&self.folder, Some(cancel))?;
        loop {
            if let Some(outcome) = self.outcome()? {
                return Ok(outcome);
            }
            if cancel.is_cancelled() {
                return Err(Error::new(ErrorKind::Interrupted, "stopped waiting for the container"));
            }
            changes.wait(None);
        }
    }

    /// How it ended, if it has; nothing of it runs any more then.
    fn outcome(&self) -> Result<Option<Outcome>> {
        match self.info()?.state {
            ContainerState::Created | ContainerState::Starting | ContainerState::Running => Ok(None),
            ContainerState::Ended(outcome) => Ok((!self.folder.is_alive()).then_some(outcome)),
            ContainerState::Lost => {
                Err(Error::new(ErrorKind::Sandbox, format!("container `{}` was killed with its own process", self.id)))
            }
        }
    }

    /// Sends its command a signal. One that does not run gets none.
    pub fn signal(&self, number: i32) -> Result<()> {
        self.order(&format!("signal {number}\n"))
    }

    /// Kills it with all that it has started, at once.
    pub fn kill(&self) -> Result<()> {
        self.order("kill\n")?;
        self.ends_within(KILLED).and_then(|ended| match ended {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Sandbox, format!("container `{}` does not end", self.id))
                .with_hint("its processes may wait for a disk; try again")),
        })
    }

    /// Sends its command the image's STOPSIGNAL and waits; kills it with all that it has started
    /// where it runs longer than `grace`. Returns when nothing of it runs or is mounted. One that
    /// has ended is left as it is.
    pub fn stop(&self, grace: Duration) -> Result<()> {
        let info = self.info()?;
        if !grace.is_zero() {
            self.signal(info.stop_signal)?;
            if self.ends_within(grace)? {
                return Ok(());
            }
        }
        self.kill()
    }

    /// Kills it if it runs, and forgets it: log and exit status, too.
    pub fn remove(&self) -> Result<()> {
        let gone = |error: Error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) };
        self.kill().or_else(gone)?;
        match self.info() {
            Ok(info) => self.folder.remove(info.isolation),
            Err(error) => gone(error),
        }
    }

    /// Hands over all that its command has written so far.
    pub fn logs(&self, output: &mut dyn FnMut(Stream, &[u8])) -> Result<()> {
        if self.info()?.state == ContainerState::Created {
            return Ok(());
        }
        let mut reader = LogReader::open(&self.folder.log())?;
        while let Some((stream, _, text)) = reader.next()? {
            output(stream, &text);
        }
        Ok(())
    }

    /// As [`logs`](Self::logs), and waits for more until it has ended or `cancel` is thrown.
    /// `output` also gets each text's time since 1970.
    pub fn follow(&self, cancel: &CancellationToken, output: &mut Follow<'_>) -> Result<()> {
        if self.info()?.state == ContainerState::Created {
            return Ok(());
        }
        let changes = Watch::new(&self.folder, Some(cancel))?;
        let mut reader = LogReader::open(&self.folder.log())?;
        loop {
            // Asked first: what is written before the end is then read after it.
            let alive = self.folder.is_alive();
            while let Some((stream, time, text)) = reader.next()? {
                output(stream, time, &text)?;
            }
            if !alive || cancel.is_cancelled() {
                return Ok(());
            }
            changes.wait(None);
        }
    }

    fn order(&self, line: &str) -> Result<()> {
        let path = self.folder.orders();
        let changes = Watch::new(&self.folder, None)?;
        loop {
            // Without somebody who reads, opening would wait for one.
            let opened = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&path);
            match opened.and_then(|mut pipe| pipe.write_all(line.as_bytes())) {
                Ok(()) => return Ok(()),
                // Ended: there is nothing to be done.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
                Err(error) if error.raw_os_error() != Some(libc::ENXIO) => return Err(Error::io("write to", &path, error)),
                // Still being set up (layers may have to be unpacked), or ended at this moment.
                Err(_) if self.folder.is_alive() => changes.wait(None),
                Err(_) => return Ok(()),
            }
        }
    }

    fn ends_within(&self, time: Duration) -> Result<bool> {
        let until = Instant::now() + time;
        let changes = Watch::new(&self.folder, None)?;
        while self.folder.is_alive() {
            if Instant::now() >= until {
                return Ok(false);
            }
            changes.wait(Some(until));
        }
        // One whose own process was killed leaves something to clean up.
        match self.folder.look() {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(true),
        }
    }
}
