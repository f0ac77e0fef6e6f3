//! Encrypted registries: nginx with a private authority before docker-registry, with limits and
//! without good manners.

use std::path::{Path, PathBuf};

use mpimg::ErrorKind;
use mpimg::oci::Platform;
use mpimg::registry::{CheckState, ClientOptions};

use super::distribution::push;
use super::fixture::{Image, Server, client, distribution, free_address, nginx, options};
use super::token_server::openssl;

/// nginx with TLS before a registry, and the authority's certificate.
pub(crate) struct Front {
    pub(crate) nginx: Server,
    _registry: Server,
    pub(crate) authority: PathBuf,
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A key and a certificate for `subject`, signed by `authority` or by itself.
pub(crate) fn certificate(folder: &Path, name: &str, extensions: &str, authority: Option<&str>) {
    let (key, certificate) = (folder.join(format!("{name}.key")), folder.join(format!("{name}.crt")));
    let mut arguments = vec!["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    arguments.extend(["-keyout", text(&key), "-out", text(&certificate)]);
    let subject = format!("/CN={name}");
    arguments.extend(["-subj", &subject]);
    arguments.extend(extensions.split(' ').flat_map(|extension| ["-addext", extension]));
    let signer = authority.map(|name| (folder.join(format!("{name}.crt")), folder.join(format!("{name}.key"))));
    if let Some((certificate, key)) = &signer {
        arguments.extend(["-CA", text(certificate), "-CAkey", text(key)]);
    }
    openssl(&arguments, b"");
}

/// A certificate of `authority` for 127.0.0.1 that is valid between these times
/// (`YYYYMMDDHHMMSSZ`).
fn dated_certificate(folder: &Path, name: &str, from: &str, to: &str) {
    let file = |end: &str| folder.join(format!("{name}.{end}"));
    let here = folder.display();
    let config = format!(
        "[ca]\ndefault_ca = c\n[c]\ndatabase = {here}/{name}.index\nrand_serial = yes\nnew_certs_dir = {here}\ndefault_md = sha256\n\
         policy = p\nx509_extensions = e\n[p]\ncommonName = supplied\n[e]\nsubjectAltName = IP:127.0.0.1\n\
         basicConstraints = CA:FALSE\n"
    );
    std::fs::write(file("conf"), config).unwrap();
    std::fs::write(file("index"), "").unwrap();
    let (key, request, certificate, config) = (file("key"), file("csr"), file("crt"), file("conf"));
    let kind = ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=registry"];
    openssl(&[&kind[..], &["-keyout", text(&key), "-out", text(&request)]].concat(), b"");
    let (authority, signer) = (folder.join("authority.crt"), folder.join("authority.key"));
    let sign = ["ca", "-batch", "-notext", "-config", text(&config), "-in", text(&request), "-out", text(&certificate)];
    let dates = ["-cert", text(&authority), "-keyfile", text(&signer), "-startdate", from, "-enddate", to];
    openssl(&[&sign[..], &dates].concat(), b"");
}

pub(crate) fn front(server: &str, location: &str) -> Front {
    let registry = distribution("");
    let upstream = registry.address;
    let nginx = nginx(|address, folder| {
        certificate(folder, "authority", "basicConstraints=critical,CA:TRUE", None);
        certificate(folder, "server", "subjectAltName=IP:127.0.0.1,DNS:localhost basicConstraints=CA:FALSE", Some("authority"));
        certificate(folder, "client", "extendedKeyUsage=clientAuth basicConstraints=CA:FALSE", Some("authority"));
        let here = folder.display();
        format!(
            "server {{ listen {address} ssl; ssl_certificate {here}/server.crt; ssl_certificate_key {here}/server.key;\n{}\n\
             location / {{ proxy_pass http://{upstream}; {location} }} }}",
            server.replace("HERE", &here.to_string()),
        )
    });
    let authority = nginx.folder.path().join("authority.crt");
    Front { nginx, _registry: registry, authority }
}

pub(crate) const MANNERS: &str = "proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto $scheme;";

fn trusting(front: &Front) -> ClientOptions {
    let mut options = options();
    options.ca_files.push(front.authority.clone());
    options
}

#[tokio::test]
async fn a_private_authority_is_trusted_when_it_is_given_and_only_then() {
    let front = front("client_max_body_size 0;", MANNERS);
    let repository = front.nginx.repository("a/b");
    let image = Image::new(81, &[1000, 6 << 20]);
    let error = push(&client(options()), &repository, &image, &["1"]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network);
    assert!(error.hint().unwrap().contains("`ca_files`"), "{error:?}");

    let by_file = client(trusting(&front));
    push(&by_file, &repository, &image, &["1"]).await.unwrap();
    assert_eq!(by_file.tags(&repository).await.unwrap().len(), 1);
    let checked = by_file.check(&repository).await;
    assert!(checked.iter().any(|item| item.name == "tls" && item.state == CheckState::Passed), "{checked:?}");

    let certs = tempfile::tempdir().unwrap();
    let host = certs.path().join(front.nginx.address.to_string());
    std::fs::create_dir(&host).unwrap();
    std::fs::copy(&front.authority, host.join("ca.crt")).unwrap();
    let mut by_folder = options();
    by_folder.certs_dirs = Some(vec![certs.path().into()]);
    client(by_folder).pull_image(&repository.with_digest(image.digest()), &Platform::default()).await.unwrap();

    let mut unchecked = options();
    unchecked.insecure.push(front.nginx.address.to_string());
    client(unchecked).pull_image(&repository.with_digest(image.digest()), &Platform::default()).await.unwrap();
}

#[tokio::test]
async fn a_certificate_of_another_time_or_name_is_refused_with_what_to_do_about_it() {
    let ports = [free_address(), free_address()];
    let nginx = nginx(|address, folder| {
        certificate(folder, "authority", "basicConstraints=critical,CA:TRUE", None);
        certificate(
            folder,
            "server",
            "subjectAltName=DNS:r.example.com,DNS:*.r.org basicConstraints=CA:FALSE",
            Some("authority"),
        );
        dated_certificate(folder, "old", "20200101000000Z", "20210203000000Z");
        dated_certificate(folder, "new", "29980405000000Z", "29990101000000Z");
        let here = folder.display();
        [(address, "server"), (ports[0], "old"), (ports[1], "new")].map(|(address, name)| {
            format!(
                "server {{ listen {address} ssl; ssl_certificate {here}/{name}.crt; ssl_certificate_key {here}/{name}.key; return 200; }}\n"
            )
        }).concat()
    });
    let mut options = options();
    options.ca_files.push(nginx.folder.path().join("authority.crt"));
    let client = client(options);
    let place = nginx.address;
    for (address, cause, hint) in [
        (
            place,
            "not valid for name",
            format!("name the registry as its certificate does (r.example.com, *.r.org), or have one made for `{place}`"),
        ),
        (
            ports[0],
            "certificate expired",
            "have the registry's certificate renewed: it ended on 2021-02-03; or set this machine's clock, if today is not 2"
                .into(),
        ),
        (ports[1], "certificate not valid yet", "set this machine's clock, if today is not 2".into()),
    ] {
        let repository = mpimg::oci::Repository::parse(&format!("{address}/a")).unwrap();
        let error = push(&client, &repository, &Image::new(87, &[10]), &[]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Network);
        assert!(error.causes().iter().any(|said| said.contains(cause)), "{error:?}");
        assert!(error.hint().unwrap().starts_with(&hint), "{error:?}");
    }
    let repository = mpimg::oci::Repository::parse(&format!("{}/a", ports[1])).unwrap();
    let error = push(&client, &repository, &Image::new(87, &[10]), &[]).await.unwrap_err();
    assert!(error.hint().unwrap().ends_with("the registry's certificate begins on 2998-04-05"), "{error:?}");
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_certs_d_has_one() {
    let front = front("ssl_client_certificate HERE/authority.crt; ssl_verify_client on;", MANNERS);
    let repository = front.nginx.repository("a");
    let image = Image::new(82, &[1000]);
    let error = push(&client(trusting(&front)), &repository, &image, &[]).await.unwrap_err();
    assert!(
        error.hint().unwrap().ends_with(&format!("certs.d/{}/ as client.cert and client.key", front.nginx.address)),
        "{error:?}"
    );
    let certs = tempfile::tempdir().unwrap();
    let host = certs.path().join(front.nginx.address.to_string());
    std::fs::create_dir(&host).unwrap();
    let folder = front.nginx.folder.path();
    for (from, to) in [("authority.crt", "ca.crt"), ("client.crt", "client.cert"), ("client.key", "client.key")] {
        std::fs::copy(folder.join(from), host.join(to)).unwrap();
    }
    let mut options = options();
    options.certs_dirs = Some(vec![certs.path().into()]);
    let shown = client(options.clone());
    push(&shown, &repository, &image, &["1"]).await.unwrap();
    assert_eq!(shown.tags(&repository).await.unwrap().len(), 1);
    assert_eq!(shown.referrers(&repository, &image.digest()).await.unwrap(), []);
    // What refers to an image, and what refers to that, comes with it over such a registry, too.
    let name = repository.with_digest(image.digest());
    let subject = shown.pull_tree(&name, None).await.unwrap().descriptor;
    let sbom = mpimg::image::artifact("application/spdx+json", "application/spdx+json", "{}".into(), &subject);
    shown.attach(&repository, &sbom).await.unwrap();
    let note = mpimg::image::artifact("application/x", "application/x", "note".into(), &sbom.descriptor);
    shown.attach(&repository, &note).await.unwrap();
    let tree = shown.pull_tree(&name, None).await.unwrap();
    let attached = shown.pull_attached(&repository, &tree).await.unwrap();
    let digests: Vec<_> = attached.iter().map(|tree| tree.descriptor.digest).collect();
    assert_eq!(digests, [sbom.descriptor.digest, note.descriptor.digest]);
    std::fs::remove_file(host.join("client.key")).unwrap();
    let error = push(&client(options), &repository, &image, &[]).await.unwrap_err();
    assert!(error.causes().join("; ").contains("has no key beside it"), "{error:?}");
}

#[tokio::test]
async fn a_server_of_tls_1_2_alone_is_spoken_to() {
    let front = front("ssl_protocols TLSv1.2; client_max_body_size 0;", MANNERS);
    push(&client(trusting(&front)), &front.nginx.repository("a"), &Image::new(88, &[1000]), &["1"]).await.unwrap();
}

#[tokio::test]
async fn a_certificate_that_was_given_itself_is_trusted_for_its_name_and_time_alone() {
    // As docker's documentation makes it: `openssl req -x509`, which says CA:TRUE.
    let ports = [free_address(), free_address()];
    let nginx = nginx(|address, folder| {
        certificate(folder, "authority", "basicConstraints=critical,CA:TRUE", None);
        certificate(folder, "self", "subjectAltName=IP:127.0.0.1 basicConstraints=critical,CA:TRUE", None);
        certificate(folder, "stranger", "subjectAltName=IP:127.0.0.1 basicConstraints=critical,CA:TRUE", None);
        certificate(folder, "named", "subjectAltName=DNS:r.example.com basicConstraints=critical,CA:TRUE", None);
        dated_certificate(folder, "old", "20200101000000Z", "20210203000000Z");
        let here = folder.display();
        let server = |(address, name): (std::net::SocketAddr, &str)| {
            format!(
                "server {{ listen {address} ssl; ssl_certificate {here}/{name}.crt; ssl_certificate_key {here}/{name}.key; \
                 default_type application/json; location /v2/ {{ return 200 '{{}}'; }} }}\n"
            )
        };
        [(address, "self"), (ports[0], "named"), (ports[1], "old")].map(server).concat()
    });
    let folder = nginx.folder.path();
    let asked = async |address: std::net::SocketAddr, given: &str| {
        let mut options = options();
        options.ca_files.push(folder.join(given));
        options.retry.attempts = 1;
        let repository = mpimg::oci::Repository::parse(&format!("{address}/a")).unwrap();
        let items = client(options).check(&repository).await;
        items
            .into_iter()
            .find(|item| item.kind == Some(ErrorKind::Network))
            .map(|item| item.detail + &item.hint.unwrap_or_default())
    };
    assert_eq!(asked(nginx.address, "self.crt").await, None);
    let wrong = asked(nginx.address, "stranger.crt").await.unwrap();
    assert!(wrong.contains("give it with `ca_files`"), "{wrong}");
    let wrong = asked(ports[0], "named.crt").await.unwrap();
    assert!(wrong.contains("name the registry as its certificate does (r.example.com)"), "{wrong}");
    // A leaf of an authority that nobody knows, given itself, and too old.
    let wrong = asked(ports[1], "old.crt").await.unwrap();
    assert!(wrong.contains("it ended on 2021-02-03"), "{wrong}");

    let certs = tempfile::tempdir().unwrap();
    let host = certs.path().join(nginx.address.to_string());
    std::fs::create_dir(&host).unwrap();
    std::fs::copy(folder.join("self.crt"), host.join("ca.crt")).unwrap();
    let mut by_folder = options();
    by_folder.certs_dirs = Some(vec![certs.path().into()]);
    let items = client(by_folder).check(&nginx.repository("a")).await;
    assert!(items.iter().all(|item| item.kind != Some(ErrorKind::Network)), "{items:?}");
}

#[tokio::test]
async fn an_old_server_is_told_by_what_is_old() {
    let port = free_address();
    let nginx = nginx(|address, folder| {
        certificate(folder, "modern", "subjectAltName=IP:127.0.0.1 basicConstraints=critical,CA:TRUE", None);
        let (key, short) = (folder.join("short.key"), folder.join("short.crt"));
        let make = ["req", "-x509", "-newkey", "rsa:1024", "-nodes", "-days", "2", "-subj", "/CN=short"];
        let extensions = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:TRUE"];
        openssl(&[&make[..], &extensions, &["-keyout", text(&key), "-out", text(&short)]].concat(), b"");
        let here = folder.display();
        format!(
            "server {{ listen {address} ssl; ssl_protocols TLSv1.2; ssl_ciphers ECDHE-ECDSA-AES128-SHA; ssl_certificate \
             {here}/modern.crt; ssl_certificate_key {here}/modern.key; }}\n\
             server {{ listen {port} ssl; ssl_ciphers DEFAULT@SECLEVEL=0; ssl_certificate {here}/short.crt; ssl_certificate_key \
             {here}/short.key; }}\n"
        )
    });
    for (address, hint) in [
        (nginx.address, "TLS 1.2 with ECDHE and AES-GCM or ChaCha20: it takes only older ciphers"),
        (port, "have a certificate with an RSA key of 2048 bits or more made"),
    ] {
        let mut options = options();
        options.ca_files.extend(["modern.crt", "short.crt"].map(|name| nginx.folder.path().join(name)));
        let repository = mpimg::oci::Repository::parse(&format!("{address}/a")).unwrap();
        let error = push(&client(options), &repository, &Image::new(89, &[10]), &[]).await.unwrap_err();
        assert!(error.hint().unwrap_or_default().contains(hint), "{error:?}");
    }
}

#[tokio::test]
async fn a_proxy_that_hides_scheme_and_port_from_the_registry_does_no_harm() {
    // The registry answers with Locations like `http://127.0.0.1/v2/…`: neither https nor the port.
    let front = front("client_max_body_size 0;", "proxy_set_header Host $host;");
    let image = Image::new(83, &[1000, 6 << 20]);
    push(&client(trusting(&front)), &front.nginx.repository("a"), &image, &["1"]).await.unwrap();
}

#[tokio::test]
async fn a_limit_on_the_size_of_requests_makes_the_chunks_smaller() {
    let front = front("client_max_body_size 700k;", MANNERS);
    let image = Image::new(84, &[3 << 20, 900_000]);
    push(&client(trusting(&front)), &front.nginx.repository("a"), &image, &["1"]).await.unwrap();
    let small = self::front("client_max_body_size 1k;", MANNERS);
    let error = push(&client(trusting(&small)), &small.nginx.repository("a"), &image, &["1"]).await.unwrap_err();
    assert!(error.hint().unwrap().contains("client_max_body_size"), "{error:?}");
}

#[tokio::test]
async fn plain_http_is_for_this_machine_only_unless_it_is_asked_for() {
    // The name leads here, but does not say so.
    let registry = distribution("");
    let name = format!("{}:{}", hostname(), registry.address.port());
    let mut options = options();
    options.retry.attempts = 1;
    let repository = mpimg::oci::Repository::parse(&format!("{name}/a")).unwrap();
    let error = push(&client(options), &repository, &Image::new(85, &[10]), &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network, "{error:?}");
}

#[tokio::test]
async fn a_registry_on_an_ipv6_address_is_reached_by_it() {
    let server = mpimg::serve::Registry::open(Default::default()).unwrap().bind("[::1]:0").await.unwrap();
    let repository = mpimg::oci::Repository::parse(&format!("{}/mp/nsx", server.addr())).unwrap();
    tokio::spawn(server.run(std::future::pending()));
    let image = Image::new(86, &[6 << 20]);
    let client = client(options());
    push(&client, &repository, &image, &["1"]).await.unwrap();
    assert!(client.check_anonymous(&repository, &image.digest()).await.pullable());
}

fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_ascii_lowercase();
    if name.contains('.') { name } else { format!("{name}.invalid") }
}
