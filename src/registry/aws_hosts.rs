//! AWS's host names, by the AWS SDKs' endpoint rules: ECR's registries, and the services that give
//! a push its identity.
//!
//! A host that only looks like one of AWS's is not taken for it: it would receive a token.

/// A part of AWS with domains of its own.
struct Partition {
    /// How the names of its regions begin.
    regions: &'static str,
    domain: &'static str,
    /// The domain of what is reached by IPv6, too.
    dual_stack: &'static str,
}

const PARTITIONS: [Partition; 6] = [
    Partition { regions: "cn-", domain: "amazonaws.com.cn", dual_stack: "amazonwebservices.com.cn" },
    Partition { regions: "eusc-", domain: "amazonaws.eu", dual_stack: "amazonwebservices.eu" },
    Partition { regions: "us-iso-", domain: "c2s.ic.gov", dual_stack: "aws.ic.gov" },
    Partition { regions: "us-isob-", domain: "sc2s.sgov.gov", dual_stack: "aws.scloud" },
    Partition { regions: "eu-isoe-", domain: "cloud.adc-e.uk", dual_stack: "cloud-aws.adc-e.uk" },
    Partition { regions: "us-isof-", domain: "csp.hci.ic.gov", dual_stack: "aws.hci.ic.gov" },
];

/// Every region that is nowhere else.
const AWS: Partition = Partition { regions: "", domain: "amazonaws.com", dual_stack: "aws" };

fn partition(region: &str) -> &'static Partition {
    PARTITIONS.iter().find(|partition| region.starts_with(partition.regions)).unwrap_or(&AWS)
}

/// Which of a service's addresses is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Variant {
    /// With cryptography after FIPS 140.
    pub(crate) fips: bool,
    /// By IPv6, too.
    pub(crate) dual_stack: bool,
}

/// A registry of ECR that belongs to an account.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PrivateEcr<'a> {
    pub(crate) region: &'a str,
    pub(crate) variant: Variant,
}

impl<'a> PrivateEcr<'a> {
    /// `<acct>.dkr.ecr[-fips].<region>.amazonaws.com` or `<acct>.dkr-ecr[-fips].<region>.on.aws`,
    /// in other parts of AWS with their domains.
    pub(crate) fn of(host: &'a str) -> Option<Self> {
        let (_account, rest) = host.split_once('.')?;
        let (rest, dual_stack) = match (rest.strip_prefix("dkr."), rest.strip_prefix("dkr-")) {
            (Some(rest), _) => (rest, false),
            (None, Some(rest)) => (rest, true),
            (None, None) => return None,
        };
        let (service, rest) = rest.split_once('.')?;
        let (region, domain) = rest.split_once('.')?;
        let fips = match service {
            "ecr" => false,
            "ecr-fips" => true,
            _ => return None,
        };
        let right = match dual_stack {
            true => domain.strip_prefix("on.") == Some(partition(region).dual_stack),
            false => domain == partition(region).domain,
        };
        right.then_some(Self { region, variant: Variant { fips, dual_stack } })
    }
}

/// A service that is asked on the way to a token.
#[cfg(feature = "aws")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Ecr,
    EcrPublic,
    Sts,
    Sso,
    SsoOidc,
}

