//! `--secret` and `--ssh`: what RUN may see but the image never holds.
//!
//! Private keys are not accepted as SSH sources (an agent serves them), nor secrets larger than
//! BuildKit accepts.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};
use crate::sandbox::SecretBytes;

/// BuildKit's limit for one secret, in bytes.
const LIMIT: u64 = 500 * 1024;

/// One `--secret`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SecretFlag {
    id: String,
    from: From,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum From {
    File(PathBuf),
    Variable(String),
    /// Docker's short form `id=NAME`: the variable of that name, else the file.
    Either,
}

impl FromStr for SecretFlag {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |why: String| Error::new(ErrorKind::Usage, why).with_hint("write id=ID,src=FILE or id=ID,env=NAME");
        let (mut id, mut file, mut variable, mut kind) = (None, None, None, None);
        for field in text.split(',') {
            match field.split_once('=') {
                Some(("id", value)) => id = Some(value),
                Some(("src" | "source", value)) => file = Some(value),
                Some(("env", value)) => variable = Some(value),
                Some(("type", value @ ("file" | "env"))) => kind = Some(value),
                _ => return Err(wrong(format!("`{field}` is none of id, src, env and type"))),
            }
        }
        let id = id.filter(|id| !id.is_empty()).ok_or_else(|| wrong("the secret has no id".into()))?;
        // `type=env,src=NAME` is docker's long form of `env=NAME`.
        let from = match (file, variable, kind) {
            (Some(_), Some(_), _) => return Err(wrong("the secret has both a file and a variable".into())),
            (Some(name), None, Some("env")) | (None, Some(name), _) => From::Variable(name.to_owned()),
            (Some(path), None, _) => From::File(path.into()),
            (None, None, Some("env")) => From::Variable(id.to_owned()),
            (None, None, Some(_)) => From::File(id.into()),
            (None, None, None) => From::Either,
        };
        Ok(Self { id: id.to_owned(), from })
    }
}

impl SecretFlag {
    /// Reads the secret.
    pub(crate) fn read(&self) -> Result<(String, SecretBytes)> {
        let bytes = match &self.from {
            From::File(path) => read_file(path).map_err(|error| self.unreadable(path, error))?,
            From::Variable(name) => variable(name).ok_or_else(|| self.missing(&format!("variable `{name}` is not set")))?,
            From::Either => match variable(&self.id) {
                Some(bytes) => bytes,
                None => read_file(Path::new(&self.id)).map_err(|error| match error.kind() {
                    ErrorKind::Io => self.missing(&format!("there is neither a variable nor a file `{}`", self.id)),
                    _ => error,
                })?,
            },
        };
        Ok((self.id.clone(), SecretBytes::new(bytes)))
    }

    fn unreadable(&self, path: &Path, error: Error) -> Error {
        match error.kind() {
            ErrorKind::Io => error.wrap(format!("secret `{}` cannot be read", self.id)).with_hint(format!(
                "`{}` is relative to the current folder; name the file that holds the secret",
                path.display()
            )),
            _ => error,
        }
    }

    fn missing(&self, why: &str) -> Error {
        Error::new(ErrorKind::Usage, format!("secret `{}` cannot be read: {why}", self.id))
            .with_hint("set it, or name a file with `src=FILE`")
    }
}

fn variable(name: &str) -> Option<Vec<u8>> {
    std::env::var_os(name).map(|value| value.into_encoded_bytes())
}

fn read_file(path: &Path) -> Result<Vec<u8>> {
    let cannot = |error| Error::io("read", path, error);
    let mut bytes = Vec::new();
    File::open(path).map_err(cannot)?.take(LIMIT + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > LIMIT {
        return Err(Error::new(ErrorKind::Usage, format!("`{}` is larger than {LIMIT} bytes", path.display()))
            .with_hint("a secret is a key or a token; use a bind mount for larger files"));
    }
    Ok(bytes)
}

/// One `--ssh`: `ID` (the agent of SSH_AUTH_SOCK) or `ID=SOCKET`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SshFlag {
    id: String,
    socket: Option<PathBuf>,
}

