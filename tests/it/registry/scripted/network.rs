//! Between the user and the registry: proxies that ask for a password, hosts that go without them, certificates for other names,
//! redirects that would give a connection away.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use super::login::{Door, Scheme};
use super::registry::Manners;
use super::wire::Answer;
use super::world::{PASSWORD, Service, World, verdict};

const HOST: &str = "registry.example.com";
const REPOSITORY: &str = "registry.example.com/mp/nsx";

fn world() -> World {
    let service = Service::new(Manners::HARBOR, Some(Door::new(Scheme::Basic, "me", PASSWORD)));
    World::new(&[HOST], service).with_login(HOST, "me")
}

#[test]
fn a_host_of_no_proxy_is_reached_directly() {
    for list in [HOST, ".example.com", "localhost,registry.example.com"] {
        let world = world().env("NO_PROXY", list);
        let left = world.push(REPOSITORY);
        assert_eq!(left.code, Some(1), "{list}");
        assert!(verdict(&left).contains("cannot find the host `registry.example.com`"), "{}", left.err);
        assert_eq!(world.wire.seen().len(), 0, "{list}");
    }
    let world = world().env("NO_PROXY", "other.example.com");
    let left = world.push(REPOSITORY).done();
    world.validate("mp/nsx", &left);
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
    let mut world = world();
    world.hide("proxy-password");
    world.hide("cHJveHktcGFzc3dvcmQ");
    let left = world.env("HTTPS_PROXY", &format!("http://me:proxy-password@{address}")).push(REPOSITORY);
    assert_eq!(left.code, Some(1));
    assert!(verdict(&left).contains("the proxy on the way to `registry.example.com` asks for another login"), "{}", left.err);
    assert!(verdict(&left).contains("hint: put its user name and password into `HTTPS_PROXY`"), "{}", left.err);
    let head = proxy.join().unwrap();
    assert!(head.starts_with("CONNECT registry.example.com:443 ") && head.to_lowercase().contains("proxy-authorization: basic "));
    // Not to the registry, whose password is none of the proxy's business.
    assert!(!head.to_lowercase().contains("\r\nauthorization:"), "{head}");
}

#[test]
fn a_certificate_for_another_name_or_of_an_unknown_authority_ends_the_push_at_once() {
    let left = world().push("other.example.com/mp/nsx");
    assert_eq!(left.code, Some(1));
    let text = verdict(&left);
    assert!(text.contains("cannot make a TLS connection to `other.example.com`"), "{text}");
    assert!(
        text.contains(
            "hint: name the registry as its certificate does (registry.example.com), or have one made for `other.example.com`"
        ),
        "{text}"
    );

    let left = world().env("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt").push(REPOSITORY);
    assert_eq!(left.code, Some(1));
    let text = verdict(&left);
    assert!(text.contains("hint: give its certificate authority with `--ca-file`"), "{text}");

    let stranger = world().env("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt");
    let checked = stranger.run(&["check", REPOSITORY]);
    assert_eq!(checked.code, Some(1));
    assert!(checked.out.contains("✗ TLS verifies") && !checked.out.contains("/v2/ answers"), "{}", checked.out);
}

#[test]
fn a_redirect_from_https_to_http_is_not_followed() {
    let world = world();
    world.service(|service| {
        let away = Answer::new(307).with("Location", "http://127.0.0.1:1/elsewhere");
        service.inside = Box::new(move |request| (request.method == "POST").then(|| away.clone().into()));
    });
    let left = world.push(REPOSITORY);
    assert_eq!(left.code, Some(1));
    insta::assert_snapshot!(verdict(&left), @r"
    error: cannot push `registry.example.com/mp/nsx`
      caused by: `registry.example.com` redirects from https to http
    ");
}
