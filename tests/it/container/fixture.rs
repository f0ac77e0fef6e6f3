//! A home whose containers end with it, and small looks from outside.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::home::Home;
use crate::judges;
use crate::sandbox::plain_users::{as_user, give};

/// A server of one page with the text `$PAGE`.
pub(super) const SERVER: &str = "mkdir -p /www; echo $PAGE >/www/index.html; exec httpd -f -p ${PORT:-8080} -h /www";

/// A home with the isolation that its containers use.
pub(super) struct Containers {
    pub(super) home: Home,
    isolation: &'static str,
    /// The script that becomes the user whose containers they are; without one it is this test's.
    user: Option<&'static str>,
}

/// What a command left.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) code: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
}

impl Containers {
    pub(super) fn new() -> Self {
        Self::on("root")
    }

    pub(super) fn on(isolation: &'static str) -> Self {
        Self { home: Home::new(), isolation, user: None }
    }

    /// Those of a plain user, to whom the home belongs.
    pub(super) fn of((isolation, user): (&'static str, &'static str)) -> Self {
        let home = Home::new();
        give(&home);
        Self { home, isolation, user: Some(user) }
    }

    fn program(&self) -> Command {
        self.user.map_or_else(|| self.home.mpimg(), |script| as_user(&self.home, script))
    }

    /// The image: the base, or the user's copy of it.
    pub(super) fn image(&self) -> String {
        self.user.map_or_else(base, |_| format!("oci:{}:base", self.home.path().join("base").display()))
    }

    /// `mpimg COMMAND ARGUMENTS`.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.program();
        command.args(arguments);
        command
    }

    /// `mpimg run FLAGS base SCRIPT`.
    pub(super) fn run_command(&self, flags: &[&str], script: &str) -> Command {
        let mut command = self.program();
        command.args(["run", "--isolation", self.isolation]).args(flags).arg(self.image()).args(["sh", "-c", script]);
        command
    }

    pub(super) fn run(&self, flags: &[&str], script: &str) -> Left {
        Left::of(self.run_command(flags, script).output().unwrap())
    }

    pub(super) fn mpimg(&self, arguments: &[&str]) -> Left {
        Left::of(self.command(arguments).output().unwrap())
    }

    /// Starts one in the background; what `--json` tells of it.
    pub(super) fn start(&self, flags: &[&str], script: &str) -> Value {
        let left = self.run(&[&["-d", "--json"], flags].concat(), script);
        assert_eq!(left.code, Some(0), "{left:?}");
        serde_json::from_str(&left.out).unwrap()
    }

    /// All containers, as `ps -a --json` tells them.
    pub(super) fn list(&self) -> Vec<Value> {
        let list: Value = serde_json::from_str(&self.mpimg(&["ps", "-a", "--json"]).out).unwrap();
        list["containers"].as_array().unwrap().clone()
    }

    /// Nothing of this home is mounted, kept or running: no process has its root or its program in
    /// the store, none has `marker` in its command line.
    pub(super) fn assert_nothing_left(&self, marker: &str) {
        let store = self.home.store();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(store.to_str().unwrap()), "{mounts}");
        assert_eq!(running(marker), Vec::<String>::new());
        let kept = store.join("containers").read_dir().unwrap().map(|entry| entry.unwrap().path());
        let kept: Vec<_> = kept.filter(|path| path.join("scratch").exists()).collect();
        assert_eq!(kept, Vec::<std::path::PathBuf>::new());
        // The container's own process puts these away last, when its end has been told already.
        wait_until("no work files are left", || self.home.work_files().is_empty());
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        let ids = self.mpimg(&["ps", "-aq"]).out;
        let ids: Vec<&str> = ids.lines().collect();
        if !ids.is_empty() {
            self.mpimg(&[&["stop", "--rm", "-t", "0"][..], &ids].concat());
        }
    }
}

impl Left {
    pub(super) fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// The base image of the fixtures: busybox with users `root` and `aria`.
pub(super) fn base() -> String {
    format!("oci:{}:base", judges().join("base").display())
}

/// Command lines of processes that have `marker` in it.
pub(super) fn running(marker: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.starts_with("sleep ") && line.contains(marker)).collect()
}

/// Tries until `ready`; no longer than a broken machine deserves.
pub(super) fn wait_until(what: &str, mut ready: impl FnMut() -> bool) {
    for _ in 0..1500 {
        if ready() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{what}: it does not come about");
}

/// The page that a port of this machine serves; the server may still be starting.
pub(super) fn page(port: u64) -> String {
    let mut text = String::new();
    wait_until("a page is served", || {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port as u16)) else { return false };
        text.clear();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").is_ok() && stream.read_to_string(&mut text).is_ok() && text.contains("200 OK")
    });
    text.split_once("\r\n\r\n").unwrap().1.trim().to_owned()
}

/// A port that nothing listens on at this moment.
pub(super) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Runs to its end with `input` on standard input.
pub(super) fn with_input(mut command: Command, input: &str) -> Left {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    Left::of(child.wait_with_output().unwrap())
}
