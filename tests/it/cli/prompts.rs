//! Questions, asked on a real terminal.
#![cfg(unix)]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::fixture::{Serving, project, write};
use crate::home::Home;

/// How long a text is waited for: only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// A command on a terminal; its standard output is a pipe.
struct Session {
    child: Child,
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    seen: String,
}

impl Session {
    fn start(mut command: Command) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let terminal = || Stdio::from(File::options().read(true).write(true).open(&name).unwrap());
        command.env("TERM", "xterm").stdin(terminal()).stderr(terminal()).stdout(Stdio::piped());
        let child = command.spawn().unwrap();
        // The parent's copies of the terminal close here: the screen ends with the child.
        drop(command);
        let keyboard = File::from(master);
        let mut reader = keyboard.try_clone().unwrap();
        let (sender, screen) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { child, keyboard, screen, seen: String::new() }
    }

    /// Waits until `text` is on the screen.
    fn wait_for(&mut self, text: &str) {
        while !self.seen.contains(text) {
            let more = self.screen.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no `{text}` on the screen:\n{}", self.seen));
            self.seen += &String::from_utf8_lossy(&more);
        }
    }

    fn type_keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Exit code, standard output, and all that was on the screen.
    fn end(mut self) -> (Option<i32>, String, String) {
        let mut output = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
        let code = self.child.wait().unwrap().code();
        while let Ok(more) = self.screen.recv_timeout(Duration::from_millis(500)) {
            self.seen += &String::from_utf8_lossy(&more);
        }
        (code, output, self.seen)
    }
}

fn push(home: &Home, project: &Path) -> Command {
    let mut command = home.mpimg();
    command.args(["push", "--color", "never"]).arg(project);
    command
}

