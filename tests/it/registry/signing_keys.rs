//! Keys: those of openssl, those that are made, and what another program keeps.

use super::signing::{mpimg, push, refused, signer};
use crate::cli::fixture::{Serving, run, text, write};
use crate::home::Home;

fn openssl(home: &Home, arguments: &str) {
    let mut command = crate::judge("openssl");
    crate::run(command.args(arguments.split_whitespace()).current_dir(home.path()));
}

#[test]
fn keys_of_openssl_sign_as_files_and_by_a_command_that_keeps_them() {
    let (home, folder) = signer();
    let registry = Serving::open();
    let target = format!("{}/mp/app", registry.host);
    let openssl = |arguments: &str| openssl(&home, arguments);
    openssl("ecparam -name prime256v1 -genkey -out sec1.pem");
    openssl("pkcs8 -topk8 -nocrypt -in sec1.pem -out pkcs8.pem");
    openssl("pkcs8 -topk8 -passout pass:correct -in sec1.pem -out encrypted.pem");
    openssl("ec -in sec1.pem -pubout -out public.pem");
    let pushed = push(&home, &folder, &target, &[]);
    let image = format!("{target}@{}", pushed["digest"].as_str().unwrap());
    for key in ["sec1.pem", "pkcs8.pem", "encrypted.pem"] {
        let signed = run(home.mpimg().env("COSIGN_PASSWORD", "correct"), ["sign", "--json", &image, "--key", key]).done().json();
        assert_eq!(signed["signed"].as_array().unwrap().len(), 1, "{signed}");
    }
    let left = refused(home.mpimg().env("COSIGN_PASSWORD", "wrong"), ["sign", &image, "--key", "encrypted.pem"], 2);
    assert!(left.err.contains("wrong password"), "{}", left.err);
    let command = ["--key-command", "openssl dgst -sha256 -sign sec1.pem", "--public-key", "public.pem"];
    // Each signature of openssl is another one; there is one of each key all the same: those of the
    // files are by this key, too.
    for _ in 0..2 {
        run(home.mpimg().args(["sign", &image]), command).done();
    }
    let found = run(&mut home.mpimg(), ["verify", "--json", &image, "--key", "public.pem"]).done().json();
    assert_eq!(found["verified"][0]["signatures"].as_array().unwrap().len(), 2, "one in each form: {found}");
    let another = ["--key-command", "openssl dgst -sha256 -sign sec1.pem", "--public-key", "own.pub"];
    let left = refused(home.mpimg().args(["sign", &image]), another, 1);
    assert!(left.err.contains("what was signed does not verify"), "{}", left.err);
    run(&mut home.mpimg(), ["verify", &image, "--key", "public.pem"]).done();
    openssl("ecparam -name secp384r1 -genkey -out large.pem");
    let left = refused(&mut home.mpimg(), ["push", text(&folder), "-r", &target, "--sign", "large.pem"], 2);
    assert!(left.err.contains("cannot use `large.pem` as a private key") && left.err.contains("P-256"), "{}", left.err);
}

#[test]
fn a_key_that_is_made_replaces_no_file_and_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let (home, _) = signer();
    let before = std::fs::read(home.path().join("own.key")).unwrap();
    let left = refused(&mut mpimg(&home), ["key", "generate", "own"], 2);
    assert!(left.err.starts_with("error: `own.key` exists already\nhint: "), "{}", left.err);
    assert_eq!(std::fs::read(home.path().join("own.key")).unwrap(), before);
    let mode = std::fs::metadata(home.path().join("own.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let left = refused(&mut home.mpimg(), ["key", "generate", "more"], 2);
    assert!(left.err.contains("there is no terminal to ask on\nhint: set COSIGN_PASSWORD"), "{}", left.err);
}

#[test]
fn a_key_file_that_cannot_be_used_says_what_is_wrong_with_it() {
    let (home, _) = signer();
    let openssl = |arguments: &str| openssl(&home, arguments);
    openssl("ecparam -name prime256v1 -genkey -noout -out sec1.pem");
    openssl("ec -in sec1.pem -aes256 -passout pass:correct -out old.pem");
    openssl("ec -in sec1.pem -pubout -out public.pem");
    let text = |name: &str| std::fs::read_to_string(home.path().join(name)).unwrap();
    write(&home.path(), "two.pem", &[text("sec1.pem"), text("sec1.pem")].concat());
    write(&home.path(), "two.pub", &[text("public.pem"), text("own.pub")].concat());
    write(&home.path(), "file", "content");
    for (key, says) in [
        ("old.pem", "encrypted in openssl's old form"),
        ("two.pem", "the file holds several private keys"),
        ("own.pub", "no private key found"),
    ] {
        let left = refused(home.mpimg().env("COSIGN_PASSWORD", "correct"), ["sign", "--file", "file", "--key", key], 2);
        assert!(left.err.contains(says), "{key}: {}", left.err);
    }
    run(&mut home.mpimg(), ["sign", "--file", "file", "--key", "sec1.pem"]).done();
    let left = refused(&mut home.mpimg(), ["verify", "--file", "file", "--key", "two.pub"], 2);
    assert!(left.err.contains("the file holds several public keys"), "{}", left.err);
    // As openssl writes base64: in lines.
    openssl("dgst -sha256 -sign sec1.pem -out raw file");
    openssl("base64 -in raw -out file.sig");
    std::fs::remove_file(home.path().join("file.sigstore.json")).unwrap();
    assert!(text("file.sig").trim().contains('\n'), "openssl breaks its lines");
    run(&mut home.mpimg(), ["verify", "--file", "file", "--key", "public.pem"]).done();
}

#[test]
fn a_key_command_that_prints_something_else_is_told_so_and_does_not_fill_the_memory() {
    let (home, _) = signer();
    write(&home.path(), "file", "content");
    for (command, says) in [
        ("cat /dev/zero", "it printed more than a signature"),
        ("yes & yes", "it printed more than a signature"),
        ("echo hello", "what it printed is not a signature"),
        ("true", "it printed nothing"),
        ("echo no token >&2; exit 3", "no token"),
        ("yes error | head -c 10000000 >&2; exit 3", "error"),
    ] {
        let sign = ["sign", "--file", "file", "--key-command", command, "--public-key", "own.pub"];
        let left = refused(&mut home.mpimg(), sign, 1);
        assert!(left.err.contains("does not sign") && left.err.contains(says), "{command}: {}", left.err);
        assert!(!left.err.contains("give the public key that belongs"), "{command}: {}", left.err);
        assert!(left.err.len() < 10_000, "{command}");
        assert!(!home.path().join("file.sig").exists(), "{command}");
    }
}

#[test]
fn a_signal_ends_a_key_command_that_waits() {
    let (home, _) = signer();
    write(&home.path(), "file", "content");
    let sign = ["sign", "--file", "file", "--key-command", "echo $$ >pid; exec sleep 300", "--public-key", "own.pub"];
    let mut running = home.mpimg().args(sign).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let pid = home.path().join("pid");
    let started = || std::fs::read_to_string(&pid).unwrap_or_default().trim().parse::<i32>().ok();
    let command = loop {
        if let Some(command) = started() {
            break command;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    };
    let own = rustix::process::Pid::from_child(&running);
    rustix::process::kill_process(own, rustix::process::Signal::TERM).unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(143));
    let gone = rustix::process::test_kill_process(rustix::process::Pid::from_raw(command).unwrap());
    assert_eq!(gone, Err(rustix::io::Errno::SRCH), "the command runs on");
    assert!(!home.path().join("file.sig").exists());
}
