//! JSON as the SDK writes it: four spaces, keys sorted, ASCII only (`json.dump(…, indent=4,
//! sort_keys=True)`).
//!
//! Reads what Python reads, and a byte order mark too. Numbers keep their text: a value nobody
//! asked to change is not changed.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result, Snippet};

/// A JSON value whose objects are sorted by code points, as Python sorts them, and whose numbers
/// keep their text.
#[derive(Debug)]
enum Json {
    Object(BTreeMap<String, Json>),
    Array(Vec<Json>),
    Text(String),
    Verbatim(Box<RawValue>),
}

impl Json {
    fn parse(text: &str) -> serde_json::Result<Self> {
        Self::from_raw(serde_json::from_str(text)?)
    }

    fn from_raw(raw: Box<RawValue>) -> serde_json::Result<Self> {
        Ok(match raw.get().as_bytes().first() {
            // Of a key that is there twice the last counts, as in Python.
            Some(b'{') => Self::Object(
                serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(raw.get())?
                    .into_iter()
                    .map(|(key, value)| Ok((key, Self::from_raw(value)?)))
                    .collect::<serde_json::Result<_>>()?,
            ),
            Some(b'[') => Self::Array(
                serde_json::from_str::<Vec<Box<RawValue>>>(raw.get())?
                    .into_iter()
                    .map(Self::from_raw)
                    .collect::<serde_json::Result<_>>()?,
            ),
            Some(b'"') => Self::Text(serde_json::from_str(raw.get())?),
            _ => Self::Verbatim(raw),
        })
    }
}

impl Serialize for Json {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Object(entries) => entries.serialize(serializer),
            Self::Array(items) => items.serialize(serializer),
            Self::Text(text) => text.serialize(serializer),
            Self::Verbatim(raw) => raw.serialize(serializer),
        }
    }
}

/// Python's layout with `ensure_ascii`: what is not printable ASCII is written as `\uXXXX`, in
/// UTF-16.
struct SdkFormatter<'a>(PrettyFormatter<'a>);

impl Formatter for SdkFormatter<'_> {
    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }

    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        for letter in fragment.chars() {
            if matches!(letter, ' '..='~') {
                write!(writer, "{letter}")?;
            } else {
                letter.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(writer, "\\u{unit:04x}"))?;
            }
        }
        Ok(())
    }
}

/// `text` (a JSON object) with `key` set to `value`, in the SDK's layout; `file` names it in
/// errors.
pub(super) fn with_key(text: &str, file: &Path, key: &str, value: &Value) -> Result<String> {
    let mut json = Json::parse(text).map_err(|error| syntax(file, text, error))?;
    let Json::Object(entries) = &mut json else { return Err(not_an_object(file)) };
    let unwritable = |error: serde_json::Error| Error::new(ErrorKind::Project, format!("cannot set `{key}`")).with_source(error);
    entries.insert(key.to_owned(), Json::parse(&value.to_string()).map_err(unwritable)?);
    let mut bytes = Vec::new();
    let layout = SdkFormatter(PrettyFormatter::with_indent(b"    "));
    json.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, layout)).map_err(unwritable)?;
    String::from_utf8(bytes).map_err(|error| Error::new(ErrorKind::Project, format!("cannot set `{key}`")).with_source(error))
}

/// The text of `file`, without a byte order mark.
pub(super) fn read_text(file: &Path) -> Result<String> {
    let bytes = std::fs::read(file).map_err(|error| Error::io("read", file, error))?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").map(<[u8]>::to_vec).unwrap_or(bytes);
    String::from_utf8(bytes).map_err(|error| {
        Error::new(ErrorKind::Project, format!("`{}` is not UTF-8", file.display()))
            .with_source(error)
            .with_hint("save it again as UTF-8")
    })
}

/// Reads `file`, which must hold a JSON object.
pub(super) fn read_object(file: &Path) -> Result<Map<String, Value>> {
    parse_object(&read_text(file)?, file)
}

/// Parses the text of `file`, which must be a JSON object.
pub(super) fn parse_object(text: &str, file: &Path) -> Result<Map<String, Value>> {
    match serde_json::from_str(text).map_err(|error| syntax(file, text, error))? {
        Value::Object(entries) => Ok(entries),
        _ => Err(not_an_object(file)),
    }
}

fn not_an_object(file: &Path) -> Error {
    Error::new(ErrorKind::Project, format!("`{}` is not a JSON object", file.display()))
        .with_hint("the file starts with `{` and ends with `}`")
}

fn syntax(file: &Path, text: &str, error: serde_json::Error) -> Error {
    let line = text.lines().nth(error.line().saturating_sub(1)).unwrap_or_default();
    // serde_json counts columns in bytes from 1, and stands after the byte that it could not take.
    let bytes = error.column().saturating_sub(1).min(line.len());
    let column = line.char_indices().take_while(|(at, letter)| at + letter.len_utf8() <= bytes).count();
    let snippet = Snippet { file: file.display().to_string(), line: error.line(), column, length: 1, text: line.to_owned() };
    let reason = error.to_string();
    let reason = reason.split(" at line ").next().unwrap_or_default();
    Error::new(ErrorKind::Project, format!("`{}` is not JSON: {reason}", file.display()))
        .with_snippet(snippet)
        .with_hint("correct the file at the place shown; JSON has no comments and no comma after the last item")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(text: &str, key: &str, value: &Value) -> String {
        with_key(text, Path::new("config.json"), key, value).unwrap()
    }

    #[test]
    fn one_key_changes_and_all_others_stay_in_the_sdks_layout() {
        let text = "{\"b\":null,\"a\":{\"y\":1.50,\"x\":[]},\"n\":123456789012345678901234567890,\n\"t\":\"\u{e9}\u{1f600}\\n\\u007f\",\"o\":{}}";
        assert_eq!(
            set(text, "container_repository", &json!("h.example.com/a")),
            r#"{
    "a": {
        "x": [],
        "y": 1.50
    },
    "b": null,
    "container_repository": "h.example.com/a",
    "n": 123456789012345678901234567890,
    "o": {},
    "t": "\u00e9\ud83d\ude00\n\u007f"
}"#
        );
    }

    #[test]
    fn the_last_of_a_doubled_key_counts() {
        assert_eq!(set(r#"{"a":1,"a":2}"#, "b", &json!(true)), "{\n    \"a\": 2,\n    \"b\": true\n}");
        assert_eq!(parse_object(r#"{"a":1,"a":2}"#, Path::new("x")).unwrap()["a"], 2);
    }

    #[test]
    fn bad_json_is_shown_at_its_place() {
        let error = parse_object("{\n  \"\u{e9}\": x\n}", Path::new("config.json")).unwrap_err();
        assert_eq!(error.to_string(), "`config.json` is not JSON: expected value");
        let snippet = error.snippet().unwrap();
        assert_eq!((snippet.line, snippet.column, snippet.text.as_str()), (2, 7, "  \"\u{e9}\": x"));
    }
}