#[test]
fn the_repository_is_asked_for_checked_and_remembered() {
    let (home, registry) = (Home::new(), Serving::open());
    let project = project(&home);
    let global = home.path().join(".vmware-aria-operations-integration-sdk");
    std::fs::create_dir(&global).unwrap();
    write(&global, "config.json", &format!(r#"{{"default_container_registry_path": "{}/mp/"}}"#, registry.host));
    let mut session = Session::start(push(&home, &project));
    session.wait_for(&format!("{}/mp/helloadapter", registry.host));
    // Offered for editing: a tag is refused, without it the answer is taken.
    session.type_keys(":1\r");
    session.wait_for("✗ `");
    session.wait_for("is not a container repository");
    session.type_keys("\x7f\x7f\r");
    let (code, output, screen) = session.end();
    assert_eq!(code, Some(0), "{screen}");
    assert!(output.contains("REPOSITORY=/mp/helloadapter\n"), "{output}");
    let config = std::fs::read_to_string(project.join("config.json")).unwrap();
    assert_eq!(config, format!("{{\n    \"container_repository\": \"{}/mp/helloadapter\"\n}}", registry.host));
}

#[test]
fn an_answer_survives_a_push_that_fails_and_config_json_is_written_with_a_line_that_says_so() {
    let (home, registry) = (Home::new(), Serving::open());
    let project = project(&home);
    let dockerfile = std::fs::read_to_string(project.join("Dockerfile")).unwrap();
    write(&project, "Dockerfile", "FROM scratch\nCOPY missing .\n");
    let answer = format!("{}/mp/answered", registry.host);
    let mut session = Session::start(push(&home, &project));
    session.wait_for("Container repository:");
    session.type_keys(&format!("{answer}\r"));
    let (code, _, screen) = session.end();
    assert_eq!(code, Some(1), "{screen}");
    assert!(!project.join("config.json").exists());

    write(&project, "Dockerfile", &dockerfile);
    let mut session = Session::start(push(&home, &project));
    session.wait_for(&answer);
    session.type_keys("\r");
    let (code, _, screen) = session.end();
    assert_eq!(code, Some(0), "{screen}");
    assert!(screen.contains("wrote `container_repository` to ") && screen.contains("project/config.json: "), "{screen}");
    let config = std::fs::read_to_string(project.join("config.json")).unwrap();
    assert!(config.contains(&answer), "{config}");

    // It is in the file now, and nowhere else.
    std::fs::remove_file(project.join("config.json")).unwrap();
    let mut session = Session::start(push(&home, &project));
    session.wait_for("Container repository:");
    session.type_keys("\x03");
    let (_, _, screen) = session.end();
    assert!(!screen.contains(&answer), "{screen}");
}

#[test]
fn ctrl_c_at_a_prompt_ends_without_a_trace() {
    let home = Home::new();
    let project = project(&home);
    let mut session = Session::start(push(&home, &project));
    session.wait_for("Container repository:");
    session.type_keys("\x03");
    let (code, output, screen) = session.end();
    assert_eq!((code, output.as_str()), (Some(130), ""), "{screen}");
    assert!(!project.join("config.json").exists());
}

#[test]
fn no_ttl_asks_nothing_even_on_a_terminal() {
    let home = Home::new();
    let project = project(&home);
    let mut command = push(&home, &project);
    command.arg("--no-ttl");
    let (code, _, screen) = Session::start(command).end();
    assert_eq!(code, Some(2), "{screen}");
    assert!(screen.contains("container_repository"), "{screen}");
}

#[test]
fn a_password_is_asked_for_and_not_shown() {
    let (home, registry) = (Home::new(), Serving::private());
    let mut command = home.mpimg();
    command.args(["login", "--color", "never", &registry.host]);
    let mut session = Session::start(command);
    session.wait_for("User name for");
    session.type_keys("user\r");
    session.wait_for("Password for");
    session.type_keys("pass word\r");
    let (code, output, screen) = session.end();
    assert_eq!((code, output.as_str()), (Some(0), "Login Succeeded\n"), "{screen}");
    assert!(!screen.contains("pass word"), "{screen}");
}

#[test]
fn bars_are_drawn_on_a_terminal_and_finished_steps_stay() {
    let home = Home::new();
    let project = project(&home);
    let mut command = home.mpimg();
    command.args(["build", "--color", "never"]).arg(&project);
    let (code, _, screen) = Session::start(command).end();
    assert_eq!(code, Some(0), "{screen}");
    assert!(screen.contains("✓ [2/3] COPY app app"), "{screen}");
}

#[test]
fn a_build_asks_whether_the_installed_sdks_image_may_stand_in_for_one_that_is_gone() {
    let home = Home::new();
    let (project, gone) =
        (home.path().join("old"), "projects.registry.vmware.com/vmware_aria_operations_integration_sdk/base-adapter");
    let site = "venv-Old/lib/python3.11/site-packages";
    for (name, text) in [
        ("Dockerfile", format!("FROM {gone}:python-1.0.0\nLABEL a=b\n")),
        ("venv-Old/bin/activate", String::new()),
        ("venv-Old/bin/python", String::new()),
        (
            &format!("{site}/vmware_aria_operations_integration_sdk/container_versions.json"),
            r#"{"base_image": {"language": "Python", "path": "base-python-adapter", "version": "1.2.0"}}"#.into(),
        ),
        (&format!("{site}/images/base-python-adapter/Dockerfile"), "FROM scratch\n".into()),
    ] {
        std::fs::create_dir_all(project.join(name).parent().unwrap()).unwrap();
        std::fs::write(project.join(name), text).unwrap();
    }
    let mut command = home.mpimg();
    command.args(["build", "-t", "old:1", "--color", "never"]).arg(&project);
    let mut session = Session::start(command);
    session.wait_for("Build on `base-adapter:python-1.2.0` of the installed SDK instead?");
    session.type_keys("\r");
    let (code, output, screen) = session.end();
    assert_eq!((code, output.starts_with("sha256:")), (Some(0), true), "{screen}");

    // The same for the change of the Dockerfile, where no is an answer, too.
    for (answer, first_line) in [("n\r", format!("FROM {gone}:python-1.0.0")), ("\r", "FROM base-adapter:python-1.2.0".into())] {
        let mut command = home.mpimg();
        command.args(["migrate", "--color", "never"]).arg(&project);
        let mut session = Session::start(command);
        session.wait_for("+FROM base-adapter:python-1.2.0");
        session.wait_for("Change `");
        session.type_keys(answer);
        let (code, output, screen) = session.end();
        assert_eq!((code, output.as_str()), (Some(0), ""), "{screen}");
        assert_eq!(std::fs::read_to_string(project.join("Dockerfile")).unwrap().lines().next(), Some(first_line.as_str()));
    }
}
