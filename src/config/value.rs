//! Values that a plain string is too weak for: places on the network and things not to be shown.

use std::fmt;
use std::net::IpAddr;

/// `host:port`; an IPv6 address stands in brackets (RFC 3986, section 3.2.2). Nothing is resolved here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    host: String,
    port: u16,
}

impl HostPort {
    /// # Errors
    /// What is wrong with it, as a sentence for the person who wrote it.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::parse_with(text, None)
    }

    /// The port may be missing where there is a usual one.
    fn parse_with(text: &str, port_default: Option<u16>) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no host:port; write for instance \"127.0.0.1:8090\" or \"[::1]:8090\"");
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']').ok_or_else(wrong)?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| wrong())?;
                match after.strip_prefix(':') {
                    Some(port) => (host, Some(port)),
                    None if after.is_empty() => (host, None),
                    None => return Err(wrong()),
                }
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'%');
        if host.is_empty() || !host.bytes().all(allowed) {
            return Err(wrong());
        }
        let port = match (port, port_default) {
            (Some(port), _) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
                port.parse().map_err(|_| format!("port {port} is out of range; use 0 to 65535"))?
            }
            (None, Some(port)) => port,
            _ => return Err(wrong()),
        };
        Ok(Self { host: host.to_owned(), port })
    }

    /// A name or an address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether only this machine reaches it.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    }

    /// The same, but with an address that a client can dial where this one means "every address".
    #[must_use]
    pub fn dialled(&self) -> Self {
        let host = match self.host.parse() {
            Ok(IpAddr::V4(address)) if address.is_unspecified() => "127.0.0.1".to_owned(),
            Ok(IpAddr::V6(address)) if address.is_unspecified() => "::1".to_owned(),
            _ => self.host.clone(),
        };
        Self { host, port: self.port }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(formatter, "[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "{}:{}", self.host, self.port)
        }
    }
}

/// A kind of URL: its scheme and the port that goes without saying.
pub type Scheme = (&'static str, u16);

/// The URL of a server (RFC 3986). `Display` and `Debug` hide its password.
#[derive(Clone, PartialEq, Eq)]
pub struct ServiceUrl {
    text: String,
    hosts: Vec<HostPort>,
}

impl ServiceUrl {
    /// Several hosts may be listed, separated by commas, as PostgreSQL's clients have it.
    ///
    /// # Errors
    /// What is wrong with it; never the URL itself, which may hold a password.
    pub fn parse(text: &str, schemes: &[Scheme]) -> Result<Self, String> {
        let usage = || {
            let names: Vec<String> = schemes.iter().map(|(name, _)| format!("{name}://")).collect();
            names.join(" or ")
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(|| format!("is no URL; it begins with {}", usage()))?;
        let (_, port_default) = schemes
            .iter()
            .find(|(name, _)| *name == scheme)
            .ok_or_else(|| format!("unknown scheme {scheme:?}; use {}", usage()))?;
        if text.chars().any(|character| character.is_whitespace() || character.is_control()) {
            return Err("a URL holds no spaces and no control characters; write them as %20 and the like".to_owned());
        }
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        // Else the password would pass for a path or a query, and be shown as one.
        if rest[authority.len()..].contains('@') {
            return Err("an @ stands behind the host; write / ? # @ of a password as %2F %3F %23 %40".to_owned());
        }
        let places = authority.rsplit_once('@').map_or(authority, |(_, places)| places);
        let hosts: Result<Vec<HostPort>, String> =
            places.split(',').map(|place| HostPort::parse_with(place, Some(*port_default))).collect();
        // What was found wrong names the text, which is a password where its user forgot what comes after it.
        let hosts = hosts.map_err(|_| {
            format!(
                "names no host, with a port of at most 65535 or none; write for instance \"{scheme}://127.0.0.1:{port_default}\", \
                 and / ? # @ of a password as %2F %3F %23 %40"
            )
        })?;
        Ok(Self { text: text.to_owned(), hosts })
    }

    /// With its password: for the client library, never for a log.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// One or more.
    #[must_use]
    pub fn hosts(&self) -> &[HostPort] {
        &self.hosts
    }

    /// What stands before `://`.
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.text.split_once("://").map_or("", |(scheme, _)| scheme)
    }

    /// A parameter of the query, as it is written.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let (_, query) = self.text.split_once('?')?;
        query.split('&').find_map(|parameter| parameter.strip_prefix(name)?.strip_prefix('='))
    }

    /// Whether a user or a password is written in it.
    #[must_use]
    pub fn has_credentials(&self) -> bool {
        self.user_information().is_some()
    }

    fn user_information(&self) -> Option<&str> {
        let rest = self.text.split_once("://")?.1;
        let authority = rest.split(['/', '?', '#']).next()?;
        Some(authority.rsplit_once('@')?.0)
    }
}

