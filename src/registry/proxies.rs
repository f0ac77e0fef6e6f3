//! Proxies, as the environment names them: `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`, in
//! either case.
//!
//! Go's rules (golang.org/x/net/http/httpproxy), which docker, skopeo and crane follow: an empty
//! variable counts as unset, and `NO_PROXY` knows `*`, `*.example.com`, ports and networks.

use std::ffi::OsString;

use reqwest::{ClientBuilder, NoProxy, Proxy};
use url::Url;

use crate::error::{Error, ErrorKind, Result};

/// The proxies of one environment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Proxies {
    /// Variable and address.
    http: Option<(&'static str, String)>,
    https: Option<(&'static str, String)>,
    /// Who is reached past them.
    exceptions: String,
}

impl Proxies {
    /// Those of the process's environment.
    pub(crate) fn from_environment() -> Self {
        Self::read(|name| std::env::var_os(name))
    }

    fn read(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let first = |names: &[&'static str]| {
            let value = |name: &&'static str| {
                let text = variable(name)?.into_string().ok()?.trim().to_owned();
                (!text.is_empty()).then_some((*name, text))
            };
            names.iter().find_map(value)
        };
        Self {
            http: first(&["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]),
            https: first(&["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]),
            exceptions: first(&["NO_PROXY", "no_proxy"]).map(|(_, list)| list).unwrap_or_default(),
        }
    }

    /// Whether encrypted connections go through a proxy.
    pub(crate) fn has_https(&self) -> bool {
        self.https.is_some()
    }

    /// Whether an address is reached past the proxies in a way that the HTTP library does not know,
    /// and Go's programs do.
    pub(crate) fn is_excepted(&self, url: &Url) -> bool {
        is_excepted(&self.exceptions, url)
    }

    /// The same builder with the proxies, and no others.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`]: a variable does not hold an address.
    pub(crate) fn apply(&self, builder: ClientBuilder) -> Result<ClientBuilder> {
        let mut builder = builder.no_proxy();
        type Make = fn(String) -> reqwest::Result<Proxy>;
        let schemes: [(&Option<_>, Make); 2] = [(&self.http, Proxy::http), (&self.https, Proxy::https)];
        for (proxy, make) in schemes {
            let Some((variable, address)) = proxy else { continue };
            // The address may hold a password, and the library's error the address.
            let proxy = make(address.clone()).map_err(|_| {
                Error::new(ErrorKind::Usage, format!("`{variable}` is not the address of a proxy"))
                    .with_hint("write it as http://[USER:PASSWORD@]HOST:PORT, with `%40` for an `@` in the password")
            })?;
            builder = builder.proxy(proxy.no_proxy(NoProxy::from_string(&self.exceptions)));
        }
        Ok(builder)
    }
}

/// Whether a list as `NO_PROXY` has it excepts an address by `*` (for addresses in numbers, too),
/// `*.example.com`, or with a port.
fn is_excepted(list: &str, url: &Url) -> bool {
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else { return false };
    let host = host.to_ascii_lowercase();
    list.split(',').map(|entry| entry.trim().to_ascii_lowercase()).any(|entry| {
        let (name, is_port) = match entry.rsplit_once(':') {
            Some((name, number)) if number.parse() == Ok(port) => (name, true),
            _ => (&*entry, false),
        };
        match name.strip_prefix('*') {
            // All that is below: `*.example.com` is not example.com itself.
            Some(below) if below.starts_with('.') => host.ends_with(below),
            Some("") => true,
            _ if is_port => {
                let name = name.trim_start_matches('.');
                host.strip_suffix(name).is_some_and(|below| below.is_empty() || below.ends_with('.'))
            }
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_exceptions_knows_ports_wildcards_and_everything() {
        for (list, url, expected) in [
            ("*", "https://10.0.0.1/", true),
            ("a.example.com, b.example.com:8443", "https://b.example.com:8443/", true),
            (".example.com:443", "https://b.example.com/", true),
            ("example.com:443", "https://example.com/", true),
            ("ample.com:443", "https://example.com/", false),
            ("example.com:8443", "https://example.com/", false),
            ("10.0.0.1:5000", "http://10.0.0.1:5000/", true),
            ("[fd00::1]:5000", "http://[fd00::1]:5000/", true),
            ("fd00::1", "http://[fd00::1]:1/", false),
            ("", "https://example.com/", false),
            ("*.corp", "https://registry.corp/", true),
            ("*.Corp", "https://a.registry.corp:5000/", true),
            ("*.corp", "https://corp/", false),
            ("*.corp", "https://notcorp/", false),
            ("*.corp:5000", "https://registry.corp:5000/", true),
            ("*.corp:5000", "https://registry.corp/", false),
        ] {
            assert_eq!(is_excepted(list, &Url::parse(url).unwrap()), expected, "{list} {url}");
        }
    }

    #[test]
    fn an_empty_variable_hides_none() {
        let proxies = Proxies::read(|name| match name {
            "HTTPS_PROXY" | "NO_PROXY" => Some("".into()),
            "https_proxy" => Some("proxy.corp:3128".into()),
            "no_proxy" => Some("*.corp".into()),
            "ALL_PROXY" => Some("socks5://other.corp".into()),
            _ => None,
        });
        assert_eq!(proxies.https, Some(("https_proxy", "proxy.corp:3128".into())));
        assert_eq!(proxies.http, Some(("ALL_PROXY", "socks5://other.corp".into())));
        assert_eq!(proxies.exceptions, "*.corp");
        drop(proxies.apply(reqwest::Client::builder()).unwrap());
    }

    #[test]
    fn a_proxy_that_is_none_is_named_without_its_password() {
        let proxies = Proxies::read(|name| (name == "https_proxy").then(|| "http://me:secret@[".into()));
        let error = proxies.apply(reqwest::Client::builder()).unwrap_err();
        assert_eq!(error.to_string(), "`https_proxy` is not the address of a proxy");
        assert!(!format!("{error:?}").contains("secret"));
    }
}