#[cfg(feature = "aws")]
impl Service {
    /// Its name in the settings of AWS's tools: `[services]`, and in capitals in
    /// `AWS_ENDPOINT_URL_…`.
    pub(crate) fn id(self) -> &'static str {
        match self {
            Self::Ecr => "ecr",
            Self::EcrPublic => "ecr_public",
            Self::Sts => "sts",
            Self::Sso => "sso",
            Self::SsoOidc => "sso_oidc",
        }
    }

    /// Its host in a region.
    pub(crate) fn host(self, region: &str, Variant { fips, dual_stack }: Variant) -> String {
        let name = match self {
            Self::Ecr if dual_stack => "ecr",
            Self::Ecr => "api.ecr",
            Self::EcrPublic if dual_stack && !fips => "ecr-public",
            Self::EcrPublic => "api.ecr-public",
            Self::Sts => "sts",
            Self::Sso => "portal.sso",
            Self::SsoOidc => "oidc",
        };
        // GovCloud's are all of that kind, and these have no other name for it.
        let always = region.starts_with("us-gov-") && !dual_stack && matches!(self, Self::Sts | Self::Sso | Self::SsoOidc);
        let fips = if fips && !always { "-fips" } else { "" };
        let partition = partition(region);
        match dual_stack {
            true => format!("{name}{fips}.{region}.api.{}", partition.dual_stack),
            false => format!("{name}{fips}.{region}.{}", partition.domain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_are_known_in_every_part_of_aws() {
        for (host, region, fips, dual_stack) in [
            ("123456789012.dkr.ecr.eu-central-1.amazonaws.com", "eu-central-1", false, false),
            ("123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1", true, false),
            ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "cn-north-1", false, false),
            ("123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1", false, false),
            ("123456789012.dkr-ecr.us-west-2.on.aws", "us-west-2", false, true),
            ("123456789012.dkr-ecr-fips.us-west-2.on.aws", "us-west-2", true, true),
            ("123456789012.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn", "cn-north-1", false, true),
        ] {
            let variant = Variant { fips, dual_stack };
            assert_eq!(PrivateEcr::of(host), Some(PrivateEcr { region, variant }), "{host}");
        }
    }

    #[test]
    fn a_host_that_only_looks_like_ecr_is_not_ecr() {
        for host in [
            "123456789012.dkr.ecr.eu-central-1.amazonaws.com.evil.example",
            "123456789012.dkr.ecr.eu-central-1.evil.example",
            "123456789012.dkr.ecr.cn-north-1.amazonaws.com",
            "123456789012.dkr.ecr.eu-central-1.amazonaws.com.cn",
            "123456789012.dkr.ecr.evil.example.amazonaws.com",
            "123456789012.dkr-ecr.us-west-2.amazonaws.com",
            "123456789012.dkr.ecr.us-west-2.on.aws",
            "123456789012.dkr.s3.us-west-2.amazonaws.com",
            "dkr.ecr.us-west-2.amazonaws.com",
            "public.ecr.aws",
        ] {
            assert_eq!(PrivateEcr::of(host), None, "{host}");
        }
    }

    #[cfg(feature = "aws")]
    #[test]
    fn services_have_the_addresses_of_aws_s_own_endpoint_rules() {
        let host = |service: Service, region, fips, dual_stack| service.host(region, Variant { fips, dual_stack });
        for (service, region, fips, dual_stack, expected) in [
            (Service::Ecr, "eu-central-1", false, false, "api.ecr.eu-central-1.amazonaws.com"),
            (Service::Ecr, "eu-central-1", false, true, "ecr.eu-central-1.api.aws"),
            (Service::Ecr, "us-east-1", true, false, "api.ecr-fips.us-east-1.amazonaws.com"),
            (Service::Ecr, "us-east-1", true, true, "ecr-fips.us-east-1.api.aws"),
            (Service::Ecr, "cn-north-1", false, true, "ecr.cn-north-1.api.amazonwebservices.com.cn"),
            (Service::EcrPublic, "us-east-1", false, false, "api.ecr-public.us-east-1.amazonaws.com"),
            (Service::EcrPublic, "us-east-1", false, true, "ecr-public.us-east-1.api.aws"),
            (Service::EcrPublic, "us-east-1", true, true, "api.ecr-public-fips.us-east-1.api.aws"),
            (Service::Sts, "eusc-de-east-1", false, false, "sts.eusc-de-east-1.amazonaws.eu"),
            (Service::Sts, "us-isob-east-1", true, true, "sts-fips.us-isob-east-1.api.aws.scloud"),
            (Service::Sts, "us-gov-west-1", true, false, "sts.us-gov-west-1.amazonaws.com"),
            (Service::Sts, "us-gov-west-1", true, true, "sts-fips.us-gov-west-1.api.aws"),
            (Service::Sso, "cn-north-1", false, false, "portal.sso.cn-north-1.amazonaws.com.cn"),
            (Service::Sso, "us-east-1", true, false, "portal.sso-fips.us-east-1.amazonaws.com"),
            (Service::SsoOidc, "us-gov-west-1", true, false, "oidc.us-gov-west-1.amazonaws.com"),
        ] {
            assert_eq!(host(service, region, fips, dual_stack), expected);
        }
    }
}
