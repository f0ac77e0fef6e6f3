//! AWS profiles that stand on something else: roles, SSO sessions, commands. moto judges every
//! signature.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use super::aws::{Aws, REPOSITORY, ROLE, STS};
use super::http_server::{HttpServer, Reply, Request, Response};
use super::testbed::Testbed;

const ACCOUNT: &str = "123456789012";
const START: &str = "https://corp.awsapps.com/start";

/// A testbed that has this `~/.aws/config`, and in the credentials file a profile `base` with keys.
fn with_config(aws: &Aws, config: &str) -> Testbed {
    let testbed = aws.testbed();
    let folder = testbed.home.path().join(".aws");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("config"), config).unwrap();
    let keys = format!("[base]\naws_access_key_id = {}\naws_secret_access_key = {}\n", aws.key, aws.secret);
    std::fs::write(folder.join("credentials"), keys).unwrap();
    testbed
}

#[test]
fn a_role_is_assumed_with_the_keys_of_its_source() {
    let aws = Aws::new();
    let config = format!(
        "[profile work]\nrole_arn = {ROLE}\nsource_profile = middle\nexternal_id = x1\nrole_session_name = me\n\
         [profile middle]\nrole_arn = {ROLE}\nsource_profile = base\n\
         [profile here]\nrole_arn = {ROLE}\ncredential_source = Environment\n\
         [profile token]\nrole_arn = {ROLE}\nweb_identity_token_file = token\n"
    );
    let testbed = with_config(&aws, &config).env("AWS_PROFILE", "work");
    // moto lets a role's session do what the role may, but assuming a role needs a policy of its
    // own.
    aws.let_pass(2);
    aws.pushes(&testbed);
    let asked: Vec<_> = testbed.server.seen().into_iter().filter(|request| request.host == STS).collect();
    assert_eq!(asked.len(), 2);
    let form = |at: usize| String::from_utf8(asked[at].body.clone()).unwrap();
    assert!(form(0).contains("RoleSessionName=mpimg&Action=AssumeRole"), "{}", form(0));
    assert!(form(1).contains("RoleSessionName=me&ExternalId=x1&Action=AssumeRole"), "{}", form(1));
    assert!(asked[0].header("authorization").unwrap().contains(&format!("Credential={}/", aws.key)));
    assert!(asked[1].header("x-amz-security-token").is_some());

    // The right to do it is moto's to judge.
    let testbed = with_config(&aws, &config).env("AWS_PROFILE", "work");
    let err = testbed.push(REPOSITORY).err;
    assert!(err.contains(&format!("AWS gives no keys of the role `{ROLE}`: 403")), "{err}");
    assert!(err.contains("hint: check the role's name, and that its trust policy lets this identity assume it"), "{err}");

    // A profile with a web identity of its own.
    let testbed = with_config(&aws, &config.replace("= token\n", "= TOKEN\n"));
    let token = testbed.home.path().join("token");
    std::fs::write(&token, "eyJhbGciOiJub25lIn0.e30.\n").unwrap();
    let file = testbed.home.path().join(".aws/config");
    std::fs::write(&file, config.replace("_file = token", &format!("_file = {}", token.display()))).unwrap();
    let testbed = testbed.env("AWS_PROFILE", "token");
    aws.let_pass(1);
    aws.pushes(&testbed);
}

#[test]
fn profiles_that_lead_nowhere_say_so() {
    let aws = Aws::new();
    let config = format!(
        "[profile a]\nrole_arn = {ROLE}\nsource_profile = b\n[profile b]\nrole_arn = {ROLE}\nsource_profile = a\n\
         [profile lost]\nrole_arn = {ROLE}\nsource_profile = gone\n[profile half]\nrole_arn = {ROLE}\n\
         [profile device]\nrole_arn = {ROLE}\nsource_profile = base\nmfa_serial = arn:aws:iam::1:mfa/me\n\
         [profile corp]\nsso_session = corp\nsso_account_id = 1\nsso_role_name = r\n"
    );
    for (profile, words, hint) in [
        ("a", "the AWS profile `b` and its source `a` stand on each other", "give one of them keys"),
        ("lost", "the AWS profile `lost` names a source `gone` that is not there", "correct `source_profile` of `lost`"),
        ("half", "the AWS profile `half` has no `source_profile` or `credential_source`", "add it in ~/.aws/config"),
        ("device", "the AWS profile `device` asks for the code of a device", "aws configure export-credentials --profile device"),
        ("corp", "names an SSO session `corp` that is not there", "add `[sso-session corp]`"),
        ("other", "there is no AWS profile `other`", "choose one of `a`, `b`, `base`"),
    ] {
        let testbed = with_config(&aws, &config).env("AWS_PROFILE", profile);
        let err = testbed.push(REPOSITORY).err;
        assert!(err.contains(words) && err.contains(hint), "{profile}: {err}");
    }
}

