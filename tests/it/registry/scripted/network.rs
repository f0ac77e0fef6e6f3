//! Between the user and the registry: proxies that ask for a password, hosts that go without them,
//! certificates for other names, redirects that would give a connection away.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use super::auth::{Auth, Scheme};
use super::http_server::{HttpServer, Reply, Request, Response};
use super::memory::Quirks;
use super::testbed::{PASSWORD, Service, Testbed, shown_error};

const HOST: &str = "registry.example.com";
const REPOSITORY: &str = "registry.example.com/mp/nsx";

fn testbed() -> Testbed {
    let service = Service::new(Quirks::HARBOR, Some(Auth::new(Scheme::Basic, "me", PASSWORD)));
    Testbed::new(&[HOST], service).with_login(HOST, "me")
}

#[test]
fn a_host_of_no_proxy_is_reached_directly() {
    for list in [HOST, ".example.com", "*.example.com", "localhost,registry.example.com"] {
        let testbed = testbed().env("NO_PROXY", list);
        let left = testbed.push(REPOSITORY);
        assert_eq!(left.code, Some(1), "{list}");
        assert!(shown_error(&left).contains("cannot find the host `registry.example.com`"), "{}", left.err);
        assert_eq!(testbed.server.seen().len(), 0, "{list}");
    }
    let testbed = testbed().env("NO_PROXY", "other.example.com");
    let left = testbed.push(REPOSITORY).done();
    testbed.validate("mp/nsx", &left);
}

#[test]
fn an_empty_variable_does_not_hide_the_one_in_lower_case() {
    let testbed = testbed();
    let proxy = format!("http://{}", testbed.server.address);
    let testbed = testbed.env("HTTPS_PROXY", "").env("https_proxy", &proxy).env("NO_PROXY", "").env("no_proxy", "example.org");
    let left = testbed.push(REPOSITORY).done();
    testbed.validate("mp/nsx", &left);
    let testbed = testbed.env("no_proxy", "*.example.com");
    testbed.server.forget();
    assert!(shown_error(&testbed.push(REPOSITORY)).contains("cannot find the host"));
    assert_eq!(testbed.server.seen().len(), 0);
}

#[test]
fn a_proxy_that_asks_for_a_login_over_plain_http_is_no_registry() {
    let proxy = HttpServer::plain(|_: &Request| Reply::Response(Response::new(407).with("Proxy-Authenticate", "Basic realm=x")));
    let address = format!("http://{}", proxy.address);
    let testbed = testbed().env("HTTP_PROXY", &address).env("HTTPS_PROXY", "http://127.0.0.1:1");
    let left = testbed.run(&["push", "project", "-r", "plain.example.com/mp/nsx", "--insecure-registry", "plain.example.com"]);
    let told = shown_error(&left);
    assert!(told.contains("the proxy on the way to `plain.example.com` asks for another login"), "{told}");
    assert!(told.contains("hint: put its user name and password into `HTTP_PROXY`"), "{told}");
}

