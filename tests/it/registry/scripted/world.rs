//! A registry by its real name, and the command as a user of it: every request goes through a proxy to the script.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tempfile::TempDir;

use super::login::Door;
use super::registry::{Manners, Registry};
use super::wire::{Reply, Request, Script, Wire, authority};
use crate::cli::fixture::{Left, project};
use crate::home::Home;
use crate::registry::fixture::noise;

/// What answers in the registry's place now and then.
pub(super) type Whim = Box<dyn FnMut(&Request) -> Option<Reply> + Send>;

/// The same with a hand in the registry.
pub(super) type Instead = Box<dyn FnMut(&mut Registry, &Request) -> Option<Reply> + Send>;

/// A registry, its door, and what is out of the ordinary.
pub(super) struct Service {
    pub(super) registry: Registry,
    pub(super) door: Option<Door>,
    /// Before anything else.
    pub(super) first: Whim,
    /// Once the request has passed the door.
    pub(super) inside: Whim,
    /// The same with a hand in the registry.
    pub(super) instead: Instead,
    /// On every answer.
    pub(super) headers: Vec<(&'static str, &'static str)>,
}

impl Script for Service {
    fn answer(&mut self, request: &Request) -> Reply {
        let reply = self.decide(request);
        let Reply::Answer(mut answer) = reply else { return reply };
        self.headers.iter().for_each(|(name, value)| answer.headers.push(((*name).into(), (*value).into())));
        answer.into()
    }
}

impl Service {
    pub(super) fn new(manners: Manners, door: Option<Door>) -> Self {
        Self {
            registry: Registry::new(manners),
            door,
            first: Box::new(|_| None),
            inside: Box::new(|_| None),
            instead: Box::new(|_, _| None),
            headers: Vec::new(),
        }
    }

    fn decide(&mut self, request: &Request) -> Reply {
        if let Some(reply) = (self.first)(request) {
            return reply;
        }
        if let Some(door) = &mut self.door
            && let Some(answer) = door.token(request).or_else(|| door.refuses(request))
        {
            return answer.into();
        }
        let odd = (self.inside)(request).or_else(|| (self.instead)(&mut self.registry, request));
        odd.unwrap_or_else(|| self.registry.answer(request))
    }
}

/// A service by its name, and a user's home with a project in it.
pub(super) struct World {
    pub(super) wire: Wire<Service>,
    folder: TempDir,
    pub(super) home: Home,
    secrets: Vec<String>,
    variables: Vec<(String, String)>,
}

pub(super) const PASSWORD: &str = "correct-horse-battery";

impl World {
    /// `hosts` are the names of the service, the registry's own first.
    pub(super) fn new(hosts: &[&str], service: Service) -> Self {
        let (wire, folder) = Wire::internet(hosts, service);
        let home = Home::new();
        project(&home);
        Self { wire, folder, home, secrets: vec![PASSWORD.into()], variables: Vec::new() }
    }

    /// The same, with a login stored where docker stores it.
    pub(super) fn with_login(self, key: &str, user: &str) -> Self {
        let auth = STANDARD.encode(format!("{user}:{PASSWORD}"));
        let config = json!({"auths": {key: {"auth": auth}}});
        std::fs::write(self.home.path().join("config.json"), config.to_string()).unwrap();
        self
    }

    /// A variable for the command.
    pub(super) fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Another secret that must not show.
    pub(super) fn hide(&mut self, secret: &str) {
        self.secrets.push(secret.into());
    }

    /// Puts a file of noise into the project's image.
    pub(super) fn with_file(self, size: usize) -> Self {
        std::fs::write(self.home.path().join("project/app/noise"), noise(5, size)).unwrap();
        self
    }

    /// The folder that has the authority of all its certificates.
    pub(super) fn certificates(&self) -> &TempDir {
        &self.folder
    }

    /// The command, in this world.
    pub(super) fn mpimg(&self) -> Command {
        let mut command = self.home.mpimg();
        command.env("HTTPS_PROXY", format!("http://{}", self.wire.address)).env("SSL_CERT_FILE", authority(&self.folder));
        command.envs(self.variables.iter().cloned());
        command
    }

    /// Runs the command to its end. No secret may show.
    pub(super) fn run(&self, arguments: &[&str]) -> Left {
        self.check(Left::of(self.mpimg().args(arguments).output().unwrap()))
    }

    pub(super) fn check(&self, left: Left) -> Left {
        let service = self.wire.script.lock().unwrap();
        let door = service.door.iter().flat_map(Door::secrets);
        for secret in self.secrets.iter().cloned().chain(door) {
            assert!(!left.out.contains(&secret) && !left.err.contains(&secret), "{secret} shows:\n{}\n{}", left.out, left.err);
        }
        left
    }

    /// Pushes the project at the highest level of talk; what the user reads of errors and hints.
    pub(super) fn push(&self, repository: &str) -> Left {
        self.run(&["-vv", "push", "project", "-t", "1", "-r", repository])
    }

    /// Checks the image that a push left.
    pub(super) fn validate(&self, path: &str, left: &Left) -> Vec<u64> {
        let digest = left.out.lines().find_map(|line| line.strip_prefix("DIGEST=")).unwrap_or_else(|| panic!("{}", left.err));
        self.wire.script.lock().unwrap().registry.validate(path, digest)
    }

    /// The service, to change it or look into it.
    pub(super) fn service<T>(&self, look: impl FnOnce(&mut Service) -> T) -> T {
        look(&mut self.wire.script.lock().unwrap())
    }
}

/// The error, its causes and the hint, out of everything on standard error.
pub(super) fn verdict(left: &Left) -> String {
    let from = left.err.find("error: ").or(left.err.find("warning: ")).unwrap_or_else(|| panic!("no error in:\n{}", left.err));
    left.err[from..].to_owned()
}
