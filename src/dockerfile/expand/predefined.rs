//! Build arguments that exist without an ARG: platforms for FROM and for ARG without a value,
//! proxies for RUN.
//!
//! Proxy variables reach RUN and nothing else.

use std::collections::BTreeMap;

use super::super::PlanOptions;
use super::Variables;

const PROXIES: [&str; 5] = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];

/// Where the image's times come from.
pub(in crate::dockerfile) const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";

/// Taken by the front end itself, wherever they are declared.
const OTHERS: [&str; 2] = [SOURCE_DATE_EPOCH, "BUILDKIT_"];

/// `TARGETPLATFORM` and its like; a build argument of the name wins.
pub(in crate::dockerfile) fn platform_variables(options: &PlanOptions, target: &str) -> Variables {
    let mut variables = Variables::default();
    for (prefix, platform) in [("BUILD", &options.build_platform), ("TARGET", &options.platform)] {
        let variant = platform.variant.as_deref().unwrap_or_default();
        for (name, value) in [
            ("PLATFORM", platform.to_string().as_str()),
            ("OS", &platform.os),
            ("OSVERSION", ""),
            ("ARCH", &platform.architecture),
            ("VARIANT", variant),
        ] {
            variables.set_last(&format!("{prefix}{name}"), value);
        }
    }
    variables.set_last("TARGETSTAGE", target);
    for (name, value) in &options.build_args {
        if variables.value(name).is_some() {
            variables.set_in_place(name, value);
        }
    }
    variables
}

/// Proxies in both cases, those that are not empty; a build argument wins over this machine's.
pub(in crate::dockerfile) fn proxy_variables(options: &PlanOptions) -> Vec<(String, String)> {
    let find = |variables: &BTreeMap<String, String>, proxy: &str| {
        variables.iter().filter(|(name, _)| name.eq_ignore_ascii_case(proxy)).map(|(_, value)| value.clone()).next_back()
    };
    let set = PROXIES.iter().filter_map(|proxy| {
        let value = find(&options.build_args, proxy).or_else(|| find(&options.proxies, proxy))?;
        Some((*proxy, value)).filter(|(_, value)| !value.is_empty())
    });
    set.flat_map(|(proxy, value)| [(proxy.to_owned(), value.clone()), (proxy.to_ascii_lowercase(), value)]).collect()
}

/// Whether a build argument of this name has an effect without any ARG.
pub(in crate::dockerfile) fn is_predefined(name: &str) -> bool {
    let is_platform = |rest: &str| ["PLATFORM", "OS", "OSVERSION", "ARCH", "VARIANT", "STAGE"].contains(&rest);
    PROXIES.iter().any(|proxy| proxy.eq_ignore_ascii_case(name))
        || OTHERS.iter().any(|other| name.starts_with(other))
        || ["BUILD", "TARGET"].iter().any(|prefix| name.strip_prefix(prefix).is_some_and(is_platform))
}
