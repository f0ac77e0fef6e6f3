//! What a command sees and what becomes of it, on the root isolation.

use std::process::Command;

use mpimg::sandbox::{Exit, NetworkAccess, RootSpec, SecretBytes, User};
use mpimg::{CancellationToken, ErrorKind};

use super::rootfs::{Fixture, lines};
use crate::skip::needs_root;

#[test]
fn a_command_runs_and_its_changes_are_exactly_what_it_changed() {
    needs_root!();
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
    needs_root!();
    let mut fixture = Fixture::new();
    assert_eq!(lines(&fixture.changes_of("true")), Vec::<String>::new());
}

#[test]
fn the_status_of_a_command_is_told_as_it_is() {
    needs_root!();
    let mut fixture = Fixture::new();
    for (script, exit) in [("exit 3", Exit::Code(3)), ("kill -9 $$", Exit::Signal(9)), ("exec /nowhere", Exit::Code(127))] {
        let spec = fixture.shell(script);
        assert_eq!(fixture.run(&spec).exit, exit, "{script}");
    }
}

#[test]
fn the_environment_is_the_steps_and_nothing_of_this_process() {
    needs_root!();
    let mut fixture = Fixture::new();
    let mut spec = fixture.shell("env | sort; cat /proc/1/environ");
    spec.env = vec![("B".into(), "2".into()), ("A".into(), "1".into()), ("B".into(), "3".into())];
    spec.secret_env = vec![("TOKEN".into(), SecretBytes::new("t"))];
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(
        fixture.run(&spec).output,
        format!("A=1\nB=3\nHOME=/root\n{path}\nPWD=/\nSHLVL=1\nTOKEN=t\ncat: can't open '/proc/1/environ': Permission denied\n")
    );
}

#[test]
fn capabilities_and_filter_are_dockers() {
    needs_root!();
    let mut fixture = Fixture::new();
    let status =
        fixture.output_of("grep -E 'Cap(Prm|Eff|Bnd|Amb|Inh)|NoNewPrivs|Seccomp:|SigIgn|SigBlk' /proc/self/status | tr -d '\t'");
    assert_eq!(
        status,
        "SigBlk:0000000000000000\nSigIgn:0000000000000000\nCapInh:0000000000000000\nCapPrm:00000000a80425fb\nCapEff:00000000a80425fb\n\
         CapBnd:00000000a80425fb\nCapAmb:0000000000000000\nNoNewPrivs:0\nSeccomp:2\n"
    );
    let denied = fixture.output_of(
        "mount -t tmpfs x /tmp 2>&1; unshare -m true 2>&1; unshare -U true 2>&1; dmesg 2>&1; hostname x 2>&1; date -s 2001-01-01 2>&1 >/dev/null; true",
    );
    let lines: Vec<&str> = denied.lines().collect();
    assert_eq!(lines.len(), 6, "{denied}");
    assert!(lines.iter().all(|line| line.contains("not permitted") || line.contains("denied")), "{denied}");
}

#[test]
fn set_id_programs_work() {
    needs_root!();
    let mut fixture = Fixture::new();
    // busybox's crontab refuses to work unless it is set-id root, and the list is root's to read.
    fixture.changes_of(
        "chmod 4755 /bin/busybox; mkdir -p /var/spool/cron/crontabs; chmod 700 /var/spool/cron/crontabs; echo job >/var/spool/cron/crontabs/aria",
    );
    let mut spec = fixture.shell("crontab -l");
    spec.user = User { uid: 1000, gid: 1000, groups: Vec::new() };
    assert_eq!(fixture.run(&spec).output, "job\n");
}

#[test]
fn devices_of_the_machine_cannot_be_opened() {
    needs_root!();
    let mut fixture = Fixture::new();
    let text = fixture.output_of("mknod /tmp/mem c 1 1; mknod /tmp/null c 1 3; echo >/tmp/null || true; head -c 1 /tmp/mem || true; echo 1 >/proc/sys/vm/drop_caches || true; cat /proc/keys | wc -c");
    let refused = text.lines().filter(|line| line.contains("Permission denied") || line.contains("Read-only")).count();
    assert_eq!((refused, text.lines().last()), (3, Some("0")), "{text}");
}

