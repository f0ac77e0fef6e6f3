//! The expansion of COPY and ADD: destinations, modes, and what kind of thing each source is.
//!
//! COPY takes no URLs and git repositories. ADD's `--checksum` needs exactly one URL or
//! repository.

use crate::error::Result;
use crate::oci::Digest;

use super::super::path::join_destination;
use super::super::text::decode;
use super::super::{
    AddInstruction, AddSource, AddStep, Chmod, CopyInstruction, CopyStep, Destination, InlineFile, Instruction, Located,
};
use super::{Lexer, StageScope, WordError};

/// Bytes of an inline file once its variables are put in.
const MAX_INLINE_FILE_SIZE: usize = 16 * 1024 * 1024;

impl StageScope {
    pub(super) fn expand_copy(&mut self, step: &Located<Instruction>, copy: &CopyInstruction) -> Result<CopyStep> {
        let chown = self.chown(step, copy.chown.as_deref(), copy.link)?;
        let chmod = self.chmod(step, copy.chmod.as_deref())?;
        let sources = copy.sources.iter().map(|source| self.word(step, source)).collect::<Result<Vec<_>>>()?;
        for (written, source) in copy.sources.iter().zip(&sources) {
            let kind = match source_kind(source) {
                AddSource::Path(_) => continue,
                AddSource::Url { .. } => "a URL",
                AddSource::Git(_) => "a git repository",
            };
            return Err(step.error_at(written, format!("COPY cannot take {kind}")).with_hint("write ADD instead of COPY"));
        }
        let from = copy
            .from
            .as_deref()
            .map(|from| self.shared.resolve(from).ok_or_else(|| step.error_at(from, format!("there is no stage {from}"))));
        Ok(CopyStep {
            sources,
            inline_files: self.inline_files(step, &copy.inline_files)?,
            destination: self.destination(step, &copy.destination)?,
            from: from.transpose()?,
            chown,
            // With a mode BuildKit copies onto what is below (`dispatchCopy`).
            link: copy.link && chmod.is_none(),
            chmod,
            parents: copy.parents,
            exclude: copy.exclude.clone(),
        })
    }

    pub(super) fn expand_add(&mut self, step: &Located<Instruction>, add: &AddInstruction) -> Result<AddStep> {
        let chown = self.chown(step, add.chown.as_deref(), add.link)?;
        let chmod = self.chmod(step, add.chmod.as_deref())?;
        let checksum = self.option(step, add.checksum.as_deref())?;
        let sources = add.sources.iter().map(|source| Ok(source_kind(&self.word(step, source)?))).collect::<Result<Vec<_>>>()?;
        if let (Some(written), Some(checksum)) = (&add.checksum, &checksum) {
            let hint = "write it as sha256: and 64 digits with one URL, or leave it out";
            check_checksum(&sources, checksum).map_err(|message| step.error_at(written, message).with_hint(hint))?;
        }
        Ok(AddStep {
            sources,
            inline_files: self.inline_files(step, &add.inline_files)?,
            destination: self.destination(step, &add.destination)?,
            chown,
            link: add.link && chmod.is_none(),
            chmod,
            exclude: add.exclude.clone(),
            checksum,
            keep_git_dir: add.keep_git_dir,
            unpack: add.unpack,
        })
    }

    /// A flag's value; one that expands to nothing counts as not given.
    fn option(&mut self, step: &Located<Instruction>, value: Option<&str>) -> Result<Option<String>> {
        let value = value.map(|value| self.word(step, value)).transpose()?;
        Ok(value.filter(|value| !value.is_empty()))
    }

    /// What a layer of `--link` lies on is not known to it, and so no user of it but root.
    fn chown(&mut self, step: &Located<Instruction>, written: Option<&str>, link: bool) -> Result<Option<String>> {
        let owner = self.option(step, written)?;
        let is_known = |name: &str| name.is_empty() || name == "root" || name.bytes().all(|byte| byte.is_ascii_digit());
        match &owner {
            Some(names) if link && !names.split(':').all(is_known) => {
                let message = format!("`--chown={names}` cannot be looked up with `--link`, whose layer knows no users");
                Err(step
                    .error_at(written.unwrap_or_default(), message)
                    .with_hint("write the numbers of user and group, or leave out --link"))
            }
            _ => Ok(owner),
        }
    }

    fn chmod(&mut self, step: &Located<Instruction>, value: Option<&str>) -> Result<Option<Chmod>> {
        let mode = self.option(step, value)?;
        let location = |error: crate::error::Error| error.with_snippet(step.snippet_of(value.unwrap_or_default()));
        mode.map(|mode| Chmod::parse(&mode).map_err(location)).transpose()
    }

