//! `docker login` and `docker logout`.

use std::io::IsTerminal as _;

use super::command::{Arguments, Command};
use super::invocation::{CommandResult, Failure, Invocation};
use crate::cli::drop_in::{Flag, Parsed};
use crate::cli::flags::read_password;
use crate::cli::prompt;
use crate::error::ErrorKind;
use crate::operation::registry_name;
use crate::registry::CredentialStore;

pub(super) const LOGIN: Command = Command {
    arguments: Arguments::AtMost(1),
    flags: &[&[
        Flag::value("password", "Password or Personal Access Token (PAT)").short('p'),
        Flag::switch("password-stdin", "Take the Password or PAT from stdin"),
        Flag::value("username", "Username").short('u'),
    ]],
    ..Command::new(&["login"], "[OPTIONS] [SERVER]", "Authenticate to a registry", |invocation, parsed| {
        Box::pin(login(invocation, parsed))
    })
};

pub(super) const LOGOUT: Command = Command {
    arguments: Arguments::AtMost(1),
    ..Command::new(&["logout"], "[SERVER]", "Log out from a registry", |invocation, parsed| Box::pin(logout(invocation, parsed)))
};

fn registry(parsed: &Parsed) -> String {
    parsed.arguments.first().map_or_else(|| "docker.io".into(), |server| registry_name(server))
}

async fn login(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let (registry, from_input) = (registry(parsed), parsed.is("password-stdin"));
    let password = match parsed.value("password") {
        Some(_) if from_input => return Err(Failure::new("--password and --password-stdin are mutually exclusive")),
        Some(password) => {
            invocation.tell("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
            Some(password.to_owned())
        }
        None if from_input && parsed.value("username").is_none_or(str::is_empty) => {
            return Err(Failure::new("Must provide --username with --password-stdin"));
        }
        None if from_input => Some(read_password("--password-stdin")?),
        None => None,
    };
    let stored = invocation.mpimg().stored_login(&registry).await;
    if let (None, None, Some((username, password))) = (&password, parsed.value("username"), &stored) {
        invocation.tell(format!(
            "Authenticating with existing credentials... [Username: {username}]\n\nInfo -> To login with a different account, run \
             'docker logout' followed by 'docker login'\n"
        ));
        invocation.terminal().handle_signals();
        match invocation.mpimg().login(&registry, username, password).await {
            Ok(_) => {
                invocation.print("Login Succeeded\n")?;
                return Ok(0);
            }
            Err(error) => invocation.tell(format!("Login did not succeed, error: {error}")),
        }
    }
    let asks = password.is_none() || parsed.value("username").is_none();
    if asks && !std::io::stdin().is_terminal() {
        return Err(Failure::new("Error: Cannot perform an interactive login from a non TTY device"));
    }
    let username = match parsed.value("username") {
        Some(username) => username.to_owned(),
        None => prompt::username(invocation.terminal(), &registry)?,
    };
    let password = match password {
        Some(password) => password,
        None => prompt::password(invocation.terminal(), &registry, "`--password-stdin`")?,
    };
    invocation.terminal().handle_signals();
    let store = invocation.mpimg().login(&registry, &username, &password).await.map_err(|error| {
        if error.kind() == ErrorKind::Auth {
            let scheme = if is_loopback(&registry) { "http" } else { "https" };
            let text = format!("login attempt to {scheme}://{registry}/v2/ failed with status: 401 Unauthorized");
            return Failure::daemon(text).with_error(error);
        }
        Failure::from(error)
    })?;
    let known = stored.is_some_and(|stored| stored == (username, password));
    if let (CredentialStore::File(path), false) = (store, known) {
        invocation.tell(format!(
            "\nWARNING! Your credentials are stored unencrypted in '{}'.\nConfigure a credential helper to remove this warning. \
             See\nhttps://docs.docker.com/go/credential-store/\n",
            path.display()
        ));
    }
    invocation.print("Login Succeeded\n")?;
    Ok(0)
}

fn is_loopback(registry: &str) -> bool {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    host == "localhost" || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

async fn logout(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let registry = registry(parsed);
    let shown = parsed.arguments.first().map_or("https://index.docker.io/v1/", String::as_str);
    invocation.print(format!("Removing login credentials for {shown}\n"))?;
    invocation.mpimg().logout(&registry).await?;
    Ok(0)
}