#[test]
fn what_a_command_leaves_running_is_killed_and_holds_nothing_up() {
    needs_root!();
    let mut fixture = Fixture::new();
    let name = format!("{}", std::process::id() + 1_000_000);
    let script = format!("(setsid sleep {name} &) ; (trap '' TERM HUP INT; sleep {name}) & true");
    fixture.output_of(&script);
    let left = Command::new("pgrep").args(["-f", &format!("sleep {name}")]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout), "");
}

#[test]
fn a_cancelled_command_ends_at_once_with_all_that_it_started() {
    needs_root!();
    let mut fixture = Fixture::new();
    let name = format!("{}", std::process::id() + 2_000_000);
    let spec = fixture.shell(&format!("trap '' INT TERM; echo started; (setsid sleep {name} &); while :; do sleep {name}; done"));
    let cancel = CancellationToken::default();
    let switch = cancel.clone();
    let result = fixture.isolation.run(&spec, &mut |_| switch.cancel(), &cancel);
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Interrupted);
    let left = Command::new("pgrep").args(["-f", &format!("sleep {name}")]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout), "");
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(fixture.state.path().to_str().unwrap()), "{mounts}");
}

#[test]
fn output_of_both_streams_comes_in_order() {
    needs_root!();
    let mut fixture = Fixture::new();
    assert_eq!(
        fixture.output_of("echo 1; echo 2 >&2; echo 3; head -c 300000 /dev/zero | tr '\\0' x; echo 4 >/dev/stderr").len(),
        300_008
    );
}

#[test]
fn a_command_without_network_has_its_loopback_only() {
    needs_root!();
    let mut fixture = Fixture::new();
    let mut spec = fixture.shell("ip -o link | cut -d: -f2; ping -c 1 -W 1 127.0.0.1 >/dev/null && echo up");
    spec.network = NetworkAccess::None;
    assert_eq!(fixture.run(&spec).output, " lo\nup\n");
}

#[test]
fn hosts_and_names_are_written_for_a_container() {
    needs_root!();
    let mut fixture = Fixture::new();
    let mut spec = fixture.shell("hostname; cat /etc/hosts /etc/hostname; echo x >>/etc/hosts && tail -n 1 /etc/hosts");
    spec.hostname = "builder".into();
    spec.container = true;
    spec.extra_hosts = vec![("db".into(), "10.0.0.7".parse().unwrap())];
    let expected = "builder\n127.0.0.1\tlocalhost builder\n::1\tlocalhost ip6-localhost ip6-loopback\n10.0.0.7\tdb\nbuilder\nx\n";
    assert_eq!(fixture.run(&spec).output, expected);
}

#[test]
fn a_script_with_an_interpreter_line_is_run_as_a_file() {
    needs_root!();
    let mut fixture = Fixture::new();
    let mut spec = fixture.shell("");
    spec.argv = vec![b"/dev/pipes/EOF".to_vec(), b"argument".to_vec()];
    spec.script = Some(("EOF".into(), b"#!/bin/awk -f\nBEGIN { print \"awk\", ARGV[1] }\n".to_vec()));
    assert_eq!(fixture.run(&spec).output, "awk argument\n");
}

#[test]
fn a_program_is_looked_for_in_the_path_of_the_step() {
    needs_root!();
    let mut fixture = Fixture::new();
    fixture.changes_of("mkdir /x /y; echo 'echo mine' >/x/tool; cp /x/tool /y/tool; sed -i '1i#!/bin/sh' /y/tool; chmod 755 /y/tool; touch /x/plain");
    for (argv, output, exit) in [
        (vec!["tool"], "mine\n", Exit::Code(0)),
        (vec!["plain"], "mpimg: cannot run `plain`: Permission denied (os error 13)\n", Exit::Code(126)),
        (vec!["none"], "mpimg: cannot run `none`: No such file or directory (os error 2)\n", Exit::Code(127)),
    ] {
        let mut spec = fixture.shell("");
        spec.argv = argv.into_iter().map(Into::into).collect();
        spec.env = vec![("PATH".into(), "/x:/y".into())];
        let ran = fixture.run(&spec);
        assert_eq!((ran.output.as_str(), ran.exit), (output, exit));
    }
}

#[test]
fn a_step_on_nothing_at_all_can_be_run() {
    needs_root!();
    let mut fixture = Fixture::new();
    fixture.layers.clear();
    let mut spec = fixture.shell("");
    spec.argv = vec![b"/no".to_vec()];
    let ran = fixture.run(&spec);
    assert_eq!(ran.exit, Exit::Code(127));
    assert_eq!(lines(&fixture.changes(&ran)), Vec::<String>::new());
}

