//! Endpoints of AWS's services: those that the user has set, else AWS's own (AWS SDKs,
//! "Service-specific endpoints").
//!
//! `sts_regional_endpoints` is ignored: STS is called in the region, as AWS's newer SDKs always do.

use url::Url;

use super::client::Aws;
use super::profiles::setting;
use crate::error::{Error, ErrorKind, Result, ResultExt as _};
use crate::registry::aws_hosts::{Service, Variant};

impl Aws<'_> {
    /// A service's URL; `wanted` counts whatever the settings say.
    ///
    /// # Errors
    /// `Auth`: the setting is not a URL, or names one that does not exist.
    pub(in crate::registry::auth) fn endpoint(&self, service: Service, region: &str, wanted: Variant) -> Result<Url> {
        if let Some(given) = self.given_endpoint(service)? {
            return Url::parse(&given).context(ErrorKind::Auth, || format!("`{given}` is not a URL"));
        }
        let variant = Variant {
            fips: wanted.fips || self.is_on("AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint"),
            dual_stack: wanted.dual_stack || self.is_on("AWS_USE_DUALSTACK_ENDPOINT", "use_dualstack_endpoint"),
        };
        let host = service.host(region, variant);
        Url::parse(&format!("https://{host}/")).context(ErrorKind::Auth, || format!("`{host}` is not a host name"))
    }

    fn given_endpoint(&self, service: Service) -> Result<Option<String>> {
        if self.is_on("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "ignore_configured_endpoint_urls") {
            return Ok(None);
        }
        let variable = format!("AWS_ENDPOINT_URL_{}", service.id().to_ascii_uppercase());
        if let Some(given) = self.text(&variable).or_else(|| self.text("AWS_ENDPOINT_URL")) {
            return Ok(Some(given));
        }
        let name = self.profile_name();
        let Some(profile) = self.profiles.profile(name) else { return Ok(None) };
        let own = match setting(profile, "services") {
            Some(services) => {
                let addresses = self.profiles.services(services).ok_or_else(|| {
                    let message = format!("the AWS profile `{name}` names services `{services}` that are not there");
                    Error::new(ErrorKind::Auth, message).with_hint(format!("add `[services {services}]` to ~/.aws/config"))
                })?;
                setting(addresses, &format!("{}.endpoint_url", service.id()))
            }
            None => None,
        };
        Ok(own.or_else(|| setting(profile, "endpoint_url")).map(str::to_owned))
    }

    /// Whether a switch is on: by its variable, else by the profile's setting.
    fn is_on(&self, variable: &str, name: &str) -> bool {
        let settings =
            || self.profiles.profile(self.profile_name()).and_then(|profile| setting(profile, name).map(str::to_owned));
        self.text(variable).or_else(settings).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }
}
