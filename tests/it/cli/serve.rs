//! `mpimg serve` as a user starts it: encrypted, with users, asked by a thousand at once, killed
//! under load.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use mpimg::oci::Digest;
use serde_json::Value;

use super::fixture::{project, run, text};
use crate::home::Home;
use crate::judge;
use crate::registry::fixture::noise;

/// A registry in a process of its own, ended with the value.
struct Server {
    child: Child,
    told: Value,
}

impl Server {
    fn start(home: &Home, arguments: &[&str]) -> Self {
        let mut command = home.mpimg();
        command.args(["serve", "--addr", "127.0.0.1:0", "--json"]).args(arguments).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        Self { child, told: serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}")) }
    }

    fn host(&self) -> &str {
        self.told["addr"].as_str().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn curl(arguments: &[&str]) -> Option<String> {
    let output = judge("curl").args(["-sS", "--noproxy", "*"]).args(arguments).output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

#[test]
fn an_encrypted_registry_is_trusted_by_the_file_that_it_names_and_stays_the_same() {
    let home = Home::new();
    let project = project(&home);
    let server = Server::start(&home, &["--tls"]);
    let certificate = server.told["certificate"].as_str().unwrap().to_owned();
    assert_eq!(server.told["tls"], true);
    let url = format!("https://{}/v2/", server.host());
    assert_eq!(curl(&["--cacert", &certificate, &url]).as_deref().map(str::trim), Some("{}"));
    assert_eq!(curl(&[&url]), None);

    let repository = format!("{}/mp/hello", server.host());
    let refused = run(&mut home.mpimg(), ["push", text(&project), "-t", "1", "-r", &repository]);
    assert!(refused.err.contains("hint:"), "{}", refused.err);
    run(&mut home.mpimg(), ["push", text(&project), "-t", "1", "-r", &repository, "--ca-file", &certificate]).done();
    drop(server);
    let again = Server::start(&home, &["--tls"]);
    let url = format!("https://{}/v2/mp/hello/tags/list", again.host());
    assert!(curl(&["--cacert", &certificate, &url]).unwrap().contains("\"1\""));
}

#[test]
fn a_certificate_of_ones_own_is_shown() {
    let home = Home::new();
    let folder = tempfile::tempdir().unwrap();
    crate::registry::tls::certificate(folder.path(), "own", "subjectAltName=IP:127.0.0.1 basicConstraints=CA:FALSE", None);
    let file = |name: &str| folder.path().join(name).display().to_string();
    let server = Server::start(&home, &["--tls-cert", &file("own.crt"), "--tls-key", &file("own.key")]);
    assert!(server.told["certificate"].is_null());
    assert!(curl(&["--cacert", &file("own.crt"), &format!("https://{}/v2/", server.host())]).is_some());
    let wrong = run(&mut home.mpimg(), ["serve", "--tls-cert", &file("own.key"), "--tls-key", &file("own.crt")]);
    assert!(wrong.code == Some(2) && wrong.err.contains("are not a certificate and its key"), "{}", wrong.err);
}

#[test]
fn only_the_users_of_a_file_push_and_anybody_pulls_if_that_is_said() {
    let home = Home::new();
    let project = project(&home);
    let users = home.path().join("users");
    let made = judge("htpasswd").args(["-Bbn", "me", "pass word"]).output().unwrap();
    std::fs::write(&users, made.stdout).unwrap();
    let users = users.display().to_string();
    let server = Server::start(&home, &["--htpasswd", &users, "--anonymous-pull"]);
    let repository = format!("{}/mp/hello", server.host());
    let push = |user: &str, password: &str| {
        let mut command = home.mpimg();
        command.args(["push", text(&project), "-t", "1", "-r", &repository, "--username", user, "--password-stdin"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), password.as_bytes()).unwrap();
        super::fixture::Left::of(child.wait_with_output().unwrap())
    };
    let refused = push("me", "wrong");
    assert!(refused.err.contains("refuses the login as `me`"), "{}", refused.err);
    let pushed = push("me", "pass word").done();
    assert!(pushed.err.contains("it can be pulled without logging in"), "{}", pushed.err);
    let stranger = run(&mut home.mpimg(), ["push", text(&project), "-t", "2", "-r", &repository]);
    assert!(stranger.err.contains("not logged in"), "{}", stranger.err);

    std::fs::write(home.path().join("md5"), "me:$apr1$x$y\n").unwrap();
    let wrong = run(&mut home.mpimg(), ["serve", "--addr", "127.0.0.1:0", "--htpasswd", "md5"]);
    assert!(wrong.err.contains("line 1 of the htpasswd file") && wrong.err.contains("htpasswd -B"), "{}", wrong.err);
}

/// Lets this process have as many files as it may.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_clients_at_once_are_answered() {
    raise_file_limit();
    let home = Home::new();
    let project = project(&home);
    let mut command = Command::new("sh");
    // As a shell starts it: most have this limit.
    command.args(["-c", "ulimit -S -n 1024; exec \"$0\" \"$@\""]).arg(home.mpimg().get_program());
    let inner = home.mpimg();
    inner.get_envs().for_each(|(name, value)| drop(value.map(|value| command.env(name, value))));
    command.args(["serve", "--addr", "127.0.0.1:0", "--json"]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let server = Server { child, told: serde_json::from_str(&line).unwrap() };
    let repository = format!("{}/mp/hello", server.host());
    run(&mut home.mpimg(), ["push", text(&project), "-t", "1", "-r", &repository]).done();

    let address: std::net::SocketAddr = server.host().parse().unwrap();
    let everybody = Arc::new(tokio::sync::Barrier::new(1000));
    let clients = (0..1000).map(|_| {
        let everybody = everybody.clone();
        tokio::spawn(async move {
            use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            // All connections are open before the first question is asked.
            everybody.wait().await;
            stream.write_all(b"GET /v2/mp/hello/manifests/1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer.starts_with("HTTP/1.1 200")
        })
    });
    let clients: Vec<_> = clients.collect();
    for client in clients {
        assert!(client.await.unwrap());
    }
}

#[test]
fn a_kill_under_load_loses_nothing_that_was_confirmed() {
    let home = Home::new();
    let dir = home.path().join("registry");
    let folder = dir.display().to_string();
    let mut confirmed = Vec::new();
    for round in 0..3 {
        let server = Server::start(&home, &["--dir", &folder]);
        let (host, stop) = (server.host().to_owned(), Arc::new(AtomicBool::new(false)));
        let known: Arc<Mutex<Vec<(Digest, usize)>>> = Arc::default();
        let clients: Vec<_> = (0..8)
            .map(|client| {
                let (host, stop, known) = (host.clone(), stop.clone(), known.clone());
                std::thread::spawn(move || push_blobs(&host, round * 100 + client, &stop, &known))
            })
            .collect();
        while known.lock().unwrap().len() < 40 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        // SIGKILL, in the middle of what it does.
        drop(server);
        stop.store(true, Ordering::SeqCst);
        clients.into_iter().for_each(|client| drop(client.join()));
        confirmed.extend(known.lock().unwrap().drain(..));
        let server = Server::start(&home, &["--dir", &folder]);
        for (digest, size) in &confirmed {
            let url = format!("http://{}/v2/load/blobs/{digest}", server.host());
            let file = home.path().join("blob");
            curl(&["-f", "-o", &file.display().to_string(), &url]).unwrap_or_else(|| panic!("{digest} is lost"));
            let bytes = std::fs::read(&file).unwrap();
            assert_eq!((bytes.len(), Digest::of(&bytes)), (*size, *digest));
        }
        drop(server);
        assert!(leftovers(&dir) == 0, "half-written files are left");
    }
}

fn leftovers(dir: &Path) -> usize {
    std::fs::read_dir(dir.join("tmp")).unwrap().count()
}

/// Pushes blobs one after the other until it is told to stop; those that the registry has
/// confirmed.
fn push_blobs(host: &str, seed: u64, stop: &AtomicBool, known: &Mutex<Vec<(Digest, usize)>>) {
    use std::io::{Read as _, Write as _};
    for number in 0.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let bytes = noise(seed * 1000 + number, 20_000 + (number as usize * 7919) % 60_000);
        let digest = Digest::of(&bytes);
        let ask = |head: String, body: &[u8]| -> std::io::Result<String> {
            let mut stream = std::net::TcpStream::connect(host)?;
            stream.write_all(format!("{head}Host: {host}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes())?;
            stream.write_all(body)?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let Ok(begun) = ask("POST /v2/load/blobs/uploads/ HTTP/1.1\r\n".into(), b"") else { continue };
        let location = begun.lines().find_map(|line| line.to_ascii_lowercase().starts_with("location:").then(|| line[9..].trim().to_owned()));
        let Some(location) = location else { continue };
        let ended = ask(format!("PUT {location}?digest={digest} HTTP/1.1\r\n"), &bytes);
        if ended.is_ok_and(|answer| answer.starts_with("HTTP/1.1 201")) {
            known.lock().unwrap().push((digest, bytes.len()));
        }
    }
}
