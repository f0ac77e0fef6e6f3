//! The functions of templates: Go's own and docker's.

use std::cmp::Ordering;

use serde_json::{Value, json};

use super::value::{Datum, Nil, to_json};
use crate::oci::hex;

/// What a function returns; an error in Go's words.
type Returned = Result<Datum, String>;

/// Functions that take part in `{{…}}`.
const NAMES: [&str; 27] = [
    "and", "or", "not", "len", "index", "slice", "print", "printf", "println", "eq", "ne", "lt", "le", "gt", "ge", "html",
    "urlquery", "json", "split", "join", "title", "lower", "upper", "pad", "truncate", "true", "false",
];

/// Functions of Go that are not here.
const UNSUPPORTED: [&str; 2] = ["call", "js"];

/// Whether there is a function of this name.
///
/// # Errors
/// There is none.
pub(super) fn check(name: &str) -> Result<(), String> {
    match name {
        _ if NAMES.contains(&name) => Ok(()),
        _ if UNSUPPORTED.contains(&name) => Err(format!("function \"{name}\" is not supported by mpimg")),
        _ => Err(format!("function \"{name}\" not defined")),
    }
}

/// Calls the function `name`. `and` and `or` are the caller's: they do not need all their
/// arguments.
pub(super) fn call(name: &str, arguments: &[Datum]) -> Returned {
    let wanted = match name {
        "not" | "len" | "json" | "title" | "lower" | "upper" => 1..=1,
        "split" | "join" | "truncate" => 2..=2,
        "pad" => 3..=3,
        "ne" | "lt" | "le" | "gt" | "ge" => 2..=2,
        "eq" => 2..=usize::MAX,
        "index" | "slice" | "printf" => 1..=usize::MAX,
        _ => 0..=usize::MAX,
    };
    if !wanted.contains(&arguments.len()) {
        return Err(format!("wrong number of args for {name}: want {} got {}", wanted.start(), arguments.len()));
    }
    let first = || arguments[0].show();
    Ok(match name {
        "true" => json!(true).into(),
        "false" => json!(false).into(),
        "not" => json!(!arguments[0].is_true()).into(),
        "len" => json!(length(&arguments[0])?).into(),
        "index" => index(&arguments[0], &arguments[1..])?,
        "slice" => slice(&arguments[0], &arguments[1..])?,
        "print" => json!(print(arguments)).into(),
        "println" => json!(arguments.iter().map(Datum::show).collect::<Vec<_>>().join(" ") + "\n").into(),
        "printf" => json!(printf(&first(), &arguments[1..])).into(),
        "eq" => json!(arguments[1..].iter().any(|other| compare(&arguments[0], other) == Some(Ordering::Equal))).into(),
        "ne" => json!(compare(&arguments[0], &arguments[1]) != Some(Ordering::Equal)).into(),
        "lt" | "le" | "gt" | "ge" => {
            let order = compare(&arguments[0], &arguments[1]).ok_or("incompatible types for comparison")?;
            json!(match name {
                "lt" => order.is_lt(),
                "le" => order.is_le(),
                "gt" => order.is_gt(),
                _ => order.is_ge(),
            })
            .into()
        }
        "html" => json!(escape_html(&print(arguments))).into(),
        "urlquery" => json!(url::form_urlencoded::byte_serialize(print(arguments).as_bytes()).collect::<String>()).into(),
        "json" => json!(to_json(&arguments[0].value)).into(),
        "split" => json!(first().split(arguments[1].show().as_str()).collect::<Vec<_>>()).into(),
        "join" => {
            let Value::Array(list) = &arguments[0].value else { return Err("the first argument of join is not a list".into()) };
            let items: Vec<String> = list.iter().map(|item| Datum::from(item.clone()).show()).collect();
            json!(items.join(&arguments[1].show())).into()
        }
        "title" => json!(title(&first())).into(),
        "lower" => json!(first().to_lowercase()).into(),
        "upper" => json!(first().to_uppercase()).into(),
        "pad" => {
            let spaces = |datum: &Datum| " ".repeat(datum.value.as_u64().map_or(0, |count| count.min(10_000) as usize));
            match first() {
                text if text.is_empty() => json!("").into(),
                text => json!(format!("{}{text}{}", spaces(&arguments[1]), spaces(&arguments[2]))).into(),
            }
        }
        "truncate" => {
            let length = arguments[1].value.as_u64().ok_or("the second argument of truncate is not a number")?;
            json!(first().chars().take(usize::try_from(length).unwrap_or(usize::MAX)).collect::<String>()).into()
        }
        _ => return Err(format!("function \"{name}\" not defined")),
    })
}

fn length(of: &Datum) -> Result<usize, String> {
    match &of.value {
        Value::String(text) => Ok(text.len()),
        Value::Array(list) => Ok(list.len()),
        Value::Object(map) => Ok(map.len()),
        Value::Null if of.nil != Nil::Nothing => Ok(0),
        Value::Null => Err("len of nil pointer".into()),
        Value::Bool(_) => Err("len of type bool".into()),
        Value::Number(_) => Err("len of type int".into()),
    }
}

