//! The part of Go's templates that scripts use with buildah: `{{.Field}}`, `{{ .A.B }}`, `{{json
//! .A}}`.

use serde_json::Value;

/// Replaces each `{{.NAME}}`; what is not known stands as Go writes it.
pub(super) fn fill(template: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let (mut text, mut rest) = (String::new(), template);
    let unescaped = |text: &str| text.replace("\\t", "\t").replace("\\n", "\n");
    while let Some((before, after)) = rest.split_once("{{") {
        text += &unescaped(before);
        let Some((action, after)) = after.split_once("}}") else {
            return text + "{{" + after;
        };
        let word = action.trim().trim_start_matches("json ").trim();
        text += &word.strip_prefix('.').and_then(&value).unwrap_or_else(|| "<no value>".to_owned());
        rest = after;
    }
    text + &unescaped(rest)
}

/// A field of a document, by Go's or JSON's name.
pub(super) fn field(document: &Value, path: &str) -> Option<String> {
    let found = path.split('.').filter(|part| !part.is_empty()).try_fold(document, |value, part| {
        let object = value.as_object()?;
        object.iter().find(|(name, _)| name.eq_ignore_ascii_case(part)).map(|(_, value)| value)
    })?;
    Some(found.as_str().map_or_else(|| found.to_string(), str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_filled_in() {
        let document = serde_json::json!({"FromImageID": "abc", "OCIv1": {"config": {"User": "5"}}});
        let filled = |template: &str| fill(template, |path| field(&document, path));
        assert_eq!(filled("{{.FromImageID}}"), "abc");
        assert_eq!(filled("{{ .OCIv1.Config.User }}\\t{{.None}}!"), "5\t<no value>!");
        assert_eq!(filled("{{json .OCIv1.Config}}"), r#"{"User":"5"}"#);
        assert_eq!(filled("{{"), "{{");
    }
}
