//! In-toto statements (in-toto attestation framework, spec/v1/statement.md): what is said of an
//! image.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result, ResultExt as _};
use crate::oci::Digest;

const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// The predicate of a statement that only signs (cosign 3).
pub const COSIGN_SIGN: &str = "https://sigstore.dev/cosign/sign/v1";

/// What is said of one image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    predicate_type: String,
    #[serde(default)]
    predicate: Value,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Subject {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    name: String,
    digest: std::collections::BTreeMap<String, String>,
}

impl Statement {
    /// Says `predicate` of the image `digest`.
    pub fn new(digest: &Digest, predicate_type: &str, predicate: Value) -> Self {
        let digest = [(digest.algorithm().to_string(), digest.hex().to_string())].into();
        let subject = vec![Subject { name: String::new(), digest }];
        Self { kind: STATEMENT_TYPE.to_owned(), subject, predicate_type: predicate_type.to_owned(), predicate }
    }

    /// Reads what is said of the image `digest`.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`]: it is about something else than `digest`, or not a statement.
    pub fn read(bytes: &[u8], digest: &Digest) -> Result<Self> {
        let statement: Self =
            serde_json::from_slice(bytes).context(ErrorKind::Corrupt, || "this is not an in-toto statement".to_owned())?;
        statement.expect_about(digest)?;
        Ok(statement)
    }

    /// Whether it is about one thing only: a signature of it says nothing of anything else.
    pub fn has_one_subject(&self) -> bool {
        self.subject.len() == 1
    }

    /// What kind of thing is said.
    pub fn predicate_type(&self) -> &str {
        &self.predicate_type
    }

    /// What is said.
    pub fn predicate(&self) -> &Value {
        &self.predicate
    }

    fn expect_about(&self, digest: &Digest) -> Result<()> {
        if !self.kind.starts_with("https://in-toto.io/Statement/v") {
            return Err(Error::new(ErrorKind::Corrupt, format!("this is a `{}`, not an in-toto statement", self.kind)));
        }
        let algorithm = digest.algorithm().to_string();
        let hex = digest.hex().to_string();
        if self.subject.iter().any(|subject| subject.digest.get(&algorithm) == Some(&hex)) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Corrupt, "the statement is about another image"))
    }
}
