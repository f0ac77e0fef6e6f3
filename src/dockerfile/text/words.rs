//! Splitting of an instruction's text: name, flags and arguments; words at blanks, with quotes, in
//! JSON, at commas.
//!
//! Nothing is expanded: words keep their quotes and escapes. Only flags lose them.

/// Blanks between words, as BuildKit's parser has them: no line ends.
const BLANKS: &[char] = &['\t', '\u{b}', '\u{c}', '\r', ' '];

/// The name of the instruction, its flags without quotes, and the rest.
pub(in crate::dockerfile) fn split_instruction(line: &str) -> (&str, Vec<String>, &str) {
    let line = line.trim();
    let Some((name, rest)) = line.split_once(BLANKS) else {
        return (line, Vec::new(), "");
    };
    let (flags, rest) = split_flags(rest.trim_start_matches(BLANKS));
    (name, flags, rest.trim())
}

/// The words that start with `--`, up to the first that does not, or a lone `--`; and what comes
/// after.
fn split_flags(text: &str) -> (Vec<String>, &str) {
    let mut flags = Vec::new();
    let mut rest = text.trim_start();
    while rest.starts_with("--") {
        let (word, after) = flag_word(rest);
        rest = after.trim_start();
        if word == "--" {
            break;
        }
        flags.push(word);
    }
    (flags, rest)
}

/// One word with quotes and backslashes resolved. The backslash is the escape here whatever the
/// `escape` directive says.
fn flag_word(text: &str) -> (String, &str) {
    let mut word = String::new();
    let mut quote = None;
    let mut characters = text.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '\\' => word.extend(characters.next().map(|(_, escaped)| escaped)),
            _ if quote == Some(character) => quote = None,
            _ if quote.is_some() => word.push(character),
            '\'' | '"' => quote = Some(character),
            blank if blank.is_whitespace() => return (word, &text[index..]),
            _ => word.push(character),
        }
    }
    (word, "")
}

/// Words between blanks; quotes mean nothing. An empty text has none.
pub(in crate::dockerfile) fn blank_split(text: &str) -> Vec<String> {
    text.split(BLANKS).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// `text` cut at its first blanks.
pub(in crate::dockerfile) fn cut_at_blanks(text: &str) -> Option<(&str, &str)> {
    text.split_once(BLANKS).map(|(first, rest)| (first, rest.trim_start_matches(BLANKS)))
}

/// Words between blanks that are neither quoted nor escaped; quotes and escapes stay in the words.
pub(in crate::dockerfile) fn quoted_words(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if quote.is_none() && character.is_whitespace() {
            if !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
            continue;
        }
        if character == escape && quote != Some('\'') {
            // An escape at the very end is dropped.
            if let Some(escaped) = characters.next() {
                word.push(character);
                word.push(escaped);
            }
            continue;
        }
        match quote {
            Some(open) if open == character => quote = None,
            None if character == '\'' || character == '"' => quote = Some(character),
            _ => {}
        }
        word.push(character);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Whether a text is a JSON array of strings.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::dockerfile) enum JsonForm {
    /// It is, with these.
    Strings(Vec<String>),
    /// It is an array of something else.
    NotStrings,
    /// It starts like an array and is not JSON: read as plain text, which is probably a mistake.
    Broken(String),
    /// It does not start like an array.
    No,
}

/// Reads a text as a JSON array.
pub(in crate::dockerfile) fn json_form(text: &str) -> JsonForm {
    if !text.trim_start().starts_with('[') {
        return JsonForm::No;
    }
    match serde_json::from_str::<Vec<serde_json::Value>>(text) {
        Err(error) => JsonForm::Broken(error.to_string()),
        Ok(values) => values
            .into_iter()
            .map(|value| match value {
                serde_json::Value::String(text) => Some(text),
                _ => None,
            })
            .collect::<Option<Vec<String>>>()
            .map_or(JsonForm::NotStrings, JsonForm::Strings),
    }
}

/// The fields of one line of comma-separated values (RFC 4180): a field in double quotes may hold
/// commas, `""` is a quote in it. The error is a message without a location.
pub(in crate::dockerfile) fn comma_fields(text: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                if rest[..end].contains('"') {
                    return Err(format!("a double quote is inside `{}`: quote the whole field", &rest[..end]));
                }
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(after) => rest = after,
            None => return Ok(fields),
        }
    }
}

/// A field from after its opening quote; what is returned after it is empty or starts with a comma.
fn quoted_field(text: &str) -> Result<(String, &str), String> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let end = rest.find('"').ok_or("a double quote is not closed")?;
        field.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(after) => {
                field.push('"');
                rest = after;
            }
            None if rest.is_empty() || rest.starts_with(',') => return Ok((field, rest)),
            None => return Err("there is text between a closing double quote and the comma".into()),
        }
    }
}

/// True and false as Go's `strconv.ParseBool` reads them.
pub(in crate::dockerfile) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instruction_is_split_into_name_flags_and_rest() {
        for (line, name, flags, rest) in [
            ("RUN", "RUN", &[][..], ""),
            ("  RUN   echo  hi ", "RUN", &[], "echo  hi"),
            ("COPY --from=a --chown=b c d", "COPY", &["--from=a", "--chown=b"], "c d"),
            ("RUN --mount=type=bind,target=\"/a b\" -- --x", "RUN", &["--mount=type=bind,target=/a b"], "--x"),
            ("RUN --a\\ b c", "RUN", &["--a b"], "c"),
            ("RUN - --x", "RUN", &[], "- --x"),
            ("RUN --", "RUN", &[], ""),
            ("RUN --x", "RUN", &["--x"], ""),
        ] {
            let (found_name, found_flags, found_rest) = split_instruction(line);
            assert_eq!(
                (found_name, found_flags, found_rest),
                (name, flags.iter().map(|f| f.to_string()).collect(), rest),
                "{line}"
            );
        }
    }

    #[test]
    fn quoted_words_keep_their_quotes() {
        for (text, words) in [
            ("a=b c='d e' f=\"g \\\" h\"", &["a=b", "c='d e'", "f=\"g \\\" h\""][..]),
            ("a\\ b c", &["a\\ b", "c"]),
            ("a=", &["a="]),
            ("''", &["''"]),
            ("a='b", &["a='b"]),
            ("a\\", &["a"]),
            ("a='\\' b", &["a='\\'", "b"]),
            ("", &[]),
        ] {
            assert_eq!(quoted_words(text, '\\'), words, "{text}");
        }
    }

    #[test]
    fn only_arrays_of_strings_are_exec_form() {
        assert_eq!(json_form(r#" ["a", "b c"] "#), JsonForm::Strings(vec!["a".into(), "b c".into()]));
        assert_eq!(json_form("[]"), JsonForm::Strings(vec![]));
        assert_eq!(json_form(r#"["a", 1]"#), JsonForm::NotStrings);
        assert_eq!(json_form("echo [a]"), JsonForm::No);
        for broken in ["['a']", r#"["a"] && b"#, "[ -f x ] && y", r#"["c:\x"]"#] {
            assert!(matches!(json_form(broken), JsonForm::Broken(_)), "{broken}");
        }
    }

    #[test]
    fn comma_fields_follow_rfc_4180() {
        assert_eq!(comma_fields("a,b=c,").unwrap(), ["a", "b=c", ""]);
        assert_eq!(comma_fields("\"a,b\",\"c\"\"d\"").unwrap(), ["a,b", "c\"d"]);
        for wrong in ["\"a", "\"a\"b", "a\"b"] {
            assert!(comma_fields(wrong).is_err(), "{wrong}");
        }
    }
}
