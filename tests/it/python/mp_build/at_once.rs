//! Two mp-builds at once on one store, of projects that have one name and version: each has its own
//! image all the way.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::home::Home;
use crate::registry::fixture::{Server, distribution, free_address};
use crate::{judge, run};

use super::project::{Build, make, package, pak_of, read_pak, said};
use super::{alone, assert_nothing_runs, python, store};

/// Between two steps of mp-build, waits until the other one has come as far: both have built, and
/// only then each runs what it has built; both have that to push, and only then each pushes.
fn in_step(home: &Home, mpimg: &Path, own: &str, other: &str) -> PathBuf {
    let path = home.path().join(format!("mpimg-{own}"));
    let at = home.path().display().to_string();
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = run ] || [ \"$1\" = push ]; then\n  : >{at}/$1-{own}\n  \
         for try in $(seq 600); do [ -e {at}/$1-{other} ] && break; sleep 0.1; done\nfi\nexec {} \"$@\"\n",
        mpimg.display()
    );
    std::fs::write(&path, script).unwrap();
    run(judge("chmod").arg("755").arg(&path));
    path
}

fn start(home: &Home, project: &Path, registry: &Server, own: &str, other: &str) -> Child {
    let mut command: Command = home.mpimg();
    let mpimg = PathBuf::from(command.get_program());
    command.arg("mp-build").env("MPIMG_HOME", store()).env("MPIMG_PYTHON", python("1.3.1")).env("PYTHONPATH", package(home));
    command.env("MPIMG_COMMAND", in_step(home, &mpimg, own, other)).env("LC_ALL", "C.UTF-8");
    command.args(["--no-ttl", "-i", "-P", &free_address().port().to_string(), "-p"]).arg(project);
    command.args(["-r", &format!("{}/mp/{own}", registry.address)]);
    // The SDK writes its global settings anew whenever it reads one, in place: two that share them
    // may read half a file.
    let user = home.path().join(format!("user-{own}"));
    std::fs::create_dir_all(user.join(".vmware-aria-operations-integration-sdk")).unwrap();
    command.env("HOME", user);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Two projects of one name and version, each with an adapter that describes itself in its own
/// words; `edit` gets each Dockerfile and the project's name.
fn two_projects(home: &Home, edit: impl Fn(&str, &str) -> String) {
    for name in ["first", "second"] {
        let folder = home.path().join(name);
        make(home, "new", &folder);
        let adapter = folder.join("app/adapter.py");
        let text = std::fs::read_to_string(&adapter).unwrap();
        assert!(text.contains("Adapter Memory Limit (MB)"));
        std::fs::write(adapter, text.replace("Adapter Memory Limit (MB)", &format!("The {name} adapter's memory"))).unwrap();
        let dockerfile = std::fs::read_to_string(folder.join("Dockerfile")).unwrap();
        std::fs::write(folder.join("Dockerfile"), edit(&dockerfile, name)).unwrap();
    }
}

/// The words with which the adapter of a .pak describes itself.
fn words(pak: &Path) -> String {
    const LABELS: &str = "import io, sys, zipfile
adapter = zipfile.ZipFile(io.BytesIO(zipfile.ZipFile(sys.argv[1]).read('adapter.zip')))
print(adapter.read('NewPython/conf/resources/resources.properties').decode())";
    run(judge("python3").args(["-c", LABELS]).arg(pak))
}

#[test]
fn two_of_one_name_and_version_try_and_push_what_each_has_built() {
    let _alone = alone();
    let home = Home::new();
    let registry = distribution("");
    let folder = |name: &str| home.path().join(name);
    two_projects(&home, |dockerfile, name| format!("{dockerfile}\nLABEL which={name}\n"));
    let first = start(&home, &folder("first"), &registry, "first", "second");
    let second = start(&home, &folder("second"), &registry, "second", "first");
    for (name, child) in [("first", first), ("second", second)] {
        let output = child.wait_with_output().unwrap();
        let pak = pak_of(&folder(name), &output);
        let image = format!("docker://{}/mp/{name}@{}", registry.address, read_pak(&pak).1["DIGEST"]);
        let labels = run(judge("skopeo").args(["inspect", "--tls-verify=false", "--format", "{{.Labels}}", &image]));
        assert!(labels.contains(&format!("which:{name}")), "{labels}");
        let texts = words(&pak);
        assert!(texts.contains(&format!("The {name} adapter's memory")), "{texts}\n{}", said(&output));
    }
    assert_nothing_runs(&home);
    // Their names for what they had built are gone again.
    let images = run(home.mpimg().env("MPIMG_HOME", store()).args(["images", "--json"]));
    assert!(!images.contains("mpimg-mp-build"), "{images}");
}

/// An adapter that takes four seconds before it listens.
const TAKES_ITS_TIME: &str = r#"
CMD ["-c", "import runpy, time; time.sleep(4); runpy.run_module('swagger_server', run_name='__main__', alter_sys=True)"]
"#;

/// The seconds between two mp-builds; `MPIMG_TEST_DELAYS=0,0.1,0.5,1,2,3,5` tries others.
fn delays() -> Vec<f64> {
    let text = std::env::var("MPIMG_TEST_DELAYS").unwrap_or_else(|_| "0,0.1,2".into());
    text.split(',').map(|delay| delay.parse().unwrap()).collect()
}

#[test]
fn whichever_adapter_is_slow_and_whichever_begins_later_no_pak_has_the_words_of_the_other() {
    let _alone = alone();
    let home = Home::new();
    let registry = distribution("");
    two_projects(&home, |dockerfile, _| dockerfile.to_owned());
    let folder = |name: &str| home.path().join(name);
    let dockerfile = std::fs::read_to_string(folder("first").join("Dockerfile")).unwrap();
    let begin = |name: &str, port: Option<u16>| {
        let _ = std::fs::remove_dir_all(folder(name).join("build"));
        let mut command: Command = home.mpimg();
        command.arg("mp-build").env("MPIMG_HOME", store()).env("MPIMG_PYTHON", python("1.3.1")).env("PYTHONPATH", package(&home));
        command.args(["--no-ttl", "-i", "-r", &format!("{}/mp/{name}", registry.address), "-p"]).arg(folder(name));
        if let Some(port) = port {
            command.args(["-P", &port.to_string()]);
        }
        // See `start`.
        let user = home.path().join(format!("user-{name}"));
        std::fs::create_dir_all(user.join(".vmware-aria-operations-integration-sdk")).unwrap();
        command.env("HOME", user).env("LC_ALL", "C.UTF-8");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    for delay in delays() {
        for slow in ["first", "second"] {
            for name in ["first", "second"] {
                let more = if name == slow { TAKES_ITS_TIME } else { "" };
                std::fs::write(folder(name).join("Dockerfile"), format!("{dockerfile}{more}")).unwrap();
            }
            // On the SDK's own port, which both want, and on one for each.
            for ports in [[None, None], [Some(free_address().port()), Some(free_address().port())]] {
                let first = begin("first", ports[0]);
                std::thread::sleep(std::time::Duration::from_secs_f64(delay));
                let second = begin("second", ports[1]);
                let mut paks = 0;
                for (name, child) in [("first", first), ("second", second)] {
                    let output = child.wait_with_output().unwrap();
                    let said = said(&output);
                    let at = format!("{delay} s apart, the {slow} is slow, ports {ports:?}, the {name}:\n{said}");
                    if output.status.success() {
                        let words = words(&pak_of(&folder(name), &output));
                        assert!(words.contains(&format!("The {name} adapter's memory")), "{at}\n{words}");
                        paks += 1;
                    } else {
                        assert!(said.contains("port 8080 is taken by ") && ports[0].is_none(), "{at}");
                    }
                }
                assert!(paks == 2 || paks == 1 && ports[0].is_none(), "{delay} s apart, the {slow} is slow: {paks} .paks");
            }
        }
    }
    assert_nothing_runs(&home);
}

/// An adapter that does not listen before its project has the file `logs/go`.
const SLOW: &str = r#"
CMD ["-c", "import os, runpy, time; [time.sleep(0.05) for _ in iter(lambda: os.path.exists('/var/log/go'), True)]; runpy.run_module('swagger_server', run_name='__main__', alter_sys=True)"]
"#;

/// Answers every request on `listener` as an adapter would answer `/apiVersion`.
fn answer_as_adapter(listener: std::net::TcpListener) {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let body = r#"{"major": 9, "minor": 9, "maintenance": 9}"#;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n", body.len());
            let _ = stream.write_all(format!("{head}Connection: close\r\n\r\n{body}").as_bytes());
        }
    });
}

