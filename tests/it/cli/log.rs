//! `-v`, `-vv`, `--log-file` and MPIMG_LOG: what happened can be read afterwards, and no secret
//! with it.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use super::fixture::{Serving, project, run, text, write};
use crate::home::Home;
use crate::judges;
use crate::skip::needs_root;

/// A password that stands for itself nowhere else.
const PASSWORD: &str = "hunter2-of-the-registry";

fn events(log: &str) -> Vec<Value> {
    log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn the_log_tells_what_happened_and_no_secret() {
    let (home, registry) = (Home::new(), Serving::with_tokens("user", PASSWORD));
    let project = project(&home);
    let repository = format!("{}/mp/hello", registry.host);
    let log = home.path().join("mpimg.log");
    let push = |password: &str| {
        let mut command = home.mpimg();
        command.args(["push", text(&project), "-r", &repository, "--log-file", text(&log)]);
        command.args(["--registry-username", "user", "--registry-password", password]);
        run(&mut command, [""; 0])
    };
    push(PASSWORD).done();
    let refused = push("hunter2-mistyped");
    assert_eq!(refused.code, Some(1), "{}", refused.err);

    let written = std::fs::read_to_string(&log).unwrap();
    let events = events(&written);
    let has = |field: &str, value: &str| events.iter().any(|event| event[field] == value);
    assert!(has("command", "push") && has("message", "done") && has("message", "failed"), "{written}");
    assert!(events.iter().all(|event| event["timestamp"].is_string() && event["level"].is_string()), "{written}");
    let steps = events.iter().filter(|event| event["kind"] == "Step").count();
    assert!(steps > 0, "{written}");
    assert_eq!(log.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    // Passwords, as they are and as they are sent; tokens.
    let basic = basic_credential(&format!("user:{PASSWORD}"));
    for secret in ["hunter2", &basic, "Bearer ", "Basic "] {
        assert!(!written.contains(secret), "{secret} is in the log:\n{written}");
    }
}

/// Also where the command prints it: what a step says is not in the log.
#[test]
fn a_secret_of_a_step_is_not_in_the_log_whatever_the_step_does_with_it() {
    needs_root!();
    let home = Home::new();
    write(&home.path(), "token", "hunter2-of-the-build");
    let base = format!("oci:{}:base", judges().join("base").display());
    let dockerfile =
        format!("FROM {base}\nRUN --mount=type=secret,id=t,env=TOKEN --mount=type=secret,id=t env; cat /run/secrets/t\n");
    std::fs::create_dir(home.path().join("context")).unwrap();
    write(&home.path(), "context/Dockerfile", &dockerfile);
    let log = home.path().join("mpimg.log");
    let mut command = home.mpimg();
    command.args(["-vv", "build", "context", "--log-file", text(&log)]).current_dir(home.path());
    run(&mut command, ["--secret", "id=t,src=token"]).done();
    let written = std::fs::read_to_string(&log).unwrap();
    assert!(written.contains("/run/secrets/t"), "the step is in the log: {written}");
    assert!(!written.contains("hunter2"), "{written}");
}

#[test]
fn more_flags_show_more_on_standard_error_and_a_variable_names_the_file() {
    let (home, registry) = (Home::new(), Serving::open());
    let project = project(&home);
    let repository = format!("{}/mp/hello", registry.host);
    let lines = |flags: &[&str]| {
        let mut command = home.mpimg();
        command.args(flags);
        run(&mut command, ["push", text(&project), "-r", &repository]).done().err.lines().count()
    };
    let (quiet, all) = (lines(&[]), lines(&["-vv"]));
    assert!(all > quiet, "{all} lines with -vv, {quiet} without");

    let log = home.path().join("by-variable.log");
    run(home.mpimg().env("MPIMG_LOG", &log), ["images"]).done();
    run(home.mpimg().env("MPIMG_LOG", &log), ["images"]).done();
    let written = std::fs::read_to_string(&log).unwrap();
    assert_eq!(events(&written).iter().filter(|event| event["command"] == "images").count(), 2, "it is appended to");

    let left = run(home.mpimg().env("MPIMG_LOG", home.path()), ["images"]);
    assert_eq!(left.code, Some(1));
    assert!(left.err.contains("cannot write the log to") && left.err.contains("hint: "), "{}", left.err);
}

/// Base64, as `Authorization: Basic` has it.
fn basic_credential(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[test]
fn the_log_says_why_a_step_was_done_again() {
    let home = Home::new();
    let project = project(&home);
    let log = home.path().join("mpimg.log");
    let built = |flags: &[&str]| {
        let _ = std::fs::remove_file(&log);
        run(home.mpimg().args(["build", text(&project), "--log-file", text(&log)]).args(flags), [""; 0]).done();
        events(&std::fs::read_to_string(&log).unwrap())
    };
    let reasons = |events: &[Value]| -> Vec<String> {
        let reasons = events.iter().filter_map(|event| Some(event["reason"].as_str()?.to_owned()));
        reasons.filter(|reason| !reason.is_empty()).collect()
    };
    let first = built(&[]);
    assert!(reasons(&first).contains(&"no step has had exactly these inputs".to_owned()), "{first:?}");
    // The inputs of a key by name, with the beginning of each digest.
    let key = first.iter().find(|event| event["message"] == "key of the build cache").unwrap();
    assert!(key["inputs"].as_str().unwrap().contains("layers below "), "{key}");
    let outcomes = |events: &[Value]| -> Vec<String> {
        let ended = events.iter().filter(|event| event["message"] == "step ended");
        ended.map(|event| event["outcome"].as_str().unwrap().to_owned()).collect()
    };
    // CMD makes no layer: nothing is looked up.
    assert_eq!(outcomes(&built(&[])), ["Cached", "Cached", "Done"]);
    write(&project, "app/adapter.py", "print('HELLO')\n");
    let changed = built(&[]);
    assert_eq!(outcomes(&changed), ["Cached", "Done", "Done"]);
    // What a reader filters by: of which step a line is.
    let missed = changed.iter().find(|event| event["reason"] == "a file has other content").unwrap();
    assert!(missed["span"]["instruction"].as_str().unwrap().contains(" COPY "), "{missed}");
    assert!(reasons(&changed).contains(&"a file has other content".to_owned()), "{changed:?}");
    let first_file = |events: &[Value]| -> (String, String) {
        let named: Vec<&Value> = events.iter().filter(|event| event["file"].is_string()).collect();
        let [named] = named[..] else { panic!("{events:?}") };
        assert!(named["span"]["instruction"].as_str().unwrap().contains(" COPY "), "{named}");
        (named["file"].as_str().unwrap().to_owned(), named["difference"].as_str().unwrap().to_owned())
    };
    let named = |difference: &str, file: &str| (format!("/app/{file}"), difference.to_owned());
    assert_eq!(first_file(&changed), named("it has other content", "adapter.py"));
    write(&project, "app/adapter.py", "print('longer')\n");
    write(&project, "app/a.py", "");
    assert_eq!(first_file(&built(&[])), named("it is new", "a.py"));
    std::fs::remove_file(project.join("app/a.py")).unwrap();
    assert_eq!(first_file(&built(&[])), named("it is gone", "a.py"));
    write(&project, "app/adapter.py", "print('longest')\n");
    assert_eq!(first_file(&built(&[])), named("it has another size, mode or owner, or is of another kind", "adapter.py"));
    // It is held against the last build, also where that had all from the build cache.
    write(&project, "app/adapter.py", "print('longer')\n");
    assert_eq!(outcomes(&built(&[])), ["Cached", "Cached", "Done"]);
    write(&project, "app/adapter.py", "print('LONGER')\n");
    assert_eq!(first_file(&built(&[])), named("it has other content", "adapter.py"));
    assert!(reasons(&built(&["--no-cache"])).contains(&"the build was asked not to use it".to_owned()));
}
