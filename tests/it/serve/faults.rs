//! Injected faults do what they say, and the log tells every request.

use std::time::{Duration, Instant};

use mpimg::serve::{Fault, FaultResponse, RequestInfo};
use reqwest::header::{HeaderValue, RETRY_AFTER};

use super::*;

/// A registry whose next request that `matches` meets `fault`, once.
async fn with_fault(fault: Fault, matches: impl Fn(&RequestInfo) -> bool + Send + Sync + 'static) -> Rig {
    let fault = Mutex::new(Some(fault));
    let hook = move |request: &RequestInfo| match matches(request) {
        true => fault.lock().unwrap().take().unwrap_or(Fault::None),
        false => Fault::None,
    };
    Rig::with(RegistryOptions { faults: Some(Arc::new(hook)), grace: Duration::from_millis(50), ..RegistryOptions::default() })
        .await
}

fn patches(request: &RequestInfo) -> bool {
    request.method == Method::PATCH
}

async fn fails(request: RequestBuilder) -> reqwest::Error {
    match request.send().await {
        Err(error) => error,
        Ok(response) => response.bytes().await.expect_err("a broken answer"),
    }
}

fn was_reset(error: &reqwest::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[tokio::test]
async fn a_status_is_answered_and_nothing_is_done() {
    let answer = FaultResponse::error(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", "slow down");
    let answer = answer.with_header(RETRY_AFTER, HeaderValue::from_static("7"));
    let rig = with_fault(Fault::Status(answer), patches).await;
    let location = rig.begin("a").await;
    let reply = rig.patch(&location, noise(3_000_000)).await.expect(429);
    assert_eq!((reply.header("retry-after"), reply.code().as_str()), ("7", "TOOMANYREQUESTS"));
    assert_eq!(rig.get(&location).await.expect(204).header("range"), "0-0");
    rig.patch(&location, "hello").await.expect(202);
}

#[tokio::test]
async fn a_status_afterwards_hides_that_it_was_done() {
    let rig = with_fault(Fault::StatusAfter(FaultResponse::status(StatusCode::BAD_GATEWAY)), patches).await;
    let location = rig.begin("a").await;
    rig.patch(&location, "hello").await.expect(502);
    assert_eq!(rig.get(&location).await.expect(204).header("range"), "0-4");
}

#[tokio::test]
async fn a_reset_before_is_a_reset_and_nothing_is_done() {
    let rig = with_fault(Fault::ResetBefore, patches).await;
    let location = rig.begin("a").await;
    let error = fails(rig.request(Method::PATCH, &location).body("hello")).await;
    assert!(was_reset(&error), "{error:?}");
    assert_eq!(rig.get(&location).await.expect(204).header("range"), "0-0");
}

#[tokio::test]
async fn a_reset_in_the_middle_keeps_exactly_what_was_read() {
    let rig = with_fault(Fault::ResetAfter(1_234_567), patches).await;
    let bytes = noise(3_000_000);
    let location = rig.begin("a").await;
    fails(rig.request(Method::PATCH, &location).body(bytes.clone())).await;
    assert_eq!(rig.get(&location).await.expect(204).header("range"), "0-1234566");
    let digest = Digest::of(&bytes);
    rig.put(&format!("{location}?digest={digest}"), bytes[1_234_567..].to_vec()).await.expect(201);
    let log = rig.log.lock().unwrap();
    let cut = log.iter().find(|served| served.status.is_none()).unwrap();
    assert_eq!((cut.request.method.as_str(), cut.request_bytes), ("PATCH", 1_234_567));
}

#[tokio::test]
async fn a_lost_answer_is_lost_after_the_work_was_done() {
    let rig = with_fault(Fault::ResetAfterHandling, |request| request.path.ends_with("/manifests/one")).await;
    let manifest = rig.image("a", "layer").await;
    let request = rig.request(Method::PUT, "/v2/a/manifests/one").header(CONTENT_TYPE, MANIFEST);
    let error = fails(request.body(manifest.to_string())).await;
    assert!(was_reset(&error), "{error:?}");
    rig.get("/v2/a/manifests/one").await.expect(200);
}

#[tokio::test]
async fn a_truncated_answer_announces_more_than_it_has() {
    let rig = with_fault(Fault::TruncateResponse(700_000), |request| request.method == Method::GET).await;
    let bytes = noise(2_000_000);
    let digest = rig.push_blob("a", &bytes).await;
    let path = format!("/v2/a/blobs/{digest}");
    let mut response = rig.request(Method::GET, &path).send().await.unwrap();
    assert_eq!(response.content_length(), Some(2_000_000));
    let mut received = Vec::new();
    let error = loop {
        match response.chunk().await {
            Ok(Some(part)) => received.extend_from_slice(&part),
            Ok(None) => panic!("not truncated"),
            Err(error) => break error,
        }
    };
    assert!(received == bytes[..received.len()] && received.len() <= 700_000, "{error:?}");
    assert_eq!(Digest::of(rig.get(&path).await.expect(200).body), digest);
}

#[tokio::test]
async fn a_truncated_manifest_is_cut_in_its_one_piece() {
    let rig = with_fault(Fault::TruncateResponse(10), |request| request.method == Method::GET).await;
    rig.push_image("a", "one", "layer").await;
    fails(rig.request(Method::GET, "/v2/a/manifests/one")).await;
    rig.get("/v2/a/manifests/one").await.expect(200);
}

#[tokio::test]
async fn a_delay_delays_and_a_stall_waits_until_the_server_stops() {
    let rig = with_fault(Fault::Delay(Duration::from_millis(60)), patches).await;
    let location = rig.begin("a").await;
    let start = Instant::now();
    rig.patch(&location, "hello").await.expect(202);
    assert!(start.elapsed() >= Duration::from_millis(60));

    let rig = with_fault(Fault::Stall, patches).await;
    let location = rig.begin("a").await;
    let request = rig.request(Method::PATCH, &location).body("hello");
    let stalled = tokio::spawn(async move { fails(request).await });
    // Others are not held up.
    rig.get(&location).await.expect(204);
    assert!(!stalled.is_finished());
    rig.stop().await;
    stalled.await.unwrap();
}

#[tokio::test]
async fn the_log_has_every_request_by_the_time_its_answer_is_there() {
    let rig = Rig::new().await;
    rig.push_blob("a", b"hello").await;
    rig.get(&format!("/v2/a/blobs/{}", Digest::of("hello"))).await.expect(200);
    rig.head(&format!("/v2/a/blobs/{}", Digest::of("hello"))).await.expect(200);
    rig.get("/v2/a/manifests/none").await.expect(404);
    let log = rig.log.lock().unwrap();
    let seen: Vec<_> = log
        .iter()
        .map(|served| {
            let status = served.status.unwrap().as_u16();
            (served.request.number, served.request.method.as_str(), status, served.request_bytes, served.response_bytes)
        })
        .collect();
    assert_eq!(seen[..4], [(0, "POST", 202, 0, 0), (1, "PUT", 201, 5, 0), (2, "GET", 200, 0, 5), (3, "HEAD", 200, 0, 0)]);
    assert_eq!((seen[4].1, seen[4].2), ("GET", 404));
    assert_eq!(log[1].request.query.as_deref(), Some(format!("digest={}", Digest::of("hello")).as_str()));
    assert_eq!(rig.registry.requests(), 5);
}

#[tokio::test]
async fn requests_under_way_may_finish_when_the_server_stops() {
    let rig = Rig::new().await;
    let location = rig.begin("a").await;
    let (sender, receiver) = tokio::sync::mpsc::channel::<std::io::Result<&'static str>>(1);
    let body =
        futures_util::stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|part| (part, receiver)) });
    let url = format!("{location}?digest={}", Digest::of("hello world"));
    let request = rig.request(Method::PUT, &url).body(reqwest::Body::wrap_stream(body));
    let pushing = tokio::spawn(send(request));
    sender.send(Ok("hello ")).await.unwrap();
    rig.arrived(2).await;
    rig.stop.cancel();
    tokio::time::sleep(Duration::from_millis(30)).await;
    sender.send(Ok("world")).await.unwrap();
    drop(sender);
    pushing.await.unwrap().expect(201);
    rig.running.await.unwrap().unwrap();
}
