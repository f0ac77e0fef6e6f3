//! Go's text templates, as far as `--format` of docker uses them (Go's package text/template).
//! buildah's scripts need less, see `cli/buildah/template.rs`.
//!
//! Values are JSON. There are: fields, variables, pipelines, `if`, `with`, `range`, `else`,
//! `break`, `continue`, comments, trimming (`{{-`), Go's own functions (`index`, `len`, `slice`,
//! `print`, `printf`, `println`, `and`, `or`, `not`, `eq`, `ne`, `lt`, `le`, `gt`, `ge`, `html`,
//! `urlquery`) and docker's (`json`, `split`, `join`, `title`, `lower`, `upper`, `pad`,
//! `truncate`). `define`, `template`, `block`, `call` and `js` are errors that say so.

mod evaluate;
mod functions;
mod parse;
mod syntax;
mod value;

use serde_json::Value;

pub(in crate::cli) use evaluate::Missing;

/// A template that was parsed.
#[derive(Debug)]
pub(in crate::cli) struct Template {
    nodes: Vec<syntax::Node>,
    text: String,
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// What is wrong and where, as Go says it: `template: :1: unclosed action`.
    pub(in crate::cli) fn parse(text: &str) -> Result<Self, String> {
        Ok(Self { nodes: parse::parse(text)?, text: text.to_owned() })
    }

