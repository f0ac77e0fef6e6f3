//! Fields of text: deb822 stanzas, Python's metadata, manifests of jars.

/// The value of a field of a stanza (deb822, or the head of a Python metadata file).
pub(super) fn field<'a>(stanza: &'a str, name: &str) -> Option<&'a str> {
    fields(stanza, name).next()
}

/// The values of a field that may come several times.
pub(super) fn fields<'a>(stanza: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let of_line = move |line: &'a str| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then_some(value.trim())
    };
    stanza.lines().take_while(|line| !line.is_empty()).filter_map(of_line).filter(|value| !value.is_empty())
}

/// The `'…'` or `"…"` at the beginning of a text.
pub(super) fn quoted(text: &str) -> Option<&str> {
    let quote = text.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    text[1..].split(quote).next()
}

/// All `'…'` and `"…"` in a text.
pub(super) fn all_quoted(mut text: &str) -> Vec<String> {
    let mut found = Vec::new();
    while let Some(start) = text.find(['\'', '"']) {
        let Some(value) = quoted(&text[start..]) else { break };
        found.push(value.to_owned());
        let Some(rest) = text.get(start + value.len() + 2..) else { break };
        text = rest;
    }
    found
}