#[test]
fn a_role_is_assumed_as_what_the_machine_is() {
    let aws = Aws::new();
    let keys = aws.role();
    let here = HttpServer::plain(move |request: &Request| match request.path.as_str() {
        "/latest/api/token" => Response::new(200).with_body("imds-token").into(),
        "/latest/meta-data/iam/security-credentials/" => Response::new(200).with_body("role").into(),
        "/latest/meta-data/iam/security-credentials/role" | "/ecs" => Response::json(200, &keys).into(),
        _ => Reply::Response(Response::new(404)),
    });
    let address = format!("http://{}", here.address);
    let testbed = |source: &str| {
        let config = format!("[profile work]\nrole_arn = {ROLE}\ncredential_source = {source}\n");
        let testbed = with_config(&aws, &config).env("AWS_PROFILE", "work").env("AWS_EC2_METADATA_DISABLED", "false");
        testbed.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &address)
    };
    let container = format!("{address}/ecs");
    for source in ["Ec2InstanceMetadata", "EcsContainer"] {
        let testbed = testbed(source).env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &container);
        here.forget();
        aws.let_pass(1);
        aws.pushes(&testbed);
        assert_eq!(here.seen().iter().any(|request| request.path == "/ecs"), source == "EcsContainer");
        let asked: Vec<_> = testbed.server.seen().into_iter().filter(|request| request.host == STS).collect();
        assert_eq!(asked.len(), 1);
        assert!(asked[0].header("x-amz-security-token").is_some());
    }
    for (source, words, hint) in [
        ("EcsContainer", "uses `EcsContainer`, which has no keys", "run this where `EcsContainer` gives keys"),
        ("Environment", "uses `Environment`, which has no keys", "run this where `Environment` gives keys"),
        ("Elsewhere", "has an unknown source `Elsewhere`", "`credential_source` is `Environment`, `Ec2InstanceMetadata` or"),
    ] {
        let err = testbed(source).push(REPOSITORY).err;
        assert!(err.contains(&format!("the AWS profile `work` {words}")) && err.contains(hint), "{source}: {err}");
    }
    // As for the aws command, keys of the environment come before any profile that a variable
    // names.
    let testbed = testbed("Environment").env("AWS_ACCESS_KEY_ID", &aws.key).env("AWS_SECRET_ACCESS_KEY", &aws.secret);
    aws.pushes(&testbed);
    assert!(testbed.server.seen().iter().all(|request| request.host != STS));
}