    /// Executes it with `data` as its dot. `missing` says what a field is that is not there.
    ///
    /// # Errors
    /// What is wrong and where, as Go says it; and what was printed before.
    pub(in crate::cli) fn execute(&self, data: &Value, missing: Missing) -> Result<String, (String, String)> {
        evaluate::execute(&self.nodes, &self.text, data, missing)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(text: &str, data: &Value) -> Result<String, String> {
        Template::parse(text)?.execute(data, Missing::Map).map_err(|(_, error)| error)
    }

    #[test]
    fn templates_print_what_go_prints() {
        let data = json!({
            "Id": "sha256:abc",
            "RepoDigests": ["a@sha256:1", "b@sha256:2"],
            "Empty": [],
            "Size": 238_043_309,
            "Set": {"80/tcp": {}},
            "None": {},
            "Config": {"Labels": {"x": "1", "a.b": "two"}, "Env": ["A=1", "PATH=/bin"], "Cmd": null, "Tty": false},
            "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]},
        });
        // What Go prints of these (text/template and fmt).
        for (text, printed) in [
            (".", "."),
            ("{{.Id}}", "sha256:abc"),
            ("{{ .Id }} {{.Size}}", "sha256:abc 238043309"),
            ("{{index .RepoDigests 0}}", "a@sha256:1"),
            ("{{index .Config.Labels \"a.b\"}}", "two"),
            ("{{index .Config.Labels \"none\"}}", ""),
            ("{{.Config.Labels.x}}{{.Config.Labels.none}}", "1<no value>"),
            ("{{json .Config.Env}}", "[\"A=1\",\"PATH=/bin\"]"),
            ("{{.Config.Env}} {{.Config.Labels}} {{.Config.Cmd}}", "[A=1 PATH=/bin] map[a.b:two x:1] []"),
            ("{{json .Config.Cmd}}", "null"),
            ("{{.Set}}{{.None}}", "map[80/tcp:{}]map[]"),
            ("{{range .RepoDigests}}{{.}};{{end}}", "a@sha256:1;b@sha256:2;"),
            ("{{range $i, $d := .RepoDigests}}{{$i}}={{$d}} {{end}}", "0=a@sha256:1 1=b@sha256:2 "),
            ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}} {{end}}", "a.b=two x=1 "),
            ("{{range .Empty}}x{{else}}none{{end}}", "none"),
            ("{{if .RepoDigests}}{{index .RepoDigests 1}}{{else}}none{{end}}", "b@sha256:2"),
            ("{{if and .Empty .Id}}a{{else if eq .Config.Tty false}}b{{else}}c{{end}}", "b"),
            ("{{with .Config}}{{.Tty}} {{$.Id}}{{end}}", "false sha256:abc"),
            ("{{len .RepoDigests}} {{len .Id}} {{len .Config.Cmd}}", "2 10 0"),
            ("{{(index (index .Ports \"80/tcp\") 0).HostPort}}", "8080"),
            (
                "{{join .Config.Env \",\"}} {{.Id | upper}} {{lower \"AB\"}} {{title \"ab cd\"}}",
                "A=1,PATH=/bin SHA256:ABC ab Ab Cd",
            ),
            ("{{range split .Id \":\"}}<{{.}}>{{end}}", "<sha256><abc>"),
            ("{{println .Id}}{{print 1 2 \"a\" \"b\" 3}}", "sha256:abc\n1 2ab3"),
            (
                "{{printf \"%-6s|%6.3s|%05d|%q|%v|%x|%%\" \"ab\" \"abcdef\" 42 \"q\" .Config.Env 255}}",
                "ab    |   abc|00042|\"q\"|[A=1 PATH=/bin]|ff|%",
            ),
            ("{{truncate .Id 6}}{{pad \"a\" 1 2}}|", "sha256 a  |"),
            ("a {{- \" b \" -}} c", "a b c"),
            ("{{/* a comment */}}x{{- /* and one */ -}} y", "xy"),
            ("{{$x := .Id}}{{if true}}{{$x = \"new\"}}{{end}}{{$x}}", "new"),
            ("{{slice .Id 7}} {{slice .Id 0 3}}", "abc sha"),
            ("{{if not (or .Empty .Config.Tty)}}y{{end}}{{if gt .Size 100}}>{{end}}{{if ne .Id \"a\" }}!{{end}}", "y>!"),
            ("{{range .RepoDigests}}{{break}}{{end}}{{range .RepoDigests}}{{continue}}x{{end}}", ""),
            ("{{html \"<a&b>\"}} {{urlquery \"a b/c\"}}", "&lt;a&amp;b&gt; a+b%2Fc"),
            ("{{`raw \\n`}}{{\"tab\\t\"}}", "raw \\ntab\t"),
            ("{{json .Config.Labels}}{{json \"<\"}}", "{\"a.b\":\"two\",\"x\":\"1\"}\"\\u003c\""),
        ] {
            assert_eq!(run(text, &data), Ok(printed.to_owned()), "{text}");
        }
    }

    #[test]
    fn mistakes_are_told_as_go_tells_them() {
        let data = json!({"A": {"B": 1}, "L": ["x"]});
        for (text, error) in [
            ("{{.Nope}}", "template: :1:2: executing \"\" at <.Nope>: map has no entry for key \"Nope\""),
            ("x\n{{.A.Nope}}", "template: :2:4: executing \"\" at <.A.Nope>: map has no entry for key \"Nope\""),
            ("{{index .L 3}}", "template: :1:2: executing \"\" at <index .L 3>: error calling index: index out of range: 3"),
            ("{{.Nope", "template: :1: unclosed action"),
            ("{{if .A}}", "template: :1: unexpected EOF"),
            ("{{nope .A}}", "template: :1: function \"nope\" not defined"),
            ("{{end}}", "template: :1: unexpected {{end}}"),
            ("{{$x}}", "template: :1: undefined variable \"$x\""),
            ("{{}}", "template: :1: missing value for command"),
            ("{{template \"a\"}}", "template: :1: `template` is not supported by mpimg"),
            ("{{js .A}}", "template: :1: function \"js\" is not supported by mpimg"),
        ] {
            assert_eq!(run(text, &data).unwrap_err(), error, "{text}");
        }
        let typed = Template::parse("{{.Nope}}").unwrap().execute(&data, Missing::Struct("*formatter.imageContext"));
        let expected = "template: :1:2: executing \"\" at <.Nope>: can't evaluate field Nope in type *formatter.imageContext";
        assert_eq!(typed.unwrap_err().1, expected);
    }
}
