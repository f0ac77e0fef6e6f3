//! Values as Go prints, compares and tests them.

use std::fmt::Write as _;

use serde_json::Value;

/// A value with what its type would be in Go where JSON has only `null`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Datum {
    pub(super) value: Value,
    pub(super) nil: Nil,
}

/// What a `null` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nil {
    Nothing,
    List,
    Map,
}

/// Fields of docker's types that are maps: a key that is not there is no mistake.
const MAPS: [&str; 9] =
    ["Labels", "Volumes", "ExposedPorts", "Ports", "PortBindings", "Networks", "Annotations", "Data", "Options"];

/// Fields of docker's types that are lists.
const LISTS: [&str; 9] = ["Entrypoint", "Cmd", "OnBuild", "Env", "Shell", "RepoTags", "RepoDigests", "Mounts", "Binds"];

/// Whether the field `name` is a map in Go.
pub(super) fn is_map(name: &str) -> bool {
    MAPS.contains(&name)
}

impl From<Value> for Datum {
    fn from(value: Value) -> Self {
        Self { value, nil: Nil::Nothing }
    }
}

impl Datum {
    /// The value of the field `name`.
    pub(super) fn field(name: &str, value: Value) -> Self {
        let nil = match &value {
            Value::Null if is_map(name) => Nil::Map,
            Value::Null if LISTS.contains(&name) => Nil::List,
            _ => Nil::Nothing,
        };
        Self { value, nil }
    }

    /// Whether `if` takes it.
    pub(super) fn is_true(&self) -> bool {
        match &self.value {
            Value::Null => false,
            Value::Bool(on) => *on,
            Value::Number(number) => number.as_f64() != Some(0.0),
            Value::String(text) => !text.is_empty(),
            Value::Array(list) => !list.is_empty(),
            Value::Object(map) => !map.is_empty(),
        }
    }

    /// As `%v` prints it.
    pub(super) fn show(&self) -> String {
        match (&self.value, self.nil) {
            (Value::Null, Nil::List) => "[]".into(),
            (Value::Null, Nil::Map) => "map[]".into(),
            (Value::Null, Nil::Nothing) => "<no value>".into(),
            (value, _) => {
                let mut text = String::new();
                show(value, &mut text);
                text
            }
        }
    }
}

fn show(value: &Value, text: &mut String) {
    match value {
        Value::Null => text.push_str("<nil>"),
        Value::String(string) => text.push_str(string),
        Value::Array(list) => {
            text.push('[');
            for (number, item) in list.iter().enumerate() {
                if number > 0 {
                    text.push(' ');
                }
                show(item, text);
            }
            text.push(']');
        }
        // What stands for a key of a set: an empty struct.
        Value::Object(map) if map.is_empty() && !text.is_empty() => text.push_str("{}"),
        Value::Object(map) => {
            text.push_str("map[");
            for (number, (key, item)) in map.iter().enumerate() {
                let _ = write!(text, "{}{key}:", if number > 0 { " " } else { "" });
                show(item, text);
            }
            text.push(']');
        }
        other => {
            let _ = write!(text, "{other}");
        }
    }
}

/// JSON as Go writes it, with the letters of HTML escaped.
pub(super) fn to_json(value: &Value) -> String {
    // These stand in JSON's strings only.
    value.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}
