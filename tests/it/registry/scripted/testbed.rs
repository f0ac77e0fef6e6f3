//! A registry by its real name, and the command as a user of it: every request goes through a proxy
//! to the script.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tempfile::TempDir;

use super::auth::Auth;
use super::http_server::{HttpServer, Reply, Request, Script, authority};
use super::memory::{Quirks, Registry};
use crate::cli::fixture::{Left, project};
use crate::home::Home;
use crate::registry::fixture::noise;

/// What answers in the registry's place now and then.
pub(super) type Override = Box<dyn FnMut(&Request) -> Option<Reply> + Send>;

/// The same with a hand in the registry.
pub(super) type RegistryOverride = Box<dyn FnMut(&mut Registry, &Request) -> Option<Reply> + Send>;

/// A registry, its auth, and what is out of the ordinary.
pub(super) struct Service {
    pub(super) registry: Registry,
    pub(super) auth: Option<Auth>,
    /// Before anything else.
    pub(super) before_auth: Override,
    /// Once the request has passed the auth.
    pub(super) after_auth: Override,
    /// The same with a hand in the registry.
    pub(super) with_registry: RegistryOverride,
    /// On every answer.
    pub(super) headers: Vec<(&'static str, &'static str)>,
}

impl Script for Service {
    fn answer(&mut self, request: &Request) -> Reply {
        let reply = self.decide(request);
        let Reply::Response(mut answer) = reply else { return reply };
        self.headers.iter().for_each(|(name, value)| answer.headers.push(((*name).into(), (*value).into())));
        answer.into()
    }
}

impl Service {
    pub(super) fn new(quirks: Quirks, auth: Option<Auth>) -> Self {
        Self {
            registry: Registry::new(quirks),
            auth,
            before_auth: Box::new(|_| None),
            after_auth: Box::new(|_| None),
            with_registry: Box::new(|_, _| None),
            headers: Vec::new(),
        }
    }

    fn decide(&mut self, request: &Request) -> Reply {
        if let Some(reply) = (self.before_auth)(request) {
            return reply;
        }
        if let Some(auth) = &mut self.auth
            && let Some(answer) = auth.token(request).or_else(|| auth.refuses(request))
        {
            return answer.into();
        }
        let odd = (self.after_auth)(request).or_else(|| (self.with_registry)(&mut self.registry, request));
        odd.unwrap_or_else(|| self.registry.answer(request))
    }
}

/// A service by its name, and a user's home with a project in it.
pub(super) struct Testbed {
    pub(super) server: HttpServer<Service>,
    folder: TempDir,
    pub(super) home: Home,
    secrets: Vec<String>,
    variables: Vec<(String, String)>,
}

pub(super) const PASSWORD: &str = "correct-horse-battery";

impl Testbed {
    /// `hosts` are the names of the service, the registry's own first.
    pub(super) fn new(hosts: &[&str], service: Service) -> Self {
        let (server, folder) = HttpServer::behind_proxy(hosts, service);
        let home = Home::new();
        project(&home);
        Self { server, folder, home, secrets: vec![PASSWORD.into()], variables: Vec::new() }
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

    /// The command, in this testbed.
    pub(super) fn mpimg(&self) -> Command {
        let mut command = self.home.mpimg();
        command.env("HTTPS_PROXY", format!("http://{}", self.server.address)).env("SSL_CERT_FILE", authority(&self.folder));
        command.env("MPIMG_LOG", self.log()).envs(self.variables.iter().cloned());
        command
    }

    /// Where the commands log everything that they do; searched for secrets by [`Testbed::check`].
    fn log(&self) -> std::path::PathBuf {
        self.home.path().join("mpimg.log")
    }

    /// Runs the command to its end. No secret may show.
    pub(super) fn run(&self, arguments: &[&str]) -> Left {
        self.check(Left::of(self.mpimg().args(arguments).output().unwrap()))
    }

    pub(super) fn check(&self, left: Left) -> Left {
        let service = self.server.script.lock().unwrap();
        let auth = service.auth.iter().flat_map(Auth::secrets);
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        for secret in self.secrets.iter().cloned().chain(auth) {
            assert!(!log.contains(&secret), "{secret} is in the log:\n{log}");
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
        self.server.script.lock().unwrap().registry.validate(path, digest)
    }

    /// The service, to change it or look into it.
    pub(super) fn service<T>(&self, look: impl FnOnce(&mut Service) -> T) -> T {
        look(&mut self.server.script.lock().unwrap())
    }
}

/// The error, its causes and the hint, out of everything on standard error.
pub(super) fn shown_error(left: &Left) -> String {
    let from = left.err.find("error: ").or(left.err.find("warning: ")).unwrap_or_else(|| panic!("no error in:\n{}", left.err));
    left.err[from..].to_owned()
}
