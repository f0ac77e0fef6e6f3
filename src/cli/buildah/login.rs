//! `buildah login` and `buildah logout`.

use futures_util::FutureExt as _;

use super::command::{Command, REGISTRY};
use super::invocation::{CommandResult, Failure, Invocation};
use crate::cli::drop_in::{Flag, Parsed};
use crate::cli::flags::read_password;
use crate::cli::prompt;
use crate::operation::registry_name;

pub(super) const LOGIN: Command = Command {
    names: &["login"],
    usage: "[OPTIONS] REGISTRY",
    about: "Log in to a registry",
    arguments: (0, 1),
    options_first: false,
    flags: &[
        &[
            Flag::value("username", "User name").short('u'),
            Flag::value("password", "Password or token").short('p'),
            Flag::switch("password-stdin", "Read the password from standard input"),
            Flag::switch("get-login", "Print who is logged in").refused("look into the file with credentials"),
            Flag::switch("verbose", "Say more").short('v').ignored("there is no more to say"),
        ],
        REGISTRY,
    ],
    differs: "stored in --authfile or REGISTRY_AUTH_FILE, else in docker's config.json, and not below XDG_RUNTIME_DIR",
    run: |invocation, parsed| login(invocation, parsed).boxed_local(),
};

pub(super) const LOGOUT: Command = Command {
    names: &["logout"],
    usage: "[OPTIONS] [REGISTRY]",
    about: "Forget a login",
    arguments: (0, 1),
    options_first: false,
    flags: &[&[
        Flag::value("authfile", "File with credentials"),
        Flag::switch("all", "All registries").short('a').refused("name the registry"),
    ]],
    differs: "",
    run: |invocation, parsed| logout(invocation, parsed).boxed_local(),
};

fn registry(parsed: &Parsed) -> String {
    registry_name(parsed.arguments.first().map_or("docker.io", String::as_str))
}

async fn login(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let registry = registry(parsed);
    let username = match parsed.value("username") {
        Some(name) => name.to_owned(),
        None => prompt::username(invocation.terminal(), &registry)?,
    };
    let password = match parsed.value("password") {
        Some(password) => password.to_owned(),
        None if parsed.is("password-stdin") => read_password("--password-stdin")?,
        None => prompt::password(invocation.terminal(), &registry, "`--password-stdin`")?,
    };
    invocation.terminal().handle_signals();
    invocation.mpimg().login(&registry, &username, &password).await?;
    invocation.print("Login Succeeded!\n")?;
    Ok(0)
}

async fn logout(invocation: &Invocation, parsed: &Parsed) -> CommandResult {
    let registry = registry(parsed);
    if !invocation.mpimg().logout(&registry).await? {
        return Err(Failure::new(format!("Not logged into {registry}")));
    }
    invocation.print(format!("Removed login credentials for {registry}\n"))?;
    Ok(0)
}