/// What stands for a secret.
pub const REDACTED: &str = "***";

impl fmt::Display for ServiceUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.text.clone();
        if let Some((user, password)) = self.user_information().and_then(|information| information.split_once(':'))
            && !password.is_empty()
        {
            text = text.replacen(&format!("{user}:{password}@"), &format!("{user}:{REDACTED}@"), 1);
        }
        // PostgreSQL takes parameters in the query: `password`, `sslpassword`.
        match text.split_once('?') {
            None => formatter.write_str(&text),
            Some((before, query)) => {
                let shown: Vec<String> = query.split('&').map(redact_parameter).collect();
                write!(formatter, "{before}?{}", shown.join("&"))
            }
        }
    }
}

fn redact_parameter(parameter: &str) -> String {
    match parameter.split_once('=') {
        Some((name, _)) if name.to_ascii_lowercase().contains("password") => format!("{name}={REDACTED}"),
        _ => parameter.to_owned(),
    }
}

impl fmt::Debug for ServiceUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.to_string())
    }
}

/// A password. `Display` and `Debug` hide it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// For the client library, never for a log.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(REDACTED)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(REDACTED)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const POSTGRES: &[Scheme] = &[("postgres", 5432), ("postgresql", 5432)];

    #[test]
    fn a_host_and_port_is_read_and_written_back() {
        for (text, host, port) in [
            ("127.0.0.1:80", "127.0.0.1", 80),
            ("[::1]:0", "::1", 0),
            ("kafka-1.example:9092", "kafka-1.example", 9092),
        ] {
            let place = HostPort::parse(text).unwrap();
            assert_eq!((place.host(), place.port(), place.to_string()), (host, port, text.to_owned()));
        }
    }

    #[test]
    fn what_is_no_host_and_port_is_refused() {
        for text in [
            "",
            ":80",
            "host",
            "host:",
            "host:x",
            "host:65536",
            "::1:80",
            "[::1]",
            "[::1]80",
            "[x]:1",
            "a b:1",
            "host:+1",
        ] {
            assert!(HostPort::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn loopback_is_told_from_the_rest() {
        for (text, loopback) in [
            ("127.0.0.1:1", true),
            ("127.9.9.9:1", true),
            ("[::1]:1", true),
            ("localhost:1", true),
            ("0.0.0.0:1", false),
            ("db:1", false),
        ] {
            assert_eq!(HostPort::parse(text).unwrap().is_loopback(), loopback, "{text}");
        }
    }

    #[test]
    fn every_address_is_dialled_as_loopback() {
        assert_eq!(HostPort::parse("0.0.0.0:1").unwrap().dialled().to_string(), "127.0.0.1:1");
        assert_eq!(HostPort::parse("[::]:1").unwrap().dialled().to_string(), "[::1]:1");
        assert_eq!(HostPort::parse("db:1").unwrap().dialled().to_string(), "db:1");
    }

    #[test]
    fn passwords_are_hidden_wherever_a_url_is_shown() {
        for (text, shown) in [
            ("postgres://u:p@h:1/d", "postgres://u:***@h:1/d"),
            ("postgres://:p@h/d", "postgres://:***@h/d"),
            ("postgres://u:p@ss@h/d", "postgres://u:***@h/d"),
            ("postgres://u@h/d?sslmode=off&password=p", "postgres://u@h/d?sslmode=off&password=***"),
            ("postgres://u@h", "postgres://u@h"),
        ] {
            let url = ServiceUrl::parse(text, POSTGRES).unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), format!("{shown:?}"));
            assert_eq!(url.expose(), text);
        }
        assert_eq!(format!("{:?} {}", Secret::new("p"), Secret::new("p")), "*** ***");
    }

    #[test]
    fn a_url_lists_its_hosts_with_their_ports() {
        let url = ServiceUrl::parse("postgresql://u:p@a,b:5433,[::1]/d", POSTGRES).unwrap();
        let hosts: Vec<String> = url.hosts().iter().map(ToString::to_string).collect();
        assert_eq!(hosts, ["a:5432", "b:5433", "[::1]:5432"]);
    }

    #[test]
    fn a_url_that_is_refused_is_not_repeated() {
        for text in [
            "hunter2",
            "mysql://u:hunter2@h",
            "postgres://u:hunter2@h:x/",
            "postgres://u:hunter2@",
            "postgres://u:hunter2 @h",
            "postgres://:hunter2",
            "postgres://:hunter2/x@h",
            "postgres://u:20/hunter2@h/d",
            "postgres://u:20?hunter2@h/d?sslmode=require",
            "postgres://u:20#hunter2@h/d",
        ] {
            let problem = ServiceUrl::parse(text, POSTGRES).unwrap_err();
            assert!(!problem.contains("hunter2"), "{problem}");
        }
    }
}
