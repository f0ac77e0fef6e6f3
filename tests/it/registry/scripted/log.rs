//! What a push logs of its HTTP exchanges, logins and retries. (That no secret is logged, every
//! test of these registries checks.)

use super::auth::{Auth, Scheme};
use super::http_server::Response;
use super::memory::Quirks;
use super::testbed::{PASSWORD, Service, Testbed};

#[test]
fn a_push_logs_exchanges_logins_and_retries_without_queries() {
    let scheme = Scheme::bearer("harbor.example.com", "/service/token", "harbor-registry");
    let service = Service::new(Quirks::HARBOR, Some(Auth::new(scheme, "user", PASSWORD)));
    let testbed = Testbed::new(&["harbor.example.com"], service).with_login("harbor.example.com", "user");
    let testbed = testbed.with_file(6 << 20).env("NO_COLOR", "1");
    let mut failures = 1;
    testbed.service(|service| {
        service.after_auth = Box::new(move |request| {
            let now = request.method == "PATCH" && failures > 0;
            failures -= i32::from(now);
            now.then(|| Response::new(503).into())
        });
    });
    let log = testbed.push("harbor.example.com/mp/nsx").done().err;
    let line = |words: &[&str]| log.lines().any(|line| words.iter().all(|word| line.contains(word)));
    for words in [
        &["http exchange", "method=HEAD", "status=401", "attempt=1", "url=\"https://harbor.example.com/v2/mp/nsx/blobs/"][..],
        &["http exchange", "method=PATCH", "status=503", "attempt=1"],
        &["retry of an upload step", "attempt=2", "503"],
        &["registry asks for authentication", "scheme=\"Bearer\"", "realm=\"https://harbor.example.com/service/token\""],
        &["credential looked up", "found=\"user name and password\"", "config.json"],
        &["token requested", "scope=repository:mp/nsx:pull,push", "with_credential=true", "received=true"],
    ] {
        assert!(line(words), "{words:?} is missing in:\n{log}");
    }
    // The address of an upload session has a signed state in its query, a token request the
    // account.
    let exchanges: Vec<_> = log.lines().filter(|line| line.contains("http exchange")).collect();
    assert!(exchanges.len() > 10 && exchanges.iter().all(|line| !line.contains('?')), "{exchanges:#?}");
}