    fn destination(&mut self, step: &Located<Instruction>, written: &str) -> Result<Destination> {
        let written = self.word(step, written)?;
        Ok(Destination { path: join_destination(&self.working_dir, &written), written })
    }

    /// Contents are read by rules of their own: quotes are nothing special, the escape is always a
    /// backslash.
    fn inline_files(&mut self, step: &Located<Instruction>, files: &[InlineFile]) -> Result<Vec<InlineFile>> {
        let lexer = Lexer { ignore_quotes: true, max_length: MAX_INLINE_FILE_SIZE, ..Lexer::new('\\') };
        let expand = |file: &InlineFile| {
            if !file.expand {
                return Ok(file.clone());
            }
            let lexed = self.lex(step, &decode(&file.content), lexer);
            let content = lexed.map_err(|WordError { message, hint }| {
                let message = format!("in the heredoc `{}`: {message}", file.name);
                step.word_error(&file.name, WordError { message, hint })
            })?;
            Ok(InlineFile { content: content.text.into_bytes(), ..file.clone() })
        };
        files.iter().map(expand).collect()
    }
}

fn check_checksum(sources: &[AddSource], checksum: &str) -> Result<(), String> {
    match sources {
        [AddSource::Url { .. }] => Digest::parse(checksum).map(|_| ()).map_err(|error| error.to_string()),
        [AddSource::Git(_)] => Ok(()),
        [AddSource::Path(_)] => Err("`--checksum` is for URLs and git repositories, not for files".into()),
        _ => Err("`--checksum` takes one source".into()),
    }
}

/// The kind of a source of ADD, decided as BuildKit's gitutil.ParseGitRef and isHTTPSource do.
pub(in crate::dockerfile) fn source_kind(source: &str) -> AddSource {
    let path_end = source.find(['?', '#']).unwrap_or(source.len());
    let http = ["http://", "https://"].iter().find_map(|scheme| source.strip_prefix(scheme));
    let remote = ["git://", "ssh://"].iter().any(|scheme| source.starts_with(scheme));
    match http {
        Some(_) if source[..path_end].ends_with(".git") => AddSource::Git(source.to_owned()),
        Some(_) => AddSource::Url { url: source.to_owned(), file_name: url_file_name(&source[..path_end]) },
        None if remote || is_scp_address(source) => AddSource::Git(source.to_owned()),
        None => AddSource::Path(source.to_owned()),
    }
}

/// `user@host:path`, as ssh takes it.
fn is_scp_address(source: &str) -> bool {
    let Some((user, rest)) = source.split_once('@') else { return false };
    let Some((host, _)) = rest.split_once(':') else { return false };
    let word = |text: &str, more: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c));
    word(user, "-_") && word(host, "-.")
}

/// The last part of a URL's path. Percent signs are decoded first, as in BuildKit: `%2F` parts,
/// too. `..` is `download` there, because its downloader does not take it for a name.
fn url_file_name(url: &str) -> String {
    let path = url.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, path)| path);
    let path = percent_decoded(path);
    match path.trim_end_matches('/').rsplit('/').next().unwrap_or_default() {
        ".." => "download".to_owned(),
        name if name.is_empty() || name == "." || name.contains('\0') => "__unnamed__".to_owned(),
        name => name.to_owned(),
    }
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_of_add_are_told_apart() {
        let url = |url: &str, name: &str| AddSource::Url { url: url.into(), file_name: name.into() };
        for (source, kind) in [
            ("app", AddSource::Path("app".into())),
            ("github.com/a/b.git", AddSource::Path("github.com/a/b.git".into())),
            ("a@b", AddSource::Path("a@b".into())),
            ("https://h/a/b.tar.gz?x=/y#z", url("https://h/a/b.tar.gz?x=/y#z", "b.tar.gz")),
            ("https://h/a%20b/", url("https://h/a%20b/", "a b")),
            ("http://h", url("http://h", "__unnamed__")),
            ("http://h/%2e", url("http://h/%2e", "__unnamed__")),
            ("http://h/%2e%2e", url("http://h/%2e%2e", "download")),
            ("http://h/..%2fx", url("http://h/..%2fx", "x")),
            ("http://h/a%2Fb.txt", url("http://h/a%2Fb.txt", "b.txt")),
            ("https://h/a/b.git#v1:dir", AddSource::Git("https://h/a/b.git#v1:dir".into())),
            ("git@github.com:a/b.git", AddSource::Git("git@github.com:a/b.git".into())),
            ("ssh://git@h/a", AddSource::Git("ssh://git@h/a".into())),
        ] {
            assert_eq!(source_kind(source), kind, "{source}");
        }
    }
}
