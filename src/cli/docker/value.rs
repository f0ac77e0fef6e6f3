//! What the values of docker's flags have to be, so that a wrong one is wrong here as well, whether
//! or not its flag has an effect.
//!
//! Each returns why a value is invalid, in docker's words (Go's strconv and time, docker/go-units,
//! docker/cli opts).

use std::net::IpAddr;

use crate::cli::drop_in::Check;
use crate::cli::flags::HostFlag;
use crate::container::{parse_memory, parse_signal};
use crate::oci::Platform;
use crate::sandbox::Ulimit;

fn when(right: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if right { Ok(()) } else { Err(why()) }
}

pub(super) const INTEGER: Check =
    |text| when(text.parse::<i64>().is_ok(), || format!("strconv.ParseInt: parsing {text:?}: invalid syntax"));

pub(super) const UNSIGNED: Check =
    |text| when(text.parse::<u64>().is_ok(), || format!("strconv.ParseUint: parsing {text:?}: invalid syntax"));

/// Bytes, or 512m.
pub(super) const SIZE: Check = |text| when(text == "0" || parse_memory(text).is_ok(), || format!("invalid size: '{text}'"));

/// As [`SIZE`]; -1 is no limit.
pub(super) const SWAP_SIZE: Check = |text| if text == "-1" { Ok(()) } else { SIZE(text) };

pub(super) const CPUS: Check = |text| {
    let cpus = text.parse::<f64>().map_err(|_| format!("failed to parse {text} as a rational number"))?;
    let here = crate::threads::available();
    when(cpus == 0.0 || (0.01..=here as f64).contains(&cpus), || {
        format!("range of CPUs is from 0.01 to {here}.00, as there are only {here} CPUs available")
    })
};

/// A list of processors: `0-2,5`.
pub(super) const CPU_LIST: Check = |text| {
    let number = |text: &str| text.parse::<u32>().is_ok();
    let right = |part: &str| part.split_once('-').map_or_else(|| number(part), |(from, to)| number(from) && number(to));
    when(text.split(',').all(right), || format!("invalid format: {text}"))
};

/// Seconds of Go's durations: `1h30m`, `0.5s`, `100ms`.
fn seconds(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 7] =
        [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    let mut sum = (!rest.is_empty()).then_some(0.0)?;
    while !rest.is_empty() && rest != "0" {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(rest.len());
        let (number, unit) = rest.split_at(digits);
        let (name, worth) = UNITS.iter().find(|(name, _)| unit.starts_with(name))?;
        sum += number.parse::<f64>().ok()? * worth;
        rest = &unit[name.len()..];
    }
    Some(if text.starts_with('-') { -sum } else { sum })
}

/// How often, how long: nothing, or a millisecond and more.
pub(super) const HEALTH_TIME: Check = |text| {
    let seconds = seconds(text).ok_or_else(|| format!("time: invalid duration {text:?}"))?;
    when(seconds >= 0.0, || "it cannot be negative".to_owned())?;
    when(seconds == 0.0 || seconds >= 1e-3, || "it cannot be less than 1ms".to_owned())
};

pub(super) const RETRIES: Check = |text| {
    INTEGER(text)?;
    when(!text.starts_with('-'), || "it cannot be negative".to_owned())
};

/// Docker's own; others are named in its daemon's configuration.
pub(super) const RUNTIME: Check =
    |text| when(["", "runc", "io.containerd.runc.v2"].contains(&text), || format!("unknown or invalid runtime name: {text}"));

pub(super) const IP: Check =
    |text| when(text.parse::<IpAddr>().is_ok(), || format!("IP address is not correctly formatted: {text}"));

pub(super) const LABEL: Check =
    |text| when(!text.is_empty() && !text.starts_with('='), || format!("invalid label '{text}': empty name"));

pub(super) const VARIABLE: Check =
    |text| when(!text.is_empty() && !text.starts_with('='), || format!("invalid environment variable: {text}"));

pub(super) const ULIMIT: Check = |text| text.parse::<Ulimit>().map(drop).map_err(|error| error.to_string());

pub(super) const HOST: Check =
    |text| text.parse::<HostFlag>().map(drop).map_err(|_| format!("bad format for add-host: {text:?}"));

pub(super) const PLATFORM: Check = |text| {
    // One word is a system or a processor, which have to be known.
    let known = [
        "linux", "windows", "darwin", "freebsd", "amd64", "x86_64", "386", "arm64", "aarch64", "arm", "ppc64le", "s390x",
        "riscv64",
    ];
    let right = Platform::parse(text).is_ok() && (text.contains('/') || known.contains(&text.to_ascii_lowercase().as_str()));
    when(right, || format!("{text:?}: unknown operating system or architecture"))
};

pub(super) const SIGNAL: Check = |text| parse_signal(text).map(drop).map_err(|_| format!("Invalid signal: {text}"));

/// The instructions that change an image's configuration alone.
pub(super) const CHANGE: Check = |text| {
    const KNOWN: [&str; 11] =
        ["CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "ONBUILD", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"];
    let word = text.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    when(KNOWN.contains(&word.as_str()), || format!("{} is not a valid change command", word.to_lowercase()))
};

pub(super) const STREAM: Check = |text| {
    when(["stdin", "stdout", "stderr"].contains(&text.to_ascii_lowercase().as_str()), || {
        "valid streams are STDIN, STDOUT and STDERR".to_owned()
    })
};

/// `80`, `80-90/udp`.
pub(super) const PORTS: Check = |text| {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (from, to) = ports.split_once('-').unwrap_or((ports, ports));
    let right = from.parse::<u16>().is_ok() && to.parse::<u16>().is_ok() && ["tcp", "udp", "sctp"].contains(&protocol);
    when(right, || format!("invalid range format for --expose: {text}"))
};

