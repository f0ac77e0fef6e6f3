//! A container that has filled the disk on which its log and its record are.

use crate::home::{Home, in_own_mounts};
use crate::judge;

use super::fixture::{Left, base};
use crate::skip::needs_root;

/// A store with 24 MB; a container that writes until that is full, then more than a last page still
/// takes, and goes on when there is room again.
const SCRIPT: &str = r#"
mount -t tmpfs -o size=24m tmpfs $MPIMG_HOME
wait_for() { for _ in $(seq 1500); do eval "$1" && return; sleep 0.02; done; echo "it does not come about: $1" >&2; exit 1; }
room() { stat -f -c %a $MPIMG_HOME; }
$MPIMG run -d --isolation root --name one -v $HOME:/home $IMAGE sh -c '
    echo first
    while [ ! -e /home/full ]; do echo 0123456789012345678901234567890123456789; done
    for _ in $(seq 500); do echo 0123456789012345678901234567890123456789; done
    echo lost; touch /home/lost; while [ ! -e /home/free ]; do sleep 0.05; done; echo last' >/dev/null
$MPIMG run -d --isolation root --name two -v $HOME:/home $IMAGE sh -c '
    while [ ! -e /home/lost ]; do sleep 0.05; done; exit 5' >/dev/null
wait_for '[ $($MPIMG ps -q | wc -l) = 2 ]'
head -c 100m /dev/zero >$MPIMG_HOME/filler 2>/dev/null || true
wait_for '[ $(room) = 0 ]'; touch $HOME/full
wait_for '[ $($MPIMG ps -q | wc -l) = 1 ]'
$MPIMG ps -a --json >$HOME/when-full
rm $MPIMG_HOME/filler; touch $HOME/free
wait_for '[ $($MPIMG ps -q | wc -l) = 0 ]'
$MPIMG ps -a --json >$HOME/at-the-end
$MPIMG logs one >$HOME/out 2>$HOME/err
$MPIMG stop --rm one two
"#;

/// What a script leaves that has file systems of its own, with the settings of a home.
fn left_by(home: &Home, script: &str) -> Left {
    let mpimg = home.mpimg();
    let program = mpimg.get_program().to_owned();
    let mut shell = judge("true");
    shell.env_clear().envs(mpimg.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.current_dir(home.path()).env("MPIMG", program).env("IMAGE", base());
    Left::of(in_own_mounts(shell, script).output().unwrap())
}

#[test]
fn a_full_disk_costs_parts_of_the_log_and_no_exit_status() {
    needs_root!();
    let home = Home::new();
    let left = left_by(&home, SCRIPT);
    assert_eq!(left.code, Some(0), "{left:?}");
    let read = |name: &str| std::fs::read_to_string(home.path().join(name)).unwrap();
    let status = |file: &str, name: &str| {
        let list: serde_json::Value = serde_json::from_str(&read(file)).unwrap();
        let found = list["containers"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap().clone();
        (found["state"].as_str().unwrap().to_owned(), found["status"].as_i64())
    };
    assert_eq!(status("when-full", "two"), ("ended".into(), Some(5)));
    assert_eq!(status("at-the-end", "one"), ("ended".into(), Some(0)));
    let out = read("out");
    let lines: Vec<_> = out.lines().collect();
    assert_eq!((lines.first(), lines.last()), (Some(&"first"), Some(&"last")));
    // A short record may still have found room.
    let whole = |line: &&str| ["0123456789012345678901234567890123456789", "lost"].contains(line);
    assert!(lines[1..lines.len() - 1].iter().all(whole), "half a record is in the log");
    let told = read("err");
    let note = |line: &str| {
        line.starts_with("mpimg: ") && line.ends_with(" bytes of output are missing here: the log could not be written")
    };
    assert!(!told.is_empty() && told.lines().all(note), "{told}");
}

/// Volumes on a disk with 128 kB, of which the container wants more: a file alone, and one in a
/// folder.
const VOLUMES: &str = r#"
mkdir small; mount -t tmpfs -o size=128k tmpfs small
mkdir small/folder; head -c 40000 /dev/zero | tr '\0' a >small/file; cp small/file small/folder/file; cp small/file before
fill="head -c 100000 /dev/zero >"
if $MPIMG run --isolation chroot -v ./small/file:/v $IMAGE sh -c "$fill /v" 2>>errors; then exit 11; fi
if $MPIMG run --isolation chroot -v ./small/folder:/v $IMAGE sh -c "$fill /v/file" 2>>errors; then exit 12; fi
cmp before small/file; cmp before small/folder/file
[ "$(find small | sort | tr '\n' ' ')" = 'small small/file small/folder small/folder/file ' ]
$MPIMG run --isolation chroot -v ./small/file:/v $IMAGE sh -c 'echo short >/v'
$MPIMG run --isolation chroot -v ./small/folder:/v $IMAGE sh -c 'echo short >/v/file; rm -f /v/none; mkdir /v/new; echo x >/v/new/x'
[ "$(cat small/file small/folder/file small/folder/new/x | tr '\n' ' ')" = 'short short x ' ]
"#;

#[test]
fn a_full_disk_leaves_volumes_that_are_copied_back_as_they_were() {
    needs_root!();
    let home = Home::new();
    let left = left_by(&home, VOLUMES);
    let errors = std::fs::read_to_string(home.path().join("errors")).unwrap_or_default();
    assert_eq!(left.code, Some(0), "{left:?}\n{errors}");
    assert_eq!(errors.matches("No space left on device").count(), 2, "{errors}");
}
