//! Where AWS's services are asked, whatever the settings say: botocore is the judge.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::auth::{Auth, Scheme};
use super::http_server::Response;
use super::memory::Quirks;
use super::testbed::{PASSWORD, Service, Testbed};
use crate::cli::fixture::Left;
use crate::judges;

const REGISTRY: &str = "123456789012.dkr.ecr.us-east-1.amazonaws.com";

/// Prints the addresses at which botocore would ask, as `[[sts, ecr], …]`.
const JUDGE: &str = r#"
import json, os, sys, botocore.session

class Asked(Exception):
    pass

def asked(request, **_):
    raise Asked(request.url)

def address(name, question):
    client = botocore.session.Session().create_client(
        name, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="y")
    client.meta.events.register("before-send", asked)
    try:
        question(client)
    except Asked as at:
        return str(at)

found = []
for case in json.loads(sys.argv[1]):
    os.environ.clear()
    os.environ.update(case)
    sts = address("sts", lambda client: client.assume_role(RoleArn="arn:aws:iam::123456789012:role/pusher", RoleSessionName="me"))
    found.append([sts, address("ecr", lambda client: client.get_authorization_token())])
print(json.dumps(found))
"#;

/// What is added to the profile, to the file, and to the environment.
type Case = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// A role's keys by STS, a token by ECR, from whatever host.
fn aws() -> Service {
    let mut service = Service::new(Quirks::ECR, Some(Auth::new(Scheme::Basic, "AWS", PASSWORD)));
    service.before_auth = Box::new(|request| {
        let body = String::from_utf8_lossy(&request.body);
        let keys = "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>a</AccessKeyId><SecretAccessKey>b</SecretAccessKey>\
                    <SessionToken>c</SessionToken><Expiration>2999-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult>\
                    </AssumeRoleResponse>";
        let token = json!({"authorizationData": [{"authorizationToken": STANDARD.encode(format!("AWS:{PASSWORD}"))}]});
        match request.header("x-amz-target") {
            _ if body.contains("Action=AssumeRole") => Some(Response::new(200).with_body(keys).into()),
            Some(target) if target.ends_with(".GetAuthorizationToken") => Some(Response::json(200, &token).into()),
            _ => None,
        }
    });
    service
}

