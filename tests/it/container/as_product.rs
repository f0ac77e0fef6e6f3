//! Adapters as VMware Aria Operations runs them: `check --as-product` and `run --as-product`. An
//! adapter of the SDK is checked in python::mp_build.

use super::fixture::{Containers, Left, base};
use crate::skip::needs_root;

/// What `check --as-product` says of an image that is built of `dockerfile`.
fn checked(containers: &Containers, dockerfile: &str, flags: &[&str]) -> Left {
    let context = containers.home.path().join("context");
    std::fs::create_dir_all(&context).unwrap();
    std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
    let built = containers.mpimg(&[&["build", "-q", "-t", "adapter:1"], flags, &[context.to_str().unwrap()]].concat());
    assert_eq!(built.code, Some(0), "{}", built.err);
    containers.mpimg(&["check", "--as-product", "adapter:1"])
}

#[test]
fn what_the_product_cannot_run_is_told_before_anything_is_started() {
    let containers = Containers::new();
    for (dockerfile, flags, message) in [
        ("FROM scratch\nCMD [\"/x\"]\n", &["--platform", "linux/arm64"][..], "✗ platform  the image is for linux/arm64"),
        (
            "FROM scratch\nCOPY Dockerfile /\nCMD [\"/x\"]\n",
            &["--compression", "zstd"],
            "✗ layers  1 layers are compressed with zstd",
        ),
        ("FROM scratch\nCOPY Dockerfile /\n", &[], "✗ command  the image has neither ENTRYPOINT nor CMD"),
    ] {
        let left = checked(&containers, dockerfile, flags);
        assert_eq!(left.code, Some(1), "{left:?}");
        assert!(left.out.contains(message) && !left.out.contains("https"), "{}", left.out);
    }
    assert_eq!(containers.list(), Vec::<serde_json::Value>::new());
}

#[test]
fn an_adapter_that_ends_or_answers_plain_http_is_told_so() {
    needs_root!();
    let containers = Containers::new();
    let base = base();
    let server = "mkdir -p /www && echo {} >/www/apiVersion && exec httpd -f -p 8080 -h /www";
    for (command, message) in [
        (
            "echo no module named app; exit 3",
            "✗ https  the adapter ended with exit code 3 before it answered; it printed: no module",
        ),
        (server, "✗ https  the adapter answers plain HTTP on port 8080, and not HTTPS on port 443"),
    ] {
        containers.mpimg(&["copy", "-q", &base, "base:1"]);
        let left = checked(&containers, &format!("FROM base:1\nCMD {command}\n"), &[]);
        assert_eq!(left.code, Some(1), "{left:?}");
        assert!(left.out.contains(message), "{}", left.out);
    }
    assert_eq!(containers.list(), Vec::<serde_json::Value>::new());
    containers.assert_nothing_left("/www");
}

#[test]
fn a_container_as_the_product_runs_it_has_certificate_key_logs_and_memory() {
    needs_root!();
    let containers = Containers::new();
    let script = "cat /etc/ssl/certs/dockerized.crt /etc/ssl/certs/dockerized.key; touch /var/log/x && stat -c %a /var/log";
    let left = containers.run(&["--as-product"], script);
    assert_eq!(left.code, Some(0), "{left:?}");
    for part in ["BEGIN CERTIFICATE", "BEGIN PRIVATE KEY", "777"] {
        assert!(left.out.contains(part), "{}", left.out);
    }
    assert!(left.err.contains("the adapter's port 443: curl --cacert "), "{}", left.err);
    let logs = containers.home.path().join("logs");
    let volume = format!("{}:/var/log", logs.display());
    assert_eq!(containers.run(&["--as-product", "-v", &volume], "touch /var/log/own").code, Some(0));
    assert!(logs.join("own").exists());
}