impl FromStr for SshFlag {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (id, socket) = text.split_once('=').map_or((text, None), |(id, socket)| (id, Some(socket.into())));
        if id.is_empty() {
            return Err(Error::new(ErrorKind::Usage, "the agent has no id").with_hint("write `default`, or ID=SOCKET"));
        }
        Ok(Self { id: id.to_owned(), socket })
    }
}

impl SshFlag {
    /// The agent's socket, looked at.
    pub(crate) fn find(self) -> Result<(String, PathBuf)> {
        let socket = match self.socket {
            Some(socket) => socket,
            None => std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from).ok_or_else(|| {
                Error::new(ErrorKind::Usage, "SSH_AUTH_SOCK is not set: there is no SSH agent")
                    .with_hint("start one with `eval $(ssh-agent) && ssh-add`, or name its socket with `--ssh ID=SOCKET`")
            })?,
        };
        let metadata = socket.metadata().map_err(|error| Error::io("open", &socket, error))?;
        if !is_socket(&metadata) {
            return Err(Error::new(ErrorKind::Unsupported, format!("`{}` is not the socket of an SSH agent", socket.display()))
                .with_hint("load the key into an agent with `ssh-add FILE`, then use `--ssh default`"));
        }
        Ok((self.id, socket))
    }
}

fn is_socket(metadata: &std::fs::Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_socket(&metadata.file_type())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(text: &str) -> From {
        text.parse::<SecretFlag>().unwrap().from
    }

    #[test]
    fn secrets_are_named_as_docker_names_them() {
        assert_eq!(from("id=a,src=/f"), From::File("/f".into()));
        assert_eq!(from("type=file,id=a,source=/f"), From::File("/f".into()));
        assert_eq!(from("id=a,env=B"), From::Variable("B".into()));
        assert_eq!(from("type=env,id=a,src=B"), From::Variable("B".into()));
        assert_eq!(from("type=env,id=A"), From::Variable("A".into()));
        assert_eq!(from("id=a"), From::Either);
        for text in ["", "src=/f", "id=,src=/f", "id=a,src=/f,env=B", "id=a,mode=1", "id=a,type=tpm"] {
            assert!(text.parse::<SecretFlag>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_secret_is_read_to_its_last_byte_and_no_larger_than_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "hunter2\n").unwrap();
        let (id, bytes) = format!("id=t,src={}", path.display()).parse::<SecretFlag>().unwrap().read().unwrap();
        assert_eq!((id.as_str(), bytes.reveal()), ("t", b"hunter2\n".as_slice()));
        std::fs::write(&path, vec![0; 500 * 1024 + 1]).unwrap();
        assert_eq!(
            format!("id=t,src={}", path.display()).parse::<SecretFlag>().unwrap().read().unwrap_err().kind(),
            ErrorKind::Usage
        );
    }

    #[test]
    fn a_secret_that_is_not_there_is_named_with_the_way_on() {
        let read = |text: &str| text.parse::<SecretFlag>().unwrap().read().unwrap_err();
        let error = read("id=token,src=/nosuch");
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Io, "secret `token` cannot be read".into()));
        assert!(error.hint().unwrap().starts_with("`/nosuch` is relative to the current folder"), "{error:?}");
        let error = read("id=NO_SUCH_TOKEN");
        let message = "secret `NO_SUCH_TOKEN` cannot be read: there is neither a variable nor a file `NO_SUCH_TOKEN`";
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Usage, message.into()));
    }

    #[test]
    fn a_file_that_is_no_socket_is_refused_with_the_way_on() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = format!("k={}", file.path().display()).parse::<SshFlag>().unwrap().find().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.hint().unwrap().contains("ssh-add"));
    }
}