fn index(of: &Datum, keys: &[Datum]) -> Returned {
    let mut found = of.clone();
    for key in keys {
        found = match (&found.value, &key.value) {
            (Value::Array(list), Value::Number(number)) => {
                let position = number.as_u64().and_then(|number| usize::try_from(number).ok());
                let item = position.and_then(|position| list.get(position));
                item.cloned().ok_or_else(|| format!("index out of range: {number}"))?.into()
            }
            (Value::Null, Value::Number(number)) if found.nil == Nil::List => {
                return Err(format!("index out of range: {number}"));
            }
            (Value::Object(map), Value::String(key)) => match map.get(key) {
                Some(value) => Datum::field(key, value.clone()),
                // Go gives the zero value of the map's type; docker's maps that are indexed hold
                // texts.
                None if map.values().all(Value::is_string) => json!("").into(),
                None => Value::Null.into(),
            },
            (Value::Null, _) if found.nil == Nil::Map => json!("").into(),
            (Value::Null, _) => return Err("index of untyped nil".into()),
            (Value::Array(_), other) => return Err(format!("cannot index slice/array with type {}", kind(other))),
            (other, _) => return Err(format!("can't index item of type {}", kind(other))),
        };
    }
    Ok(found)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nil",
        Value::Bool(_) => "bool",
        Value::Number(_) => "int",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

fn slice(of: &Datum, bounds: &[Datum]) -> Returned {
    let bound = |number: usize, default: usize| match bounds.get(number) {
        None => Ok(default),
        Some(bound) => {
            bound.value.as_u64().and_then(|bound| usize::try_from(bound).ok()).ok_or("cannot index slice/array with that")
        }
    };
    let length = length(of).map_err(|_| "can't slice item of this type")?;
    let (from, to) = (bound(0, 0)?, bound(1, length)?);
    if from > to || to > length {
        return Err(format!("index out of range: {to}"));
    }
    Ok(match &of.value {
        Value::String(text) => json!(String::from_utf8_lossy(&text.as_bytes()[from..to])).into(),
        Value::Array(list) => Value::Array(list[from..to].to_vec()).into(),
        _ => return Err("can't slice item of this type".into()),
    })
}

/// Go's `fmt.Sprint`: a space between two of which neither is a text.
fn print(arguments: &[Datum]) -> String {
    let mut text = String::new();
    for (number, argument) in arguments.iter().enumerate() {
        if number > 0 && !argument.value.is_string() && !arguments[number - 1].value.is_string() {
            text.push(' ');
        }
        text += &argument.show();
    }
    text
}

/// Go's `fmt.Sprintf` for what templates hold: `%s %v %d %q %x %t %f %%`, with `-`, `0`, width and
/// precision.
fn printf(format: &str, arguments: &[Datum]) -> String {
    let (mut text, mut letters, mut next) = (String::new(), format.chars().peekable(), arguments.iter());
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        let (mut left, mut zero, mut spec) = (false, false, String::new());
        while let Some(flag) = letters.next_if(|letter| "-0+ #".contains(*letter)) {
            left |= flag == '-';
            zero |= flag == '0';
        }
        while let Some(digit) = letters.next_if(|letter| letter.is_ascii_digit() || *letter == '.') {
            spec.push(digit);
        }
        let (width, precision) = spec.split_once('.').map_or((spec.as_str(), None), |(width, rest)| (width, Some(rest)));
        let width: usize = width.parse().unwrap_or(0).min(10_000);
        let precision = precision.map(|digits| digits.parse::<usize>().unwrap_or(0).min(10_000));
        let Some(verb) = letters.next() else {
            text.push_str("%!(NOVERB)");
            break;
        };
        if verb == '%' {
            text.push('%');
            continue;
        }
        let Some(argument) = next.next() else {
            text += &format!("%!{verb}(MISSING)");
            continue;
        };
        let shown = verb_of(verb, argument, precision);
        let space = width.saturating_sub(shown.chars().count());
        text += &match (left, zero && argument.value.is_number()) {
            (true, _) => format!("{shown}{}", " ".repeat(space)),
            (false, true) => format!("{}{shown}", "0".repeat(space)),
            (false, false) => format!("{}{shown}", " ".repeat(space)),
        };
    }
    text
}

fn verb_of(verb: char, argument: &Datum, precision: Option<usize>) -> String {
    let cut = |text: String| match precision {
        Some(length) => text.chars().take(length).collect(),
        None => text,
    };
    match (verb, &argument.value) {
        ('s' | 'v', Value::String(_)) => cut(argument.show()),
        ('q', Value::String(text)) => Value::String(text.clone()).to_string(),
        ('x', Value::Number(number)) => format!("{:x}", number.as_i64().unwrap_or_default()),
        ('x', Value::String(text)) => hex(text.as_bytes()),
        ('f', Value::Number(number)) => format!("{:.*}", precision.unwrap_or(6), number.as_f64().unwrap_or_default()),
        ('d', Value::Number(_)) | ('t', Value::Bool(_)) | ('v', _) | ('s', Value::Array(_) | Value::Object(_)) => argument.show(),
        (verb, value) => format!("%!{verb}({}={})", kind(value), argument.show()),
    }
}

fn compare(one: &Datum, other: &Datum) -> Option<Ordering> {
    match (&one.value, &other.value) {
        (Value::Number(one), Value::Number(other)) => one.as_f64()?.partial_cmp(&other.as_f64()?),
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        (Value::Bool(one), Value::Bool(other)) => Some(one.cmp(other)),
        (Value::Null, Value::Null) => Some(Ordering::Equal),
        _ => None,
    }
}

fn title(text: &str) -> String {
    let mut begins = true;
    let upper = |letter: char| {
        let shown = if begins { letter.to_uppercase().collect::<String>() } else { letter.to_string() };
        begins = !letter.is_alphanumeric();
        shown
    };
    text.chars().map(upper).collect()
}

fn escape_html(text: &str) -> String {
    let escape = |letter| match letter {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&#34;".to_owned(),
        '\'' => "&#39;".to_owned(),
        letter => letter.to_string(),
    };
    text.chars().map(escape).collect()
}