#[test]
fn what_another_process_answers_on_the_adapter_s_port_is_in_no_pak() {
    let _alone = alone();
    let home = Home::new();
    let registry = distribution("");
    let project = home.path().join("slow");
    make(&home, "new", &project);
    let dockerfile = std::fs::read_to_string(project.join("Dockerfile")).unwrap();
    std::fs::write(project.join("Dockerfile"), format!("{dockerfile}{SLOW}")).unwrap();
    let mut build = Build::new(&home, &project, &registry);
    build.port = 8080;
    // The port of the container: only there does the adapter itself listen on this machine. Other
    // tests may use it for a moment.
    while std::net::TcpListener::bind(("0.0.0.0", build.port)).is_err() {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let child = build.command(&store(), &python("1.3.1")).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let runs = || run(home.mpimg().env("MPIMG_HOME", store()).args(["ps", "--json"])).contains("\"running\"");
    while !runs() {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    answer_as_adapter(std::net::TcpListener::bind(("127.0.0.1", build.port)).unwrap());
    let output = child.wait_with_output().unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("port 8080 is taken by `") && said.contains("which answers in place of the adapter"), "{said}");
    assert!(!project.join("build").read_dir().unwrap().any(|entry| entry.unwrap().path().extension().is_some()), "{said}");
    assert_nothing_runs(&home);
}

#[test]
fn the_pak_names_the_repository_to_pull_from_and_a_wrong_manifest_is_told_before_the_push() {
    let _alone = alone();
    let home = Home::new();
    let registry = distribution("");
    let project = home.path().join("two");
    make(&home, "new", &project);
    let read = |name: &str| std::fs::read_to_string(project.join(name)).unwrap();
    let config = serde_json::json!({
        "container_repository": "harbor.example.com/mp/adapter",
        "container_push_repository": format!("{}/mp/pushed", registry.address),
    });
    std::fs::write(project.join("config.json"), config.to_string()).unwrap();
    let mp_build = || {
        let mut command: Command = home.mpimg();
        command.arg("mp-build").env("MPIMG_HOME", store()).env("MPIMG_PYTHON", python("1.3.1")).env("PYTHONPATH", package(&home));
        command.args(["--no-ttl", "-i", "-P", &free_address().port().to_string(), "-p"]).arg(&project).env("LC_ALL", "C.UTF-8");
        command.stdin(Stdio::null()).output().unwrap()
    };
    let output = mp_build();
    let conf = read_pak(&pak_of(&project, &output)).1;
    assert_eq!((conf["REGISTRY"].as_str(), conf["REPOSITORY"].as_str()), ("harbor.example.com", "/mp/adapter"));
    assert!(said(&output).contains("the product pulls it from harbor.example.com/mp/adapter"), "{}", said(&output));
    let image = format!("docker://{}/mp/pushed@{}", registry.address, conf["DIGEST"]);
    run(judge("skopeo").args(["inspect", "--raw", "--no-creds", "--tls-verify=false", &image]));
    let config: serde_json::Value = serde_json::from_str(&read("config.json")).unwrap();
    assert_eq!(config["container_repository"], "harbor.example.com/mp/adapter");

    let manifest = read("manifest.txt");
    std::fs::write(project.join("manifest.txt"), manifest.replace("\"version\": \"1.0.0\"", "\"version\": \"1.0\"")).unwrap();
    let output = mp_build();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("has the version `1.0`, which is not of the form x.y.z\nhint: "), "{}", said(&output));
}
