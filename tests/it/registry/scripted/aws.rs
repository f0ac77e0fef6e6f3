//! The AWS identity in each of its places, without the aws command: moto gives ECR's token and
//! looks at every signature.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::auth::{Auth, Scheme};
use super::http_server::{HttpServer, Reply, Request, Response, forward};
use super::memory::Quirks;
use super::testbed::{Service, Testbed, shown_error};
use crate::registry::fixture::{Server, moto};

const HOST: &str = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
const API: &str = "api.ecr.eu-central-1.amazonaws.com";
pub(super) const STS: &str = "sts.eu-central-1.amazonaws.com";
pub(super) const REPOSITORY: &str = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/mp/nsx";
pub(super) const ROLE: &str = "arn:aws:iam::123456789012:role/pusher";
const POLICY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:*","Resource":"*"}]}"#;

/// What moto gives to the account that asks; its answers are not secret, ECR's are.
pub(super) const TOKEN: &str = "123456789012-auth-token";

/// moto, with a user and a role that may use ECR.
pub(super) struct Aws {
    pub(super) moto: Server,
    pub(super) key: String,
    pub(super) secret: String,
}

impl Aws {
    pub(super) fn new() -> Self {
        let mut aws = Self { moto: moto(), key: String::new(), secret: String::new() };
        aws.let_pass(5);
        aws.iam(&[("Action", "CreateUser"), ("UserName", "pusher")]);
        let policy = [("UserName", "pusher"), ("PolicyName", "ecr"), ("PolicyDocument", POLICY)];
        aws.iam(&[&[("Action", "PutUserPolicy")][..], &policy].concat());
        aws.iam(&[("Action", "CreateRole"), ("RoleName", "pusher"), ("AssumeRolePolicyDocument", "{}")]);
        let policy = [("RoleName", "pusher"), ("PolicyName", "ecr"), ("PolicyDocument", POLICY)];
        aws.iam(&[&[("Action", "PutRolePolicy")][..], &policy].concat());
        let keys = aws.iam(&[("Action", "CreateAccessKey"), ("UserName", "pusher")]);
        (aws.key, aws.secret) = (element(&keys, "AccessKeyId"), element(&keys, "SecretAccessKey"));
        aws
    }

    /// Keys of the role that last an hour, as a metadata service hands them out.
    pub(super) fn role(&self) -> Value {
        self.let_pass(1);
        let form = format!(
            "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleSessionName=s&WebIdentityToken=t&RoleArn={}",
            ROLE.replace(':', "%3A").replace('/', "%2F")
        );
        let headers = [("Host", STS), ("Content-Type", "application/x-www-form-urlencoded")];
        let keys = self.post("/", &headers, &form);
        json!({
            "Code": "Success", "Type": "AWS-HMAC", "Expiration": "2999-01-01T00:00:00Z", "Token": element(&keys, "SessionToken"),
            "AccessKeyId": element(&keys, "AccessKeyId"), "SecretAccessKey": element(&keys, "SecretAccessKey"),
        })
    }

    /// Lets the next actions pass whoever asks.
    pub(super) fn let_pass(&self, actions: u32) {
        let headers = [("Host", "localhost"), ("Content-Type", "text/plain")];
        self.post("/moto-api/reset-auth", &headers, &actions.to_string());
    }

    fn iam(&self, parameters: &[(&str, &str)]) -> String {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(parameters).append_pair("Version", "2010-05-08");
        // moto tells its services apart by what a request is signed for.
        let signed = "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=0";
        let headers = [("Host", "localhost"), ("Authorization", signed), ("Content-Type", "application/x-www-form-urlencoded")];
        self.post("/", &headers, &form.finish())
    }

    fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> String {
        let mut headers: Vec<(String, String)> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        headers.push(("Content-Length".into(), body.len().to_string()));
        let request = Request { method: "POST".into(), path: path.into(), headers, body: body.into(), ..Request::default() };
        let Reply::Response(answer) = forward(self.moto.address, &request) else { panic!("no answer") };
        let text = String::from_utf8(answer.body).unwrap();
        assert_eq!(answer.status, 200, "{text}");
        text
    }

    /// ECR beside moto, and a user who has nothing yet.
    pub(super) fn testbed(&self) -> Testbed {
        let moto: SocketAddr = self.moto.address;
        let mut service = Service::new(Quirks::ECR, Some(Auth::new(Scheme::Basic, "AWS", TOKEN)));
        service.before_auth =
            Box::new(move |request| [API, STS].contains(&request.host.as_str()).then(|| forward(moto, request)));
        let mut testbed = Testbed::new(&[HOST, API, STS], service);
        testbed.hide(TOKEN);
        testbed.hide(&self.secret);
        // What is the machine's own goes by no proxy; this one is not even there.
        testbed.env("HTTP_PROXY", "http://127.0.0.1:1").env("AWS_EC2_METADATA_DISABLED", "true")
    }