pub(super) const RESTART: Check = |text| {
    let (policy, count) = text.split_once(':').map_or((text, None), |(policy, count)| (policy, Some(count)));
    when(["no", "", "always", "unless-stopped", "on-failure"].contains(&policy), || {
        format!("invalid restart policy '{policy}'")
    })?;
    when(count.is_none_or(|count| count.parse::<u32>().is_ok()), || {
        "invalid restart policy format: maximum retry count must be an integer".to_owned()
    })
};

pub(super) const PULL: Check = |text| {
    when(["always", "missing", "never", ""].contains(&text), || {
        format!("invalid pull option: '{text}': must be one of \"always\", \"missing\" or \"never\"")
    })
};

pub(super) const IPC: Check = |text| {
    let right = ["", "none", "private", "shareable", "host"].contains(&text) || text.starts_with("container:");
    when(right, || format!("Invalid IPC mode: {text}"))
};

pub(super) const PID: Check =
    |text| when(matches!(text, "" | "host") || text.starts_with("container:"), || "--pid: invalid PID mode".to_owned());

pub(super) const UTS: Check = |text| when(matches!(text, "" | "host"), || "--uts: invalid UTS mode".to_owned());

pub(super) const USERNS: Check = |text| when(matches!(text, "" | "host"), || "--userns: invalid USER mode".to_owned());

pub(super) const CGROUPNS: Check =
    |text| when(matches!(text, "" | "host" | "private"), || "--cgroupns: invalid CGROUP mode".to_owned());

pub(super) const ISOLATION: Check =
    |text| when(matches!(text, "" | "default"), || format!("Invalid isolation: {text:?} - linux only supports 'default'"));

pub(super) const SECURITY: Check = |text| {
    let right = text.contains('=') || text.contains(':') || text == "no-new-privileges";
    when(right, || format!("Invalid --security-opt: {text:?}"))
};

/// Names of the kernel's that a namespace has its own of.
pub(super) const SYSCTL: Check = |text| {
    let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
    let known = ["kernel.msg", "kernel.sem", "kernel.shm", "fs.mqueue.", "net."].iter().any(|own| name.starts_with(own));
    when(known && value.is_some(), || format!("sysctl '{text}' is not allowed"))
};

pub(super) const LOG_DRIVER: Check = |text| {
    let known =
        ["", "none", "local", "json-file", "syslog", "journald", "gelf", "fluentd", "awslogs", "splunk", "etwlogs", "gcplogs"];
    when(known.contains(&text), || format!("error looking up logging plugin {text}: plugin {text:?} not found"))
};

pub(super) const LOG_OPTION: Check =
    |text| when(text.contains('='), || format!("unknown log opt '{text}' for json-file log driver"));

pub(super) const OOM_SCORE: Check = |text| {
    INTEGER(text)?;
    let right = text.parse::<i64>().is_ok_and(|score| (-1000..=1000).contains(&score));
    when(right, || format!("Invalid value {text}, range for oom score adj is [-1000, 1000]"))
};

/// Linux's, capabilities(7), without CAP_.
const CAPABILITIES: &str = "ALL AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE \
    DAC_READ_SEARCH FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN \
    NET_BIND_SERVICE NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT SYS_CHROOT SYS_MODULE \
    SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG WAKE_ALARM";

pub(super) const CAPABILITY: Check = |text| {
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("CAP_").unwrap_or(&name);
    when(CAPABILITIES.split_whitespace().any(|known| known == name), || format!("unknown capability: \"CAP_{name}\""))
};

/// A file that is read at the start.
pub(super) const FILE: Check =
    |text| std::fs::File::open(text).map(drop).map_err(|_| format!("open {text}: no such file or directory"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_that_docker_takes() {
        let cases: &[(Check, &[&str], &[&str])] = &[
            (INTEGER, &["0", "-5", "12"], &["x", "", "1.5"]),
            (SIZE, &["0", "512m", "2g"], &["x", "-1", "-5", ""]),
            (SWAP_SIZE, &["0", "-1", "512m"], &["x", "-5", ""]),
            (HEALTH_TIME, &["0", "1s", "1h30m", "0.5s", "100ms", "1000us"], &["", "x", "1", "1x", "s", "100us", "-1s"]),
            (RETRIES, &["0", "3"], &["x", "-1"]),
            (RUNTIME, &["runc", "io.containerd.runc.v2"], &["foo"]),
            (CPUS, &["0", "0.5", "1"], &["x", "-1", "0.001", "100000"]),
            (CPU_LIST, &["0", "0-2,5"], &["x", "", "1-"]),
            (RESTART, &["no", "always", "on-failure", "on-failure:3"], &["foo", "on-failure:x"]),
            (PORTS, &["80", "80-90", "53/udp"], &["x", "80/foo", ""]),
            (CAPABILITY, &["ALL", "net_admin", "CAP_SYS_PTRACE"], &["FOO", ""]),
            (SECURITY, &["no-new-privileges", "seccomp=unconfined", "label:disable"], &["foo"]),
            (SYSCTL, &["net.core.somaxconn=1024"], &["foo", "kernel.hostname=x", "net.x"]),
            (STREAM, &["STDIN", "stdout"], &["foo"]),
            (PULL, &["always", "never"], &["foo"]),
            (LABEL, &["a", "a=b"], &["=x", ""]),
        ];
        for (check, right, wrong) in cases {
            right.iter().for_each(|text| assert_eq!(check(text), Ok(()), "{text}"));
            wrong.iter().for_each(|text| assert!(check(text).is_err(), "{text}"));
        }
    }
}
