//! Dockerfiles and base images that want more than a build gives. Each CVE of another tool has its
//! test; those of unpacking and of mounts are in `layer::unpack_hostile` and `sandbox::mounts`.

use std::path::PathBuf;

use crate::home::Home;
use crate::judges;
use crate::skip::{needs_root, possible};

/// Builds a Dockerfile on the fixtures' base image; whether it succeeded, and what was said.
fn build(home: &Home, dockerfile: &str, flags: &[&str]) -> (bool, String) {
    let folder = home.path().join("context");
    let _ = std::fs::create_dir(&folder);
    let base = format!("oci:{}:base", judges().join("base").display());
    std::fs::write(folder.join("Dockerfile"), dockerfile.replace("@BASE@", &base)).unwrap();
    let output = home.mpimg().arg("build").args(flags).arg(&folder).output().unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

/// BuildKit CVE-2024-23653: more rights than docker's default are nothing that a Dockerfile alone
/// can ask for.
#[test]
fn buildkit_cve_2024_23653_a_dockerfile_alone_gets_no_more_rights() {
    needs_root!();
    let home = Home::new();
    let dockerfile = "FROM @BASE@\nRUN --security=insecure grep CapEff /proc/self/status && mount -t tmpfs none /mnt\n";
    let (built, said) = build(&home, dockerfile, &[]);
    assert!(!built && said.contains("caused by: `--security=insecure` is not allowed\n"), "{said}");
    assert!(
        said.ends_with("hint: allow it with `--allow security.insecure`, if you trust the Dockerfile as you trust mpimg\n"),
        "{said}"
    );
    assert!(!said.contains("CapEff:"), "{said}");
    let insecure = "FROM @BASE@\nRUN mkdir -p /mnt\nRUN --security=insecure mount -t tmpfs none /mnt\n";
    let (built, said) = build(&home, insecure, &["--isolation", "root", "--allow", "security.insecure"]);
    assert!(built, "{said}");
}

/// buildah CVE-2024-9407: an option of `--mount` that is passed on unread; -9675: a cache named by
/// a path out of its folder.
#[test]
fn buildah_cve_2024_9407_9675_options_of_a_mount_are_known_and_names_are_no_paths() {
    needs_root!();
    let home = Home::new();
    let propagation = "FROM @BASE@\nRUN --mount=type=bind,bind-propagation=shared,target=/in true\n";
    let (built, said) = build(&home, propagation, &[]);
    assert!(!built && said.contains("bind-propagation"), "{said}");
    let outside = home.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    for id in ["../../home/outside".to_owned(), outside.display().to_string()] {
        let cache = format!("FROM @BASE@\nRUN --mount=type=cache,id={id},target=/cache touch /cache/written\n");
        let (built, said) = build(&home, &cache, &[]);
        assert!(built, "{said}");
    }
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
}

/// containers/storage CVE-2024-9676: users are read out of the image, where passwd may be a link to
/// something without an end.
#[test]
fn containers_storage_cve_2024_9676_users_are_not_read_from_where_a_link_leads() {
    needs_root!();
    let home = Home::new();
    let secret = home.path().join("secret");
    std::fs::write(&secret, "evil:x:0:0::/:/bin/sh\n").unwrap();
    for target in [PathBuf::from("/dev/zero"), PathBuf::from("../../../../../../dev/zero"), secret] {
        for isolation in ["root", "chroot"] {
            let link = format!("FROM @BASE@\nRUN ln -sf {} /etc/passwd\nUSER 1000:1000\nRUN echo $HOME\n", target.display());
            let (built, said) = build(&home, &link, &["--isolation", isolation, "--no-cache"]);
            assert!(built && said.contains("] /\n"), "{said}");
        }
        let named = format!("FROM @BASE@\nRUN ln -sf {} /etc/passwd\nUSER evil\nRUN id\n", target.display());
        let (built, said) = build(&home, &named, &[]);
        assert!(!built && said.contains("evil"), "{said}");
    }
    let fifo = "FROM @BASE@\nRUN rm /etc/passwd && mkfifo /etc/passwd\nUSER 1000:1000\nRUN echo $HOME\n";
    let (built, said) = build(&home, fifo, &["--isolation", "root"]);
    assert!(built && said.contains("] /\n"), "{said}");
}

/// BuildKit CVE-2026-33747: files that another frontend writes; -33748: the folder of a git source.
/// Neither is here.
#[test]
fn buildkit_cve_2026_33747_a_frontend_is_not_loaded() {
    let home = Home::new();
    let (built, said) = build(&home, "# syntax=127.0.0.1:1/evil/frontend:1\nFROM @BASE@\nENV A=b\n", &[]);
    assert!(built && !said.contains("cannot pull"), "{said}");
}

/// A folder's own files are not waited for.
#[test]
fn a_fifo_in_the_place_of_a_file_that_is_read_is_an_error() {
    let home = Home::new();
    let (built, said) = build(&home, "FROM scratch\nCOPY . /x/\n", &[]);
    assert!(built, "{said}");
    let folder = home.path().join("context");
    for name in [".dockerignore", "Dockerfile"] {
        let _ = std::fs::remove_file(folder.join(name));
        crate::run(crate::judge("mkfifo").arg(folder.join(name)));
        let output = home.mpimg().arg("build").arg(&folder).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains("it is not a regular file"), "{name}: {said}");
        if name == ".dockerignore" {
            std::fs::remove_file(folder.join(name)).unwrap();
        }
    }
}