    pub(super) fn pushes(&self, testbed: &Testbed) {
        let left = testbed.push(REPOSITORY).done();
        testbed.validate("mp/nsx", &left);
        assert!(!left.err.contains("AWS identity"), "{}", left.err);
    }
}

/// What is in the first XML element of this name.
fn element(text: &str, name: &str) -> String {
    let (_, rest) = text.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("{text}"));
    rest.split('<').next().unwrap().to_owned()
}

#[test]
fn an_identity_is_found_in_each_of_awss_places() {
    let aws = Aws::new();

    // The environment.
    let testbed = aws.testbed().env("AWS_ACCESS_KEY_ID", &aws.key).env("AWS_SECRET_ACCESS_KEY", &aws.secret);
    aws.pushes(&testbed);
    // The judge judges: with another secret the signature is wrong.
    let testbed = aws.testbed().env("AWS_ACCESS_KEY_ID", &aws.key).env("AWS_SECRET_ACCESS_KEY", "another");
    let left = testbed.push(REPOSITORY);
    assert_eq!(left.code, Some(1));
    assert!(left.err.contains("ECR gives no token: 4"), "{}", left.err);
    assert!(shown_error(&left).contains("hint: choose an AWS identity that may use ECR (AWS_PROFILE)"), "{}", left.err);

    // A profile of the credentials file, by name.
    let testbed = aws.testbed().env("AWS_PROFILE", "work");
    let folder = testbed.home.path().join(".aws");
    std::fs::create_dir(&folder).unwrap();
    let profile = format!("[work]\naws_access_key_id = {}\naws_secret_access_key = {}\n", aws.key, aws.secret);
    std::fs::write(folder.join("credentials"), format!("[default]\naws_access_key_id = x\naws_secret_access_key = y\n{profile}"))
        .unwrap();
    aws.pushes(&testbed);

    // A web identity, as Kubernetes gives it to a pod.
    let testbed = aws.testbed();
    let token = testbed.home.path().join("token");
    std::fs::write(&token, "eyJhbGciOiJub25lIn0.e30.").unwrap();
    let testbed = testbed.env("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()).env("AWS_ROLE_ARN", ROLE);
    aws.let_pass(1);
    aws.pushes(&testbed);
    assert_eq!(testbed.server.seen().iter().filter(|request| request.host == STS).count(), 1);

    // The endpoint that ECS and EKS give a container.
    let keys = aws.role();
    let container = HttpServer::plain(move |request: &Request| match request.header("authorization") {
        Some("container-token") if request.path == "/role" => Response::json(200, &keys).into(),
        _ => Reply::Response(Response::new(403)),
    });
    let mut testbed = aws.testbed();
    testbed.hide("container-token");
    let testbed = testbed
        .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &format!("http://{}/role", container.address))
        .env("AWS_CONTAINER_AUTHORIZATION_TOKEN", "container-token");
    aws.pushes(&testbed);
}

#[test]
fn an_instance_asks_its_metadata_service_for_a_token_first() {
    let aws = Aws::new();
    let (moto, keys) = (aws.moto.address, aws.role());
    let mut testbed = aws.testbed();
    testbed.hide("fake-imdsv2-token");
    testbed.hide(keys["SecretAccessKey"].as_str().unwrap());
    testbed.hide(keys["Token"].as_str().unwrap());
    // moto takes questions without a token, too; version 2 does not. And its IAM knows nothing of
    // its instance's keys.
    let metadata = HttpServer::plain(move |request: &Request| {
        assert!(request.headers.iter().filter(|(name, _)| name == "content-length").count() <= 1);
        let asks_for_token = request.is("PUT", "/latest/api/token");
        let lifetime = request.header("x-aws-ec2-metadata-token-ttl-seconds");
        match (asks_for_token, lifetime, request.header("x-aws-ec2-metadata-token")) {
            (false, None, Some("fake-imdsv2-token")) if request.path.ends_with("/default-role") => {
                Response::json(200, &keys).into()
            }
            (true, Some(_), None) | (false, None, Some("fake-imdsv2-token")) => forward(moto, request),
            _ => Response::new(401).into(),
        }
    });
    let endpoint = format!("http://{}", metadata.address);
    let testbed = testbed.env("AWS_EC2_METADATA_DISABLED", "false").env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &endpoint);
    aws.pushes(&testbed);
    assert_eq!(metadata.seen().len(), 3);
}
