//! What `--format` prints, and docker's tables.

use console::measure_text_width;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::invocation::Failure;
use crate::cli::drop_in::{Missing, Template};
use crate::image::rfc3339;
use crate::oci::Digest;

/// The least width of a column, and the space behind it (docker's tabwriter).
const LEAST: usize = 10;
const GAP: usize = 3;

/// A list that `--format` can be applied to.
pub(super) struct List {
    /// The template without `--format`: `table {{.ID}}\t{{.Names}}`.
    pub(super) default: &'static str,
    /// The headings of the fields, where a heading is not the field's name in capitals.
    pub(super) headings: &'static [(&'static str, &'static str)],
    /// The type that a field may lack, as docker calls it.
    pub(super) kind: &'static str,
}

impl List {
    /// The rows in the form that `format` says.
    pub(super) fn draw(&self, format: Option<&str>, rows: &[Value]) -> Result<String, Failure> {
        let format = match format {
            None | Some("" | "table") => self.default,
            Some("json") => "{{json .}}",
            Some(format) => format,
        };
        let (format, table) = match format.strip_prefix("table") {
            Some(format) => (format.trim_start(), true),
            None => (format, false),
        };
        let format = format.replace("\\t", "\t").replace("\\n", "\n");
        let template = Template::parse(&format).map_err(parsing_failed)?;
        let mut lines = Vec::new();
        if table {
            lines.push(self.line(&template, &self.heading(rows.first(), &format))?);
        }
        for row in rows {
            lines.push(self.line(&template, row)?);
        }
        if table {
            return Ok(tabulate(&lines));
        }
        Ok(lines.into_iter().map(|line| line + "\n").collect())
    }

    fn line(&self, template: &Template, row: &Value) -> Result<String, Failure> {
        let done = template.execute(row, Missing::Struct(self.kind));
        done.map_err(|(_, error)| Failure::new(format!("failed to execute template: {error}")))
    }

    /// The headings of all fields that a row may have.
    fn heading(&self, row: Option<&Value>, format: &str) -> Value {
        let mut headings: Map<String, Value> = Map::new();
        for name in row.and_then(Value::as_object).into_iter().flat_map(Map::keys) {
            headings.insert(name.clone(), name.to_uppercase().into());
        }
        // Without rows, what the format names and the list knows.
        for (name, heading) in self.headings {
            headings.insert((*name).to_owned(), (*heading).into());
        }
        for word in format.split(|letter: char| !letter.is_alphanumeric() && letter != '.') {
            if let Some(name) = word.strip_prefix('.').filter(|name| !name.is_empty() && row.is_none()) {
                headings.entry(name).or_insert_with(|| name.to_uppercase().into());
            }
        }
        Value::Object(headings)
    }
}

/// The failure of a template that cannot be parsed.
pub(super) fn parsing_failed(error: String) -> Failure {
    Failure::new(format!("template parsing error: {error}"))
}

/// One object in the form that `format` says; with its line feed.
pub(super) fn one(format: &str, data: &Value) -> Result<String, Failure> {
    let format = if format == "json" { "{{json .}}" } else { format };
    let template = Template::parse(format).map_err(parsing_failed)?;
    let printed = template.execute(data, Missing::Map).map_err(|(_, error)| parsing_failed(error))?;
    Ok(printed + "\n")
}

/// Columns as Go's tabwriter draws them: what stands behind the last tab of a line is in no column.
pub(super) fn tabulate(lines: &[String]) -> String {
    let rows: Vec<Vec<&str>> = lines.iter().map(|line| line.split('\t').collect()).collect();
    let columns = rows.iter().map(|row| row.len() - 1).max().unwrap_or(0);
    let widest = |column: usize| {
        let cells = rows.iter().filter(|row| column + 1 < row.len()).map(|row| measure_text_width(row[column]) + GAP);
        cells.max().unwrap_or(0).max(LEAST)
    };
    let widths: Vec<usize> = (0..columns).map(widest).collect();
    let mut text = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            text += cell;
            if column + 1 < row.len() {
                text += &" ".repeat(widths[column] - measure_text_width(cell));
            }
        }
        text.push('\n');
    }
    text
}

/// `2 minutes`, as docker says how long something took or is ago (go-units, HumanDuration).
pub(super) fn duration(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match seconds {
        ..1 => "Less than a second".into(),
        1 => "1 second".into(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".into(),
        120..3600 if minutes < 60 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".into(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

/// `2 minutes ago`, of a time in RFC 3339; `N/A` without one.
pub(super) fn ago(time: Option<&str>, now: Timestamp) -> String {
    let time = time.and_then(|time| time.parse::<Timestamp>().ok());
    time.map_or_else(|| "N/A".into(), |time| format!("{} ago", duration(now.duration_since(time).as_secs())))
}

/// `2026-11-29 04:55:36 +0000 UTC`, of a time in RFC 3339.
pub(super) fn at(time: Option<&str>) -> String {
    let time = time.and_then(|time| time.parse::<Timestamp>().ok());
    time.map_or_else(
        || "N/A".into(),
        |time| format!("{} +0000 UTC", rfc3339(time.as_second()).replace('T', " ").trim_end_matches('Z')),
    )
}

/// An ID as lists show it: 12 digits, or all with the algorithm.
pub(super) fn image_id(id: &Digest, whole: bool) -> String {
    if whole { id.to_string() } else { id.hex()[..12].to_owned() }
}

/// JSON as `docker inspect` prints it: indented by four spaces, with Go's escapes.
pub(super) fn indented(value: &impl serde::Serialize) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    let cannot = |why: String| Failure::new(format!("cannot write JSON: {why}"));
    value.serialize(&mut serializer).map_err(|error| cannot(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| cannot(error.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_is_drawn_as_docker_draws_it() {
        let list = List {
            default: "table {{.ID}}\t{{.Tag}}\t{{.Size}}",
            headings: &[("ID", "IMAGE ID")],
            kind: "*formatter.imageContext",
        };
        let rows = [json!({"ID": "d3fc4d460531", "Tag": "1", "Size": "238MB"})];
        assert_eq!(list.draw(None, &rows).unwrap(), "IMAGE ID       TAG       SIZE\nd3fc4d460531   1         238MB\n");
        assert_eq!(list.draw(None, &[]).unwrap(), "IMAGE ID   TAG       SIZE\n");
        assert_eq!(list.draw(Some("{{.ID}}:{{.Tag}}"), &rows).unwrap(), "d3fc4d460531:1\n");
        assert_eq!(list.draw(Some("table {{.Tag}}\\t{{.ID}}"), &rows).unwrap(), "TAG       IMAGE ID\n1         d3fc4d460531\n");
        assert_eq!(list.draw(Some("json"), &rows).unwrap(), "{\"ID\":\"d3fc4d460531\",\"Size\":\"238MB\",\"Tag\":\"1\"}\n");
        assert!(list.draw(Some("{{.Nope}}"), &rows).unwrap_err().text().contains("can't evaluate field Nope"));
    }

    #[test]
    fn durations_are_docker_s() {
        for (seconds, shown) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (61, "About a minute"),
            (300, "5 minutes"),
            (3600, "About an hour"),
            (7200, "2 hours"),
            (3 * 86_400, "3 days"),
            (20 * 86_400, "2 weeks"),
            (90 * 86_400, "3 months"),
            (1000 * 86_400, "2 years"),
        ] {
            assert_eq!(duration(seconds), shown);
        }
    }
}
