//! The expansion of EXPOSE, STOPSIGNAL, VOLUME and WORKDIR, whose values have forms of their own.
//!
//! Ports, signals and paths are checked after their variables are expanded.

use crate::error::Result;

use super::super::path::join;
use super::super::port::{has_host_part, parse_ports};
use super::super::signal;
use super::super::suggest::did_you_mean;
use super::super::warning::Rule;
use super::super::{Instruction, Located, Port};
use super::{Lexer, StageScope};

const MOST_PORTS: usize = 3 * 65536;

impl StageScope {
    pub(super) fn expand_ports(&mut self, step: &Located<Instruction>, words: &[String]) -> Result<Vec<Port>> {
        let lexer = Lexer::new(step.location().escape);
        let mut ports: Vec<Port> = Vec::new();
        for word in words {
            let wrong = |message: String| {
                step.error_at(word, message).with_hint("write it as EXPOSE PORT[/tcp|/udp|/sctp], such as EXPOSE 8080")
            };
            for port in self.lex(step, word, lexer).map_err(|error| step.word_error(word, error))?.words {
                self.check_port(step, &port);
                ports.extend(parse_ports(&port).map_err(wrong)?);
            }
            if ports.len() > MOST_PORTS {
                return Err(wrong("there are more ports than numbers for them".into()));
            }
        }
        Ok(ports)
    }

    fn check_port(&mut self, step: &Located<Instruction>, port: &str) {
        let protocol = port.split_once('/').map_or("", |(_, protocol)| protocol);
        if protocol.bytes().any(|byte| byte.is_ascii_uppercase()) {
            let message = format!("write the protocol `{protocol}` in lower case");
            self.warnings.push(Rule::ExposeProtoCasing, message, Some(step.snippet_of(protocol)));
        }
        if has_host_part(port) {
            let message = format!("`{port}`: addresses and ports of the host have no effect in EXPOSE");
            self.warnings.push(Rule::ExposeInvalidFormat, message, Some(step.snippet_of(port)));
        }
    }

    pub(super) fn expand_signal(&mut self, step: &Located<Instruction>, word: &str) -> Result<String> {
        let name = self.word(step, word)?;
        if signal::is_signal(&name) {
            return Ok(name);
        }
        let hint = match signal::nearest(&name) {
            Some(meant) => did_you_mean(&meant),
            None => "write a name such as SIGTERM, or a number".to_owned(),
        };
        Err(step.error_at(word, format!("`{name}` is not a signal")).with_hint(hint))
    }

    pub(super) fn expand_volumes(&mut self, step: &Located<Instruction>, words: &[String]) -> Result<Vec<String>> {
        let volumes = self.words(step, words)?;
        match volumes.iter().position(String::is_empty) {
            Some(index) => Err(step.error_at(&words[index], "a path of VOLUME is empty after its variables are expanded")),
            None => Ok(volumes),
        }
    }

    /// An absolute path stays as written, as in BuildKit; a relative one is joined to the one
    /// before.
    pub(super) fn expand_workdir(&mut self, step: &Located<Instruction>, word: &str) -> Result<String> {
        let path = self.word(step, word)?;
        if !path.starts_with('/') {
            if !self.has_workdir {
                let message = format!("`{path}` is relative to a folder that the base image may change");
                self.warnings.push(Rule::WorkdirRelativePath, message, Some(step.snippet_of(word)));
            }
            self.working_dir = join(&self.working_dir, &path);
        } else {
            self.working_dir = path;
        }
        self.has_workdir = true;
        Ok(self.working_dir.clone())
    }
}
