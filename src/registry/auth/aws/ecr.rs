//! Amazon ECR's credential: a password for 12 hours, requested with the AWS identity of this
//! machine.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;

use super::client::Aws;
use crate::error::{Error, ErrorKind, Result};
use crate::registry::auth::credential::Credential;
use crate::registry::aws_hosts::{PrivateEcr, Service, Variant};
use crate::registry::environment::Environment;
use crate::registry::host::host_of;
use crate::registry::transport::Transport;

/// Which of ECR's interfaces gives the token for a registry.
#[derive(Debug, PartialEq, Eq)]
struct Interface {
    /// The name that signatures are made for.
    service: &'static str,
    region: String,
    variant: Variant,
    /// The operation (`X-Amz-Target`).
    target: &'static str,
    api: Service,
}

impl Interface {
    fn of(registry: &str) -> Option<Self> {
        let host = host_of(registry);
        if host == "public.ecr.aws" {
            return Some(Self {
                service: "ecr-public",
                region: "us-east-1".into(),
                target: "SpencerFrontendService.GetAuthorizationToken",
                api: Service::EcrPublic,
                variant: Variant::default(),
            });
        }
        let PrivateEcr { region, variant } = PrivateEcr::of(host)?;
        Some(Self {
            service: "ecr",
            region: region.into(),
            target: "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken",
            api: Service::Ecr,
            variant,
        })
    }
}

/// A credential for an ECR registry from the machine's AWS identity.
pub(in crate::registry::auth) async fn credential(
    registry: &str,
    environment: &Environment,
    transport: &Arc<Transport>,
) -> Result<Option<Credential>> {
    let Some(interface) = Interface::of(registry) else { return Ok(None) };
    let aws = Aws::open(environment, transport)?;
    let url = aws.endpoint(interface.api, &interface.region, interface.variant)?;
    let nobody = || format!("no AWS identity for `{registry}`");
    let keys = aws.identity(&interface.region).await.map_err(|error| error.wrap(nobody()))?.ok_or_else(|| {
        Error::new(ErrorKind::Auth, nobody()).with_hint(
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, choose a profile with AWS_PROFILE, or give the machine a role",
        )
    })?;
    let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", interface.target)];
    let service = (interface.service, interface.region.as_str());
    let request = aws.signed(service, &keys, url, &headers, Bytes::from_static(b"{}")).await?;
    let (status, body) = aws.exchange(request).await?;
    let answer: Value = serde_json::from_str(&body).unwrap_or_default();
    if !(200..300).contains(&status) {
        let words = answer["message"].as_str().or(answer["Message"].as_str()).or(answer["__type"].as_str()).unwrap_or_default();
        return Err(Error::new(ErrorKind::Auth, format!("ECR gives no token: {status} {words}"))
            .with_hint("check that the AWS identity may call ecr:GetAuthorizationToken, and this machine's clock"));
    }
    read_token(&answer).map(Some)
}

/// `authorizationData` is a list, of ECR Public a single object; the token is base64 of
/// `AWS:<password>`.
fn read_token(answer: &Value) -> Result<Credential> {
    let data = &answer["authorizationData"];
    let token = data["authorizationToken"].as_str().or(data[0]["authorizationToken"].as_str());
    let pair = token.and_then(|token| STANDARD.decode(token).ok()).and_then(|pair| String::from_utf8(pair).ok());
    let pair = pair.as_deref().and_then(|pair| pair.split_once(':'));
    let (username, password) = pair.ok_or_else(|| Error::new(ErrorKind::Auth, "ECR gave an answer without a token"))?;
    Ok(Credential::basic(username, password))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::registry::RetryPolicy;
    use crate::registry::tls::Connections;

    #[test]
    fn each_registry_has_its_interface() {
        for (registry, service, region, api) in [
            ("123456789012.dkr.ecr.eu-central-1.amazonaws.com", "ecr", "eu-central-1", Service::Ecr),
            ("1.dkr.ecr.cn-north-1.amazonaws.com.cn:443", "ecr", "cn-north-1", Service::Ecr),
            ("public.ecr.aws", "ecr-public", "us-east-1", Service::EcrPublic),
        ] {
            let interface = Interface::of(registry).unwrap();
            assert_eq!((interface.service, &*interface.region, interface.api), (service, region, api));
        }
        assert_eq!(Interface::of("harbor.example.com"), None);
    }

    fn transport() -> Arc<Transport> {
        let retry = RetryPolicy { attempts: 1, ..RetryPolicy::default() };
        Arc::new(Transport::new(
            Connections::new(Vec::new(), Vec::new(), Duration::from_secs(1), Default::default(), Default::default()),
            retry,
            Default::default(),
            1,
        ))
    }

    /// Answers one request with `body`; the request.
    async fn serve_once(listener: tokio::net::TcpListener, body: String) -> String {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"{}") {
            stream.read_buf(&mut request).await.unwrap();
        }
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(request).unwrap()
    }

    #[tokio::test]
    async fn the_token_is_asked_for_with_a_signature_and_the_secret_stays_here() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let environment = Environment::fixed([
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "hunter2".to_owned()),
            ("AWS_ENDPOINT_URL_ECR", format!("http://{}/", listener.local_addr().unwrap())),
        ]);
        let body = serde_json::json!({"authorizationData": [{"authorizationToken": STANDARD.encode("AWS:secret")}]});
        let server = tokio::spawn(serve_once(listener, body.to_string()));
        let registry = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
        let found = credential(registry, &environment, &transport()).await.unwrap();
        assert_eq!(found, Some(Credential::basic("AWS", "secret")));
        let request = server.await.unwrap().to_ascii_lowercase();
        assert!(request.contains("authorization: aws4-hmac-sha256 credential=akidexample/"), "{request}");
        assert!(request.contains("/eu-central-1/ecr/aws4_request"), "{request}");
        assert!(request.contains("x-amz-target: amazonec2containerregistry_v20150921.getauthorizationtoken"), "{request}");
        assert!(!request.contains("hunter2"), "{request}");
    }

    #[tokio::test]
    async fn without_an_identity_the_error_says_how_to_give_one() {
        let environment = Environment::fixed([("AWS_EC2_METADATA_DISABLED", "true")]);
        let registry = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
        let error = credential(registry, &environment, &transport()).await.unwrap_err();
        assert!(error.hint().unwrap().contains("AWS_PROFILE"), "{error:?}");
    }

    #[test]
    fn the_token_is_read_from_both_forms() {
        let token = STANDARD.encode("AWS:secret");
        let private = serde_json::json!({"authorizationData": [{"authorizationToken": token}]});
        let public = serde_json::json!({"authorizationData": {"authorizationToken": token}});
        for answer in [private, public] {
            assert_eq!(read_token(&answer).unwrap(), Credential::basic("AWS", "secret"));
        }
        assert!(read_token(&Value::Null).is_err());
    }
}