/// What the builder puts into a command's root file system is not the image's. Where it is no
/// mount, moving it gives the layer this machine's names, or a secret.
#[test]
fn what_a_mount_would_keep_in_place_cannot_be_moved_or_linked_into_the_image() {
    needs_root!();
    let home = Home::new();
    std::fs::write(home.path().join("token"), "the secret").unwrap();
    let secret = format!("id=token,src={}", home.path().join("token").display());
    let mount = "--mount=type=secret,id=token";
    let steps = [
        ("", "mv /etc/hosts /kept", "/etc/hosts"),
        ("", "ln /etc/resolv.conf /kept", "/etc/resolv.conf"),
        ("", "mv /etc /etc2 && mkdir /etc", "/etc/resolv.conf"),
        ("", "mv /dev /kept && ls /kept", "/dev"),
        (mount, "mv /run/secrets/token /kept", "/run/secrets/token"),
        (mount, "ln /run/secrets/token /kept", "/run/secrets/token"),
        ("--mount=type=cache,target=/c", "mv /c /kept", "/c"),
    ];
    // Where a mount goes along with the folder that it is in, only its place is in the image.
    let folders = [
        (format!("{mount},target=/s/x"), "mv /s /kept", "/kept/x"),
        ("--mount=type=cache,target=/c/d".to_owned(), "touch /c/d/f; mv /c /kept", "/kept/d/f"),
        ("--mount=type=bind,target=/b/d".to_owned(), "mv /b /kept", "/kept/d/Dockerfile"),
    ];
    for (flags, command, leaked) in &folders {
        for isolation in possible(["root", "userns", "single", "chroot", "emulated"]) {
            let dockerfile = format!("FROM @BASE@\nRUN {flags} {command}; true\nRUN test ! -s {leaked}\n");
            let (built, said) = build(&home, &dockerfile, &["--isolation", isolation, "--no-cache", "--secret", &secret]);
            let is_told = isolation == "chroot" && said.contains("the command moved or linked `");
            assert!(built || is_told, "{isolation}, {command}: {said}");
        }
    }
    // What a mount keeps from being removed: an empty cache, no file of the image that is lost.
    for isolation in possible(["root", "userns", "single", "chroot", "emulated"]) {
        let removed = "FROM @BASE@\nRUN --mount=type=cache,target=/c/d touch /c/d/f; rm -rf /c; true\n";
        let (built, said) = build(&home, removed, &["--isolation", isolation, "--no-cache"]);
        assert!(built, "{isolation}: {said}");
        let over = "FROM @BASE@\nRUN mv /opt/data/a /etc/hosts; true\nRUN test -e /opt/data/a\n";
        let (built, said) = build(&home, over, &["--isolation", isolation, "--no-cache"]);
        let is_told = isolation == "chroot" && said.contains("moved a file of the image over `/etc/hosts`");
        assert!(built || is_told, "{isolation}: {said}");
    }
    for (flags, command, place) in steps {
        for isolation in possible(["root", "userns", "single", "chroot", "emulated"]) {
            let dockerfile = format!("FROM @BASE@\nRUN {flags} {command}\n");
            let (built, said) = build(&home, &dockerfile, &["--isolation", isolation, "--secret", &secret]);
            assert!(!built, "{isolation}, {command}: {said}");
            if isolation == "chroot" {
                assert!(said.contains(&format!("the command moved or linked `{place}")), "{command}: {said}");
            }
        }
    }
    // Removed, it is as it was; and what is no mount elsewhere may be moved, as it often is so that
    // a key is made at once (with userns and single it is one: docs/parity.md).
    for (command, isolations) in [
        ("rm -f /etc/hosts 2>&-; rm -f /etc/resolv.conf 2>&-; true", &["root", "userns", "single", "emulated"][..]),
        ("mv /dev/random /dev/was && ln -s urandom /dev/random && rm /dev/tty", &["root", "chroot", "emulated"]),
    ] {
        let digests = possible(isolations.iter().copied()).map(|isolation| {
            let layout = home.path().join("layout");
            let dockerfile = format!("FROM @BASE@\nRUN {command}\n");
            let output = format!("oci:{}:moved", layout.display());
            let (built, said) = build(&home, &dockerfile, &["--isolation", isolation, "--no-cache", "--output", &output]);
            assert!(built, "{isolation}, {command}: {said}");
            let index = std::fs::read(layout.join("index.json")).unwrap();
            std::fs::remove_dir_all(&layout).unwrap();
            index
        });
        let digests: Vec<Vec<u8>> = digests.collect();
        assert!(digests.iter().all(|digest| *digest == digests[0]), "{command}");
    }
}