#[test]
fn a_command_gives_keys() {
    let aws = Aws::new();
    let testbed = with_config(&aws, "[profile work]\ncredential_process = './my keys' \"a b\" 2>&1\n").env("AWS_PROFILE", "work");
    let program = testbed.home.path().join("my keys");
    let keys = json!({"Version": 1, "AccessKeyId": aws.key, "SecretAccessKey": aws.secret, "Expiration": "2999-01-01T00:00:00Z"});
    std::fs::write(&program, format!("#!/bin/sh\n[ \"$1\" = 'a b' ] && echo '{keys}'\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    aws.pushes(&testbed);
    std::fs::write(&program, "#!/bin/sh\necho no luck >&2\nexit 3\n").unwrap();
    let err = testbed.push(REPOSITORY.replace("/nsx", "/other").as_str()).err;
    assert!(err.contains("the `credential_process` of the AWS profile `work` failed"), "{err}");
}

/// The portal and the token server of Identity Center, for tokens `good…`.
fn portal(keys: Value) -> HttpServer<impl FnMut(&Request) -> Reply + Send> {
    HttpServer::plain(move |request: &Request| {
        let role = (request.parameter("role_name"), request.parameter("account_id"));
        match request.header("x-amz-sso_bearer_token") {
            _ if request.is("POST", "/token") => {
                let asked: Value = serde_json::from_slice(&request.body).unwrap();
                let expected = json!({"clientId": "id", "clientSecret": "client-secret", "grantType": "refresh_token",
                    "refreshToken": "refresh-1"});
                match asked == expected {
                    true => {
                        Response::json(200, &json!({"accessToken": "good-2", "expiresIn": 3600, "refreshToken": "refresh-2"}))
                    }
                    false => Response::json(400, &json!({"error": "invalid_grant"})),
                }
            }
            Some(token) if token.starts_with("good") && request.is("GET", "/federation/credentials") => match role {
                (Some(role), Some(account)) if role == "pusher" && account == ACCOUNT => Response::json(200, &keys),
                _ => Response::json(403, &json!({"message": "No access", "__type": "ForbiddenException"})),
            },
            _ => Response::json(401, &json!({"message": "Session token not found or invalid"})),
        }
        .into()
    })
}

/// Leaves what `aws sso login` leaves.
fn log_in(testbed: &Testbed, key: &str, cached: &Value) -> std::path::PathBuf {
    let folder = testbed.home.path().join(".aws/sso/cache");
    std::fs::create_dir_all(&folder).unwrap();
    // By Python, as the aws command does it: `hashlib.sha1(key).hexdigest() + ".json"`.
    let script = format!("import hashlib; print(hashlib.sha1(b'{key}').hexdigest(), end='')");
    let name = crate::run(crate::judge("python3").args(["-c", &script]));
    let path = folder.join(format!("{name}.json"));
    std::fs::write(&path, cached.to_string()).unwrap();
    path
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn an_sso_login_gives_the_keys_of_its_role() {
    let aws = Aws::new();
    let role = aws.role();
    let keys = json!({"roleCredentials": {"accessKeyId": role["AccessKeyId"], "secretAccessKey": role["SecretAccessKey"],
        "sessionToken": role["Token"], "expiration": 32_472_144_000_000_i64}});
    let portal = portal(keys);
    let endpoint = format!("http://{}", portal.address);
    let config = format!(
        "[profile legacy]\nsso_start_url = {START}\nsso_region = eu-west-1\nsso_account_id = {ACCOUNT}\nsso_role_name = pusher\n\
         [profile work]\nsso_session = corp\nsso_account_id = {ACCOUNT}\nsso_role_name = pusher\n\
         [profile other]\nsso_session = corp\nsso_account_id = {ACCOUNT}\nsso_role_name = stranger\n\
         [sso-session corp]\nsso_start_url = {START}\nsso_region = eu-west-1\nsso_registration_scopes = sso:account:access\n"
    );
    let testbed = |profile: &str| {
        let mut testbed = with_config(&aws, &config)
            .env("AWS_PROFILE", profile)
            .env("NO_PROXY", "127.0.0.1")
            .env("AWS_ENDPOINT_URL_SSO", &endpoint)
            .env("AWS_ENDPOINT_URL_SSO_OIDC", &endpoint);
        ["good-1", "good-2", "client-secret", "refresh-1", "refresh-2"].iter().for_each(|secret| testbed.hide(secret));
        testbed.hide(role["SecretAccessKey"].as_str().unwrap());
        testbed
    };
    let fresh = json!({"accessToken": "good-1", "expiresAt": "2999-01-01T00:00:00Z"});
    for (profile, key) in [("legacy", START), ("work", "corp")] {
        let testbed = testbed(profile);
        log_in(&testbed, key, &fresh);
        aws.pushes(&testbed);
    }

    // Who has never logged in, whose login has run out, whom the portal has forgotten.
    for (cached, why) in [
        (None, "is not there"),
        (Some(json!({"accessToken": "good-1", "expiresAt": "2020-01-01T00:00:00UTC"})), "has run out"),
        (Some(json!({"accessToken": "revoked", "expiresAt": "2999-01-01T00:00:00Z"})), "is not valid any more"),
    ] {
        let testbed = testbed("work");
        cached.iter().for_each(|cached| drop(log_in(&testbed, "corp", cached)));
        let err = testbed.push(REPOSITORY).err;
        assert!(err.contains(&format!("the AWS SSO login of the profile `work` {why}")), "{err}");
        assert!(err.contains("hint: run `aws sso login --profile work`"), "{err}");
    }
    let strange = testbed("other");
    log_in(&strange, "corp", &fresh);
    let err = strange.push(REPOSITORY).err;
    assert!(err.contains("AWS SSO gives no keys of the role `stranger`: 403 No access"), "{err}");

    // A session's token is renewed, and what the aws command needs for the next time is kept.
    let testbed = testbed("work");
    let cached = json!({"accessToken": "old", "expiresAt": "2020-01-01T00:00:00Z", "clientId": "id",
        "clientSecret": "client-secret", "refreshToken": "refresh-1", "startUrl": START, "region": "eu-west-1"});
    let path = log_in(&testbed, "corp", &cached);
    aws.pushes(&testbed);
    let mut renewed = read(&path);
    assert!(renewed["expiresAt"].as_str().unwrap() > "2026");
    renewed["expiresAt"] = cached["expiresAt"].clone();
    let mut expected = cached;
    (expected["accessToken"], expected["refreshToken"]) = ("good-2".into(), "refresh-2".into());
    assert_eq!(renewed, expected);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}
