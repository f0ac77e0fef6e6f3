//! Projects, registries and what a command left.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use mpimg::serve::{AuthOptions, AuthScheme, Fault, Registry, RegistryOptions, RequestInfo, User};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::home::Home;

/// A project that needs nothing but itself.
pub(crate) const DOCKERFILE: &str = "FROM scratch\nCOPY commands.cfg .\nCOPY app app\nCMD [\"run\"]\n";

/// Makes an SDK project in a folder of the home.
pub(crate) fn project(home: &Home) -> PathBuf {
    let folder = folder(home, "project", DOCKERFILE);
    write(&folder, "manifest.txt", r#"{"name": "iSDK_Hello", "version": "1.2.3", "adapter_kinds": ["HelloAdapter"]}"#);
    folder
}

/// Makes a folder with a Dockerfile and the files that [`DOCKERFILE`] copies.
pub(crate) fn folder(home: &Home, name: &str, dockerfile: &str) -> PathBuf {
    let folder = home.path().join(name);
    std::fs::create_dir_all(folder.join("app")).unwrap();
    write(&folder, "Dockerfile", dockerfile);
    write(&folder, "commands.cfg", "[Commands]\n");
    write(&folder, "app/adapter.py", "print('hello')\n");
    folder
}

pub(crate) fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).unwrap();
}

/// A registry of this process; it ends with the value.
pub(crate) struct Serving {
    pub(crate) host: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Serving {
    pub(crate) fn open() -> Self {
        Self::with(RegistryOptions::default())
    }

    /// One where `faults` decides what happens to a request.
    pub(crate) fn faulty(faults: impl Fn(&RequestInfo) -> Fault + Send + Sync + 'static) -> Self {
        Self::with(RegistryOptions { faults: Some(Arc::new(faults)), ..RegistryOptions::default() })
    }

    /// One where only `user` with password `pass word` may do anything.
    pub(crate) fn private() -> Self {
        let users = vec![User::new("user", "pass word")];
        let auth = Some(AuthOptions { users, scheme: AuthScheme::Basic, anonymous_pull: false });
        Self::with(RegistryOptions { auth, ..RegistryOptions::default() })
    }

    /// One that gives tokens, to `name` with `password` alone.
    pub(crate) fn with_tokens(name: &str, password: &str) -> Self {
        let scheme = AuthScheme::Bearer { lifetime: Duration::from_secs(300) };
        let auth = Some(AuthOptions { users: vec![User::new(name, password)], scheme, anonymous_pull: false });
        Self::with(RegistryOptions { auth, ..RegistryOptions::default() })
    }

    fn with(options: RegistryOptions) -> Self {
        // Nobody pulls the plug of a test.
        let options = RegistryOptions { durable: false, grace: Duration::ZERO, ..options };
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, addr) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let server = Registry::open(options).unwrap().bind("127.0.0.1:0").await.unwrap();
                ready.send(server.addr()).unwrap();
                server.run(async move { drop(stopped.await) }).await.unwrap();
            });
        });
        Self { host: addr.recv().unwrap().to_string(), stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// What a command left.
pub(crate) struct Left {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Left {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Standard output, which must be one JSON object and its line feed.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.out.lines().count(), 1, "{}\n{}", self.out, self.err);
        serde_json::from_str(&self.out).unwrap()
    }

    /// The same, of a command that succeeded.
    pub(crate) fn done(self) -> Self {
        assert_eq!(self.code, Some(0), "{}\n{}", self.out, self.err);
        self
    }
}

/// Runs a command to its end.
pub(crate) fn run<const N: usize>(command: &mut Command, arguments: [&str; N]) -> Left {
    Left::of(command.args(arguments).output().unwrap())
}

/// Whether the text is a digest.
pub(crate) fn is_digest(text: &str) -> bool {
    mpimg::oci::Digest::parse(text).is_ok()
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
