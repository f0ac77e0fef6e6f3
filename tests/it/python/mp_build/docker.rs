//! A real Docker engine for the SDK's own mp-build: a dockerd of this test's alone, with a network
//! that reaches the package index.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::registry::fixture::free_address;
use crate::{judge, judge_path, run};

/// A dockerd that shares nothing with the machine's: files, socket and bridge are its own. Ended
/// with the test.
pub(super) struct Docker {
    folder: TempDir,
    daemon: Child,
    network: Network,
}

impl Docker {
    pub(super) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let network = Network::new();
        let log = std::fs::File::create(at("log")).unwrap();
        // In a mount namespace of its own, and ended with this test: nothing stays mounted or
        // running when that is killed.
        let mut daemon = judge("unshare");
        daemon.args(["--mount", "--propagation", "private", "setpriv", "--pdeathsig", "TERM"]).arg(judge_path("dockerd"));
        daemon
            .args(["--bridge", &network.bridge, "--iptables=false", "--host"])
            .arg(format!("unix://{}", at("socket").display()));
        for (flag, name) in [("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "pid")] {
            daemon.arg(flag).arg(at(name));
        }
        let daemon = daemon.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let mut docker = Self { folder, daemon, network };
        let begun = Instant::now();
        while !docker.docker().arg("info").output().unwrap().status.success() {
            let ended = docker.daemon.try_wait().unwrap().is_some() || begun.elapsed() > Duration::from_secs(60);
            assert!(!ended, "dockerd does not start:\n{}", std::fs::read_to_string(docker.folder.path().join("log")).unwrap());
            std::thread::sleep(Duration::from_millis(100));
        }
        docker
    }

    /// docker's command, logged in nowhere.
    pub(super) fn docker(&self) -> Command {
        let mut docker = judge("docker");
        self.reach(&mut docker).env("DOCKER_CONFIG", self.folder.path().join("nobody"));
        docker
    }

    /// Lets a command use this engine.
    pub(super) fn reach<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("DOCKER_HOST", format!("unix://{}", self.folder.path().join("socket").display()))
    }

    /// Takes the images of an archive over.
    pub(super) fn load(&self, archive: &Path) {
        run(self.docker().args(["load", "--quiet", "--input"]).arg(archive));
    }

    /// What an adapter's server says to GET /adapterDefinition, started from this image.
    pub(super) fn adapter_definition(&self, image: &str) -> Value {
        let port = free_address().port();
        let container =
            run(self.docker().args(["run", "--detach", "--rm", "--publish", &format!("127.0.0.1:{port}:8080"), image]));
        let url = format!("http://127.0.0.1:{port}/adapterDefinition");
        let retry = ["--retry", "100", "--retry-delay", "0", "--retry-max-time", "60", "--retry-all-errors"];
        let answer = run(judge("curl").args(["--silent", "--fail"]).args(retry).arg(url));
        run(self.docker().args(["kill", container.trim()]));
        serde_json::from_str(&answer).unwrap()
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // Containers keep bridge and mounts busy.
        let containers = self.docker().args(["ps", "--all", "--quiet"]).output().unwrap().stdout;
        for container in String::from_utf8_lossy(&containers).split_whitespace() {
            let _ = self.docker().args(["rm", "--force", container]).output();
        }
        let _ = Command::new("kill").arg(self.daemon.id().to_string()).status();
        let _ = self.daemon.wait();
        self.network.take_down();
    }
}

/// A bridge whose containers reach what this machine reaches. Docker's own would be in the way of
/// other engines.
struct Network {
    bridge: String,
    rules: Vec<Vec<String>>,
}

impl Network {
    fn new() -> Self {
        let id = std::process::id();
        let bridge = format!("mpimg{id}");
        let subnet = format!("10.{}.{}", 200 + id / 256 % 50, id % 256);
        run(judge("ip").args(["link", "add", &bridge, "type", "bridge"]));
        let rule = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let rules = vec![
            rule(&format!("nat -A POSTROUTING -s {subnet}.0/24 ! -o {bridge} -j MASQUERADE")),
            rule(&format!("filter -A FORWARD -i {bridge} -j ACCEPT")),
            rule(&format!("filter -A FORWARD -o {bridge} -j ACCEPT")),
        ];
        let network = Self { bridge, rules };
        run(judge("ip").args(["addr", "add", &format!("{subnet}.1/24"), "dev", &network.bridge]));
        run(judge("ip").args(["link", "set", &network.bridge, "up"]));
        for rule in &network.rules {
            run(judge("iptables").args(["--wait", "--table"]).args(rule));
        }
        network
    }

    fn take_down(&self) {
        for rule in &self.rules {
            let delete = rule.iter().map(|word| if word == "-A" { "-D" } else { word });
            let _ = judge("iptables").args(["--wait", "--table"]).args(delete).output();
        }
        let _ = judge("ip").args(["link", "delete", &self.bridge]).output();
    }
}