#[test]
fn a_hundred_layers_are_no_more_than_one_page_of_options() {
    needs_root!();
    let mut fixture = Fixture::new();
    for index in 0..100 {
        let folder = fixture.state.path().join(format!("layer,with:odd\\name-{index}"));
        crate::tar_builder::Tar::default().file(&format!("file-{index}"), "x").unpack(&folder).unwrap();
        fixture.layers.insert(0, folder);
    }
    assert_eq!(fixture.output_of("ls / | grep -c file-"), "100\n");
}

#[test]
fn sockets_are_left_out_and_devices_and_attributes_kept_as_docker_does() {
    needs_root!();
    let mut fixture = Fixture::new();
    let spec = fixture.shell(
        "mknod /null c 1 3; touch /plain /capable; nc -l -s local:/socket & sleep 0.2; truncate -s 1M /holes; echo end >>/holes",
    );
    let ran = fixture.run(&spec);
    let RootSpec::Overlay { upper, .. } = &ran.root else { unreachable!() };
    std::os::unix::net::UnixListener::bind(upper.join("socket")).unwrap();
    let set = |name: &str, value: &str, file: &str| {
        Command::new("setfattr").args(["-n", name, "-v", value]).arg(upper.join(file)).status().unwrap()
    };
    assert!(set("user.mine", "x", "plain").success());
    assert!(set("security.capability", "0sAQAAAgAEAAAAAAAAAAAAAAAAAAA=", "capable").success());
    let changes = fixture.changes(&ran);
    assert_eq!(lines(&changes), ["capable 0", "holes 1048580", "null CharDevice { major: 1, minor: 3 }", "plain 0"]);
    assert_eq!(changes[0].metadata.xattrs.keys().collect::<Vec<_>>(), [b"security.capability"]);
    assert!(changes[3].metadata.xattrs.is_empty());
}

#[test]
fn a_copied_up_file_that_is_as_before_is_no_change() {
    needs_root!();
    let mut fixture = Fixture::new();
    let changes = fixture.changes_of(
        "chmod 600 /usr/share/doc/a; chmod 644 /usr/share/doc/a; chown 0:0 /etc/group; touch -r /bin/busybox /x; rm /x; \
         cp -p /usr/share/doc/b /tmp/b; cat /tmp/b >/usr/share/doc/b; touch -r /tmp/b /usr/share/doc/b; rm /tmp/b; touch -d '2020-09-13 12:26:40' /tmp /",
    );
    assert_eq!(lines(&changes), Vec::<String>::new());
    let changes = fixture.changes_of("ln /usr/share/doc/a /usr/share/doc/c");
    // The first name is written as well: an engine that unpacks this layer alone could not link to
    // it otherwise.
    assert_eq!(
        lines(&changes),
        ["usr/", "usr/share/", "usr/share/doc/", "usr/share/doc/a 6", "usr/share/doc/c = usr/share/doc/a"]
    );
}

#[test]
fn runc_cve_2019_5736_the_program_behind_proc_self_exe_cannot_be_overwritten() {
    needs_root!();
    let mut fixture = Fixture::new();
    let before = std::fs::metadata(env!("CARGO_BIN_EXE_mpimg")).unwrap();
    fixture.changes_of("printf '#!/proc/self/exe\\n' >/trap; chmod 755 /trap");
    let mut spec = fixture.shell("");
    spec.argv = vec![b"/trap".to_vec()];
    fixture.run(&spec);
    let seen = fixture.output_of("for pid in /proc/[0-9]*; do readlink $pid/exe; done | sort -u");
    assert!(!seen.contains("target"), "a path of this machine is visible: {seen}");
    let after = std::fs::metadata(env!("CARGO_BIN_EXE_mpimg")).unwrap();
    assert_eq!((before.len(), before.modified().unwrap()), (after.len(), after.modified().unwrap()));
}

#[test]
fn containers_storage_cve_2024_9676_a_strange_passwd_is_not_read() {
    needs_root!();
    for script in [
        "rm /etc/passwd; mkfifo /etc/passwd",
        "ln -sf /proc/kmsg /etc/passwd",
        "ln -sf /dev/zero /etc/passwd",
        "rm /etc/passwd; mkdir /etc/passwd",
    ] {
        let mut fixture = Fixture::new();
        fixture.changes_of(script);
        assert_eq!(fixture.output_of("echo $HOME"), "/\n", "{script}");
    }
}
