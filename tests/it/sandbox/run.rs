//! What a command sees and what becomes of it, on the root rung.

use mpimg::sandbox::Exit;

use super::rootfs::{Fixture, is_root, lines};

#[test]
fn a_command_runs_and_its_changes_are_exactly_what_it_changed() {
    if !is_root() {
        return;
    }
    let mut fixture = Fixture::new();
    let changes =
        fixture.changes_of("echo hello; echo new > /etc/new; rm /usr/share/doc/a; ln /etc/new /etc/other; mkdir -p /opt/x");
    assert_eq!(
        lines(&changes),
        [
            "etc/",
            "etc/new 4",
            "etc/other = etc/new",
            "opt/",
            "opt/x/",
            "usr/",
            "usr/share/",
            "usr/share/doc/",
            "usr/share/doc/a whiteout"
        ]
    );
}

#[test]
fn a_command_that_changes_nothing_makes_an_empty_layer() {
    if !is_root() {
        return;
    }
    let mut fixture = Fixture::new();
    assert_eq!(lines(&fixture.changes_of("true")), Vec::<String>::new());
}

#[test]
fn the_status_of_a_command_is_told_as_it_is() {
    if !is_root() {
        return;
    }
    let mut fixture = Fixture::new();
    for (script, exit) in [("exit 3", Exit::Code(3)), ("kill -9 $$", Exit::Signal(9)), ("exec /nowhere", Exit::Code(127))] {
        let spec = fixture.shell(script);
        assert_eq!(fixture.run(&spec).exit, exit, "{script}");
    }
}