#[test]
fn blobs_behind_a_redirect_without_encryption_come_where_the_registry_is_insecure_and_without_the_login() {
    let blob: Vec<u8> = b"layer".to_vec();
    let bytes = blob.clone();
    let storage = HttpServer::plain(move |_: &Request| Reply::Response(Response::new(200).with_body(bytes.clone())));
    let testbed = testbed();
    let there = format!("http://{}/layer", storage.address);
    testbed.service(|service| {
        service.registry.put_image("mp/base", "1", &[&blob]);
        let digest = mpimg::oci::Digest::of(&blob).to_string();
        service.after_auth = Box::new(move |request| {
            request.is("GET", &digest).then(|| Response::new(307).with("Location", there.clone()).into())
        });
    });
    let source = format!("docker://{HOST}/mp/base:1");
    let refused = shown_error(&testbed.run(&["copy", &source, "oci:copied"]));
    assert!(refused.contains("redirects from https to http") && refused.contains("--insecure-registry"), "{refused}");
    testbed.run(&["copy", "--insecure-registry", HOST, &source, "oci:copied"]).done();
    let seen = storage.seen();
    assert!(!seen.is_empty() && seen.iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn a_bad_entry_in_certs_d_is_left_out_and_warned_of_once() {
    let testbed = testbed();
    let folder = testbed.home.path().join(".config/containers/certs.d").join(HOST);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("bad.crt"), "no certificate").unwrap();
    let left = testbed.push(REPOSITORY).done();
    testbed.validate("mp/nsx", &left);
    assert_eq!(left.err.matches("bad.crt` holds no certificate: left out").count(), 1, "{}", left.err);
}

#[test]
fn a_proxy_gets_its_password_and_nobody_reads_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let proxy = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 4096];
        let read = stream.read(&mut head).unwrap();
        stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n").unwrap();
        String::from_utf8_lossy(&head[..read]).into_owned()
    });
    let mut testbed = testbed();
    testbed.hide("proxy-password");
    testbed.hide("cHJveHktcGFzc3dvcmQ");
    let left = testbed.env("HTTPS_PROXY", &format!("http://me:proxy-password@{address}")).push(REPOSITORY);
    assert_eq!(left.code, Some(1));
    assert!(shown_error(&left).contains("the proxy on the way to `registry.example.com` asks for another login"), "{}", left.err);
    assert!(shown_error(&left).contains("hint: put its user name and password into `HTTPS_PROXY`"), "{}", left.err);
    let head = proxy.join().unwrap();
    assert!(head.starts_with("CONNECT registry.example.com:443 ") && head.to_lowercase().contains("proxy-authorization: basic "));
    // Not to the registry, whose password is none of the proxy's business.
    assert!(!head.to_lowercase().contains("\r\nauthorization:"), "{head}");
}

#[test]
fn a_certificate_for_another_name_or_of_an_unknown_authority_ends_the_push_at_once() {
    let left = testbed().push("other.example.com/mp/nsx");
    assert_eq!(left.code, Some(1));
    let text = shown_error(&left);
    assert!(text.contains("cannot make a TLS connection to `other.example.com`"), "{text}");
    assert!(
        text.contains(
            "hint: name the registry as its certificate does (registry.example.com), or have one made for `other.example.com`"
        ),
        "{text}"
    );

    let left = testbed().env("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt").push(REPOSITORY);
    assert_eq!(left.code, Some(1));
    let text = shown_error(&left);
    assert!(text.contains("hint: give its certificate authority with `--ca-file`"), "{text}");

    let stranger = testbed().env("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt");
    let checked = stranger.run(&["check", REPOSITORY]);
    assert_eq!(checked.code, Some(1));
    assert!(checked.out.contains("✗ tls") && !checked.out.contains("✓ registry"), "{}", checked.out);
}

