//! Questions on the terminal.
//!
//! Without a terminal to ask on, the error names the flag that gives the answer.

use inquire::validator::{ErrorMessage, Validation};
use inquire::{Confirm, InquireError, Password, PasswordDisplayMode, Text, ui::RenderConfig};

use super::flags::explained;
use super::terminal::Terminal;
use crate::error::{Error, ErrorKind, Result};
use crate::project::ContainerRepository;

/// Asks for a password, which is not shown. `flag` is how it can be given without a terminal.
pub(super) fn password(terminal: &Terminal, registry: &str, flag: &str) -> Result<String> {
    if !terminal.can_ask() {
        return Err(Error::new(
            ErrorKind::Usage,
            format!("no password given for `{registry}`, and there is no terminal to ask on"),
        )
        .with_hint(format!("pipe it in with {flag}")));
    }
    let prompt = Password::new(&format!("Password for {registry}:"))
        .with_display_mode(PasswordDisplayMode::Hidden)
        .without_confirmation()
        .with_render_config(colours(terminal))
        .prompt();
    prompt.map_err(|error| refused(terminal, error))
}

/// Asks for the password of a private key.
pub(super) fn key_password(terminal: &Terminal, file: &str) -> Result<String> {
    expect_terminal(terminal, &format!("no password given for the private key `{file}`"))?;
    let prompt = Password::new(&format!("Password of {file}:"))
        .with_display_mode(PasswordDisplayMode::Hidden)
        .without_confirmation()
        .with_render_config(colours(terminal))
        .prompt();
    prompt.map_err(|error| refused(terminal, error))
}

/// Asks twice for the password of a new private key. It may be empty.
pub(super) fn new_key_password(terminal: &Terminal) -> Result<String> {
    expect_terminal(terminal, "no password given for the new private key")?;
    let prompt = Password::new("Password for the new private key:")
        .with_display_mode(PasswordDisplayMode::Hidden)
        .with_custom_confirmation_message("The same again:")
        .with_render_config(colours(terminal))
        .prompt();
    prompt.map_err(|error| refused(terminal, error))
}

fn expect_terminal(terminal: &Terminal, problem: &str) -> Result<()> {
    if terminal.can_ask() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Usage, format!("{problem}, and there is no terminal to ask on"))
        .with_hint("set COSIGN_PASSWORD, or give a descriptor with `--key-password-fd`"))
}

/// Asks for a user name.
pub(super) fn username(terminal: &Terminal, registry: &str) -> Result<String> {
    if !terminal.can_ask() {
        return Err(Error::new(
            ErrorKind::Usage,
            format!("no user name given for `{registry}`, and there is no terminal to ask on"),
        )
        .with_hint("give it with `--username`"));
    }
    let question = format!("User name for {registry}:");
    let prompt = Text::new(&question).with_render_config(colours(terminal));
    prompt.with_validator(inquire::required!("a user name is needed")).prompt().map_err(|error| refused(terminal, error))
}

/// Asks where the adapter's image is to be kept, until the answer passes the SDK's check.
pub(super) fn repository(terminal: &Terminal, default: Option<&str>) -> Result<ContainerRepository> {
    let valid = |text: &str| {
        Ok(match ContainerRepository::parse(text.trim()) {
            Ok(_) => Validation::Valid,
            Err(error) => Validation::Invalid(ErrorMessage::Custom(explained(&error))),
        })
    };
    let help = "HOST[:PORT]/PATH without a tag, such as harbor.example.com/project/adapter; NAMESPACE/NAME is Docker Hub";
    let mut prompt = Text::new("Container repository:").with_help_message(help).with_validator(valid);
    prompt.initial_value = default;
    let answer = prompt.with_render_config(colours(terminal)).prompt().map_err(|error| refused(terminal, error))?;
    ContainerRepository::parse(answer.trim())
}

/// Asks a question of yes or no; Return alone means yes.
pub(super) fn confirm(terminal: &Terminal, question: &str) -> Result<bool> {
    let prompt = Confirm::new(question).with_default(true).with_render_config(colours(terminal)).prompt();
    prompt.map_err(|error| refused(terminal, error))
}

fn colours(terminal: &Terminal) -> RenderConfig<'static> {
    let colours = if terminal.error_theme().enabled() { RenderConfig::default_colored() } else { RenderConfig::empty() };
    // The library begins a refusal with `#`, as if it were a comment.
    let refusal = colours.error_message.with_prefix(colours.error_message.prefix.with_content("✗"));
    colours.with_error_message(refusal)
}

fn refused(terminal: &Terminal, error: InquireError) -> Error {
    match error {
        InquireError::OperationCanceled | InquireError::OperationInterrupted => {
            terminal.interrupt().pressed();
            Error::new(ErrorKind::Interrupted, "the question was not answered")
        }
        error => Error::new(ErrorKind::Io, "cannot ask on this terminal").with_source(error),
    }
}
