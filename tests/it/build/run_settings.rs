//! What RUN gets of this machine without a word in the Dockerfile: an own certificate authority, a
//! package index behind TLS, variables and files. The programs in the image judge that they are
//! used; the image is what it is without them.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::sdk::{PYTHON, import_python};
use crate::home::Home;
use crate::registry::fixture::{Server, nginx};
use crate::registry::tls::certificate;
use crate::skip::needs_root;
use crate::{judge, judges, run};

/// A package index and an empty apt repository: encrypted, for an authority that nobody knows, and
/// the same as plain HTTP.
struct Index {
    server: Server,
    plain: Server,
}

impl Index {
    fn start() -> Self {
        let files = |folder: &Path| {
            let simple = folder.join("simple/hello");
            std::fs::create_dir_all(&simple).unwrap();
            let wheel = "hello-1.0-py3-none-any.whl";
            std::fs::write(simple.join("index.html"), format!("<a href=\"{wheel}\">{wheel}</a>")).unwrap();
            let make = "import sys, zipfile
with zipfile.ZipFile(sys.argv[1], 'w') as wheel:
    for name, text in {
        'hello.py': 'print(1)', 'hello-1.0.dist-info/METADATA': 'Metadata-Version: 2.1\\nName: hello\\nVersion: 1.0\\n',
        'hello-1.0.dist-info/WHEEL': 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n',
        'hello-1.0.dist-info/RECORD': '',
    }.items():
        wheel.writestr(zipfile.ZipInfo(name), text)";
            run(judge("python3").args(["-c", make]).arg(simple.join(wheel)));
            std::fs::create_dir(folder.join("apt")).unwrap();
            std::fs::write(folder.join("apt/Packages"), "").unwrap();
        };
        let server = nginx(|address, folder| {
            certificate(folder, "authority", "basicConstraints=critical,CA:TRUE", None);
            certificate(folder, "server", "subjectAltName=IP:127.0.0.1 basicConstraints=CA:FALSE", Some("authority"));
            files(folder);
            let here = folder.display();
            format!(
                "server {{ listen {address} ssl; ssl_certificate {here}/server.crt; ssl_certificate_key {here}/server.key; root {here}; }}"
            )
        });
        let plain = nginx(|address, folder| {
            files(folder);
            format!("server {{ listen {address}; root {}; }}", folder.display())
        });
        // nginx's own user has to read them.
        for server in [&server, &plain] {
            run(judge("chmod").args(["-R", "a+rX"]).arg(server.folder.path()));
        }
        Self { server, plain }
    }

    fn url(&self) -> String {
        format!("https://{}", self.server.address)
    }
}

fn build(home: &Home, isolation: &str, flags: &[&str]) -> Command {
    let mut command = home.mpimg();
    command.args(["build", "--json", "--progress", "plain", "--isolation", isolation, "project"]).args(flags);
    command
}

/// The digest of the image, and of its last layer.
fn digests(answer: &str) -> (String, String) {
    let answer: Value = serde_json::from_str(answer).unwrap();
    let last = answer["layers"].as_array().unwrap().last().unwrap()["digest"].as_str().unwrap().to_owned();
    (answer["digest"].as_str().unwrap().to_owned(), last)
}

fn write(home: &Home, name: &str, text: &str) {
    std::fs::create_dir_all(home.path().join("project")).unwrap();
    std::fs::write(home.path().join("project").join(name), text).unwrap();
}

const INSTALL: &str = "pip3 install --no-cache-dir --no-compile --target /opt/site hello==1.0";

#[test]
fn pip_apt_and_python_trust_the_authority_on_each_isolation_and_the_image_has_nothing_of_it() {
    needs_root!();
    let (home, index) = (Home::new(), Index::start());
    import_python(&home);
    let url = index.url();
    let authority = index.server.folder.path().join("authority.crt");
    let simple = format!("PIP_INDEX_URL={url}/simple");
    let flags = ["--run-ca-file", authority.to_str().unwrap(), "--run-env", &simple, "--run-env", "PIP_RETRIES=0", "--no-cache"];
    let install = format!("FROM {PYTHON}\nRUN {INSTALL}\n");
    let tried = format!(
        "FROM {PYTHON}\nRUN python3 -c 'import urllib.request as r; r.urlopen(\"{url}/simple/hello/\").read()' && \\\n\
         echo 'deb [trusted=yes] {url}/apt ./' >/etc/apt/sources.list && apt-get update && \\\n\
         test $CURL_CA_BUNDLE = /run/mpimg/ca.pem && test -r $GIT_SSL_CAINFO && test -r $NODE_EXTRA_CA_CERTS && test -r $WGETRC\n\
         RUN {INSTALL}\n"
    );
    // The last layer: what pip installs.
    let mut layers = Vec::new();
    write(&home, "Dockerfile", &tried);
    for isolation in ["root", "userns", "chroot"] {
        layers.push(digests(&run(&mut build(&home, isolation, &flags))).1);
    }
    write(&home, "Dockerfile", &install);
    let without = build(&home, "root", &flags[2..]).output().unwrap();
    assert!(!without.status.success(), "an index that nobody trusts was used");
    // The same from an index that needs no authority.
    let plain = format!("PIP_INDEX_URL=http://{}/simple", index.plain.address);
    let (image, layer) = digests(&run(&mut build(&home, "root", &["--run-env", &plain, "--no-cache"])));
    layers.push(layer);
    assert!(layers.iter().all(|digest| *digest == layers[0]), "{layers:?}");

    // No key of the build cache has any of it either: nothing is done again.
    drop(index);
    let layout = home.path().join("layout");
    let output = format!("oci:{}", layout.display());
    assert_eq!(digests(&run(&mut build(&home, "root", &["-o", &output]))).0, image);
    let ours = layout.join("blobs/sha256").read_dir().unwrap().map(|blob| blob.unwrap().path());
    // All but the base image's layer.
    let ours: Vec<_> = ours.filter(|blob| blob.metadata().unwrap().len() < 10_000_000).collect();
    assert_eq!(ours.len(), 3);
    for blob in ours {
        let bytes = std::fs::read(blob).unwrap();
        let text = flate(&bytes).unwrap_or(bytes);
        for trace in ["run/mpimg", url.trim_start_matches("https://"), "PIP_INDEX_URL"] {
            assert!(!text.windows(trace.len()).any(|window| window == trace.as_bytes()), "{trace} is in the image");
        }
    }
}