#[test]
fn a_redirect_from_https_to_http_is_not_followed() {
    let testbed = testbed();
    testbed.service(|service| {
        let away = Response::new(307).with("Location", "http://127.0.0.1:1/elsewhere");
        service.after_auth = Box::new(move |request| (request.method == "POST").then(|| away.clone().into()));
    });
    let left = testbed.push(REPOSITORY);
    assert_eq!(left.code, Some(1));
    insta::assert_snapshot!(shown_error(&left), @r"
    error: cannot push `registry.example.com/mp/nsx`
      caused by: `registry.example.com` redirects from https to http
    hint: set the registry up to name its storage by https, or allow it with `--insecure-registry registry.example.com`
    ");
}

#[test]
fn this_machines_own_registries_are_reached_past_any_proxy() {
    let registry = HttpServer::plain(Service::new(Quirks::HARBOR, None));
    let repository = format!("{}/mp/nsx", registry.address);
    let nobody = "http://me:proxy-password@127.0.0.1:1";
    let mut testbed = testbed();
    testbed.hide("proxy-password");
    let testbed = testbed.env("HTTP_PROXY", nobody).env("HTTPS_PROXY", nobody).env("ALL_PROXY", nobody);
    testbed.push(&repository).done();
    let source = format!("docker://{repository}:1");
    testbed.run(&["copy", "--referrers", &source, "oci:copied"]).done();
}

#[test]
fn a_proxy_that_is_not_there_or_refuses_is_told_apart_from_the_registry() {
    let refusing = HttpServer::plain(|_: &Request| Reply::Response(Response::new(403)));
    for (proxy, words, hint) in [
        ("127.0.0.1:1".to_owned(), "cannot reach the proxy on the way to", "check `HTTPS_PROXY`, or list"),
        (refusing.address.to_string(), "the proxy on the way to `registry.example.com` refuses", "have the proxy allow"),
    ] {
        let mut testbed = testbed();
        testbed.hide("proxy-password");
        let testbed = testbed.env("HTTPS_PROXY", &format!("http://me:proxy-password@{proxy}"));
        let checked = testbed.run(&["check", REPOSITORY]);
        assert_eq!(checked.code, Some(1));
        assert!(checked.out.contains(words) && checked.out.contains(&format!("hint: {hint}")), "{}", checked.out);
    }
}

#[test]
fn no_proxy_knows_addresses_networks_and_everything() {
    // 0.0.0.0 leads to this machine, but is none of its own addresses.
    let proxied = |list: &str, registry: &str| {
        let proxy = HttpServer::plain(|_: &Request| Reply::Response(Response::new(403)));
        let testbed = testbed().env("HTTPS_PROXY", &format!("http://{}", proxy.address)).env("NO_PROXY", list);
        let checked = testbed.run(&["check", "--json", &format!("{registry}/mp/nsx")]);
        assert_eq!(checked.code, Some(1));
        !proxy.seen().is_empty()
    };
    for (list, registry, expected) in [
        ("10.0.0.0/8", "0.0.0.0:1", true),
        ("0.0.0.0", "0.0.0.0:1", false),
        ("10.0.0.0/8, 0.0.0.0/8", "0.0.0.0:1", false),
        ("::/128", "[::]:1", false),
        ("fe80::/10", "[::]:1", true),
        ("*", "nowhere.invalid", false),
        ("*", "0.0.0.0:1", false),
        ("nowhere.invalid:443", "nowhere.invalid", false),
        ("nowhere.invalid:444", "nowhere.invalid", true),
        ("invalid", "nowhere.invalid", false),
        ("where.invalid", "nowhere.invalid", true),
    ] {
        assert_eq!(proxied(list, registry), expected, "{list} {registry}");
    }
}

/// A SOCKS5 proxy (RFC 1928) without a login, which hands connections on to the HTTP proxy at
/// `next`.
fn socks(next: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = move |mut client: TcpStream| -> std::io::Result<()> {
        let mut greeting = [0; 2];
        client.read_exact(&mut greeting)?;
        client.read_exact(&mut vec![0; greeting[1].into()])?;
        client.write_all(&[5, 0])?;
        let mut wanted = [0; 5];
        client.read_exact(&mut wanted)?;
        assert_eq!(wanted[..4], [5, 1, 0, 3], "a connection to a host by its name");
        let mut host = vec![0; usize::from(wanted[4]) + 2];
        client.read_exact(&mut host)?;
        let name = String::from_utf8_lossy(&host[..host.len() - 2]).into_owned();
        let mut server = TcpStream::connect(next)?;
        write!(server, "CONNECT {name}:443 HTTP/1.1\r\n\r\n")?;
        let mut answer = [0; b"HTTP/1.1 200 Connection established\r\n\r\n".len()];
        server.read_exact(&mut answer)?;
        client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
        let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
        std::thread::spawn(move || std::io::copy(&mut from, &mut to));
        std::io::copy(&mut server, &mut client).map(drop)
    };
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            std::thread::spawn(move || serve(client));
        }
    });
    address
}

#[test]
fn a_socks_proxy_leads_to_the_registry_too() {
    let testbed = testbed();
    let address = socks(testbed.server.address);
    let testbed = testbed.env("HTTPS_PROXY", &format!("socks5h://{address}"));
    let left = testbed.push(REPOSITORY).done();
    testbed.validate("mp/nsx", &left);
}