#[test]
fn services_are_asked_where_botocore_would_ask_them() {
    let config = "[default]\nrole_arn = arn:aws:iam::123456789012:role/pusher\nsource_profile = base\nregion = us-east-1\n\
                  [profile base]\naws_access_key_id = x\naws_secret_access_key = y\n";
    let cases: &[Case] = &[
        ("", "", &[]),
        ("endpoint_url = https://all.example.com/aws", "", &[]),
        ("services = mine", "[services mine]\necr =\n  endpoint_url = https://ecr.example.com\n", &[]),
        (
            "services = mine\nendpoint_url = https://all.example.com/aws",
            "[services mine]\ns3 =\n  endpoint_url = https://s3.example.com\nsts =\n  endpoint_url = https://sts.example.com\n",
            &[],
        ),
        ("s3 =\n  endpoint_url = https://s3.example.com\noutput = json", "", &[]),
        ("endpoint_url = https://all.example.com/aws", "", &[("AWS_ENDPOINT_URL_STS", "https://sts.example.com")]),
        (
            "services = mine",
            "[services mine]\necr =\n  endpoint_url = https://ecr.example.com\n",
            &[("AWS_ENDPOINT_URL", "https://all.example.com")],
        ),
        (
            "endpoint_url = https://all.example.com/aws\nignore_configured_endpoint_urls = true",
            "",
            &[("AWS_ENDPOINT_URL_STS", "https://sts.example.com")],
        ),
        ("endpoint_url = https://all.example.com/aws", "", &[("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "True")]),
        ("use_fips_endpoint = true", "", &[]),
        ("use_dualstack_endpoint = true", "", &[]),
        ("use_fips_endpoint = true", "", &[("AWS_USE_DUALSTACK_ENDPOINT", "true")]),
        ("use_fips_endpoint = true", "", &[("AWS_USE_FIPS_ENDPOINT", "false")]),
        ("sts_regional_endpoints = regional", "", &[]),
    ];

    let hosts = ["api.ecr.us-east-1.amazonaws.com", "api.ecr-fips.us-east-1.amazonaws.com", "*.us-east-1.amazonaws.com"];
    let testbed = Testbed::new(&[&[REGISTRY, "*.us-east-1.api.aws", "*.example.com"], &hosts[..]].concat(), aws());
    let file = testbed.home.path().join("aws-config");
    let (mut ours, mut environments) = (Vec::new(), Vec::new());
    for (profile, sections, variables) in cases {
        let text = config.replacen("region", &format!("{profile}\nregion"), 1) + sections;
        let file = file.with_extension(ours.len().to_string());
        std::fs::write(&file, text).unwrap();
        let variables: BTreeMap<&str, &str> =
            variables.iter().copied().chain([("AWS_CONFIG_FILE", file.to_str().unwrap())]).collect();
        let mut command = testbed.mpimg();
        command.args(["-vv", "check", "--json", &format!("{REGISTRY}/mp/nsx")]).envs(&variables);
        let left = testbed.check(Left::of(command.output().unwrap()));
        assert!(left.json()["passed"] == true, "{variables:?}: {} {}", left.out, left.err);
        let asked = testbed.server.seen().into_iter().filter(|request| request.host != REGISTRY);
        ours.push(asked.map(|request| format!("https://{}{}", request.host, request.path)).collect::<Vec<_>>());
        testbed.server.forget();
        environments.push(json!(variables));
    }
    let python = judges().join("moto/bin/python");
    let answer = crate::run(std::process::Command::new(python).args(["-c", JUDGE, &json!(environments).to_string()]));
    let judged: Vec<Vec<String>> = serde_json::from_str(&answer).unwrap();
    for ((case, ours), judged) in cases.iter().zip(ours).zip(judged) {
        let plain = |url: &String| url.trim_end_matches('/').to_owned();
        let (ours, judged): (Vec<_>, Vec<_>) = (ours.iter().map(plain).collect(), judged.iter().map(plain).collect());
        assert_eq!(ours, judged, "{case:?}");
    }
}

#[test]
fn services_that_a_profile_names_and_nobody_has_written_are_told() {
    let testbed = Testbed::new(&[REGISTRY], aws()).env("AWS_ACCESS_KEY_ID", "x").env("AWS_SECRET_ACCESS_KEY", "y");
    let file = testbed.home.path().join("aws-config");
    std::fs::write(&file, "[default]\nservices = gone\n").unwrap();
    let left = testbed.env("AWS_CONFIG_FILE", file.to_str().unwrap()).push(&format!("{REGISTRY}/mp/nsx"));
    assert!(left.err.contains("the AWS profile `default` names services `gone` that are not there"), "{}", left.err);
    assert!(left.err.contains("hint: add `[services gone]` to ~/.aws/config"), "{}", left.err);
}

#[test]
fn a_host_that_looks_like_ecr_gets_nothing_of_awss() {
    const EVIL: &str = "123456789012.dkr.ecr.us-east-1.evil.example";
    let testbed = Testbed::new(&[EVIL, "*.us-east-1.amazonaws.com"], aws());
    let testbed = testbed.env("AWS_ACCESS_KEY_ID", "x").env("AWS_SECRET_ACCESS_KEY", "y");
    let left = testbed.push(&format!("{EVIL}/mp/nsx"));
    assert_eq!(left.code, Some(1));
    assert!(left.err.contains("hint: log in with `mpimg login"), "{}", left.err);
    let seen = testbed.server.seen();
    assert!(seen.iter().all(|request| request.host == EVIL && request.header("authorization").is_none()));
}