fn flate(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(bytes), &mut text).ok()?;
    Some(text)
}

#[test]
fn variables_and_mounts_leave_the_image_as_it_is_without_them() {
    needs_root!();
    let home = Home::new();
    let base = format!("oci:{}:base", judges().join("base").display());
    // The command can see them, but makes the same of it: a missing folder for the mount is no
    // folder of the image.
    write(
        &home,
        "Dockerfile",
        &format!(
            "FROM {base}\nENV INDEX=public\nRUN cat /etc/new/pip.conf $INDEX >/seen 2>&-; echo \"$INDEX\" >&2; rm /seen\nRUN touch /x\n"
        ),
    );
    write(&home, "pip.conf", "[global]\n");
    let mount = format!("{}:/etc/new/pip.conf", home.path().join("project/pip.conf").display());
    for isolation in ["root", "userns", "chroot"] {
        let without = digests(&run(&mut build(&home, isolation, &["--no-cache"]))).0;
        let output =
            build(&home, isolation, &["--no-cache", "--run-env", "INDEX=private", "--run-mount", &mount]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.contains("] private\n"), "{isolation}: {said}");
        assert_eq!(digests(&String::from_utf8_lossy(&output.stdout)).0, without, "{isolation}");
    }
    // They are there, though, and cannot be written to.
    write(&home, "Dockerfile", &format!("FROM {base}\nRUN grep global /etc/new/pip.conf && ! echo x >>/etc/new/pip.conf\n"));
    run(&mut build(&home, "userns", &["--run-mount", &mount]));
    assert_eq!(std::fs::read(home.path().join("project/pip.conf")).unwrap(), b"[global]\n");
}

#[test]
fn the_configuration_file_says_it_for_every_build_and_doctor_shows_it_without_values() {
    needs_root!();
    let home = Home::new();
    let base = format!("oci:{}:base", judges().join("base").display());
    let folder = home.path().join(".config/mpimg");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("note"), "of the company\n").unwrap();
    std::fs::write(folder.join("config.toml"), "[run]\nmounts = ['note:/note']\n[run.env]\nTOKEN = 'hunter2'\nUSED = 'file'\n")
        .unwrap();
    write(&home, "Dockerfile", &format!("FROM {base}\nRUN cat /note && echo $TOKEN-$USED | sed s/hunter2/known/\n"));
    let output = build(&home, "root", &["--run-env", "USED=flag"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("of the company") && said.contains("known-flag"), "{said}");

    let shown = run(home.mpimg().arg("doctor"));
    assert!(shown.contains("RUN gets variables: TOKEN, USED") && !shown.contains("hunter2"), "{shown}");
    let report: Value = serde_json::from_str(&run(home.mpimg().args(["doctor", "--json"]))).unwrap();
    assert_eq!(report["run"]["env"], serde_json::json!(["TOKEN", "USED"]));

    std::fs::write(folder.join("config.toml"), "[runs]\n").unwrap();
    let failed = build(&home, "root", &[]).output().unwrap();
    let error: Value = serde_json::from_slice(&failed.stdout).unwrap();
    assert!(error["error"]["message"].as_str().unwrap().contains("config.toml` is wrong: unknown field `runs`"), "{error}");
}

#[test]
fn keytool_reads_the_trust_store_that_java_is_given() {
    needs_root!();
    let home = Home::new();
    if !Path::new("/usr/bin/keytool").exists() {
        crate::skip::skip!(crate::skip::Missing::Java);
    }
    let base = format!("oci:{}:base", judges().join("base").display());
    certificate(&home.path(), "authority", "basicConstraints=critical,CA:TRUE", None);
    write(
        &home,
        "Dockerfile",
        &format!("FROM {base}\nRUN cp /run/mpimg/ca.jks /run/mpimg/ca.pem /home && echo $JAVA_TOOL_OPTIONS\n"),
    );
    let layout = home.path().join("layout");
    let output = format!("oci:{}:made", layout.display());
    run(build(&home, "root", &["--run-ca-file", "authority.crt", "-o", &output, "--compression", "none"])
        .current_dir(home.path()));
    let unpacked = home.path().join("unpacked");
    run(judge("umoci").args(["raw", "unpack", "--image"]).arg(format!("{}:made", layout.display())).arg(&unpacked));
    let pem = std::fs::read_to_string(unpacked.join("home/ca.pem")).unwrap();
    let listed = run(judge("keytool").args(["-list", "-storepass", "changeit", "-keystore"]).arg(unpacked.join("home/ca.jks")));
    let count = pem.matches("BEGIN CERTIFICATE").count();
    assert!(count > 1, "this machine's own authorities belong to it");
    assert!(listed.contains(&format!("contains {count} entr")), "{count}: {}", listed.lines().take(5).collect::<String>());
}
