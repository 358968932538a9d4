//! Kinds of values: how each is read from any layer, which values it takes, and how it is shown.

use std::fmt::Display;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use orinoco_domain::TopicFilters;
use serde_json::Value;

use super::source::Raw;
use super::value::{HostPort, Scheme, Secret, ServiceUrl};

/// Whether a secret is written out: only for the defaults in the documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Secrets {
    Shown,
    Hidden,
}

/// A kind of value.
pub(super) trait Kind {
    type Value: Clone;

    /// # Errors
    /// What is wrong and what to write instead; follows the name of the key.
    fn parse(&self, raw: &Raw) -> Result<Self::Value, String>;

    /// As JSON, which for these kinds is TOML as well.
    fn show(&self, value: &Self::Value, secrets: Secrets) -> Value;

    /// What may be written, for the documentation.
    fn allowed(&self) -> String;
}

/// An enum whose variants have a name in the configuration.
pub(super) trait Choose: Copy + PartialEq + 'static {
    const ALL: &'static [(&'static str, Self)];
}

macro_rules! choice {
    ($(#[doc = $about:literal])+ $name:ident { $($(#[doc = $doc:literal])+ $variant:ident = $text:literal,)+ }) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[doc = $doc])+ $variant,)+ }

        impl $name {
            /// The name in the configuration.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(self.as_str())
            }
        }

        impl $crate::config::kind::Choose for $name {
            const ALL: &'static [(&'static str, Self)] = &[$(($text, Self::$variant),)+];
        }
    };
}
pub(super) use choice;

/// One of a few words.
pub(super) struct OneOf<T>(PhantomData<T>);

impl<T> OneOf<T> {
    pub(super) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T: Choose> Kind for OneOf<T> {
    type Value = T;

    fn parse(&self, raw: &Raw) -> Result<T, String> {
        let text = raw.text().ok_or_else(|| format!("is {}; use {}", raw.what(), self.allowed()))?;
        let found = T::ALL.iter().find(|(name, _)| *name == text);
        found.map(|(_, value)| *value).ok_or_else(|| format!("unknown value {text:?}; use {}", self.allowed()))
    }

    fn show(&self, value: &T, _: Secrets) -> Value {
        T::ALL.iter().find(|(_, variant)| variant == value).map_or(Value::Null, |(name, _)| Value::from(*name))
    }

    fn allowed(&self) -> String {
        let names: Vec<String> = T::ALL.iter().map(|(name, _)| format!("{name:?}")).collect();
        names.join(" or ")
    }
}

/// `true`, `false`, or one of a few words.
pub(super) struct FlagOr<T>(PhantomData<T>);

impl<T> FlagOr<T> {
    pub(super) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T: Choose> Kind for FlagOr<T> {
    type Value = T;

    fn parse(&self, raw: &Raw) -> Result<T, String> {
        match raw {
            Raw::Boolean(value) => OneOf::new().parse(&Raw::Untyped(value.to_string())),
            other => OneOf::new().parse(other),
        }
        .map_err(|_| format!("is none of {}", self.allowed()))
    }

    fn show(&self, value: &T, secrets: Secrets) -> Value {
        match OneOf::new().show(value, secrets) {
            Value::String(flag) if flag == "true" || flag == "false" => Value::from(flag == "true"),
            word => word,
        }
    }

    fn allowed(&self) -> String {
        OneOf::<T>::new().allowed().replace("\"true\"", "true").replace("\"false\"", "false")
    }
}

/// `true` or `false`.
pub(super) struct Flag;

impl Kind for Flag {
    type Value = bool;

    fn parse(&self, raw: &Raw) -> Result<bool, String> {
        match raw {
            Raw::Boolean(value) => Ok(*value),
            Raw::Untyped(text) if text == "true" => Ok(true),
            Raw::Untyped(text) if text == "false" => Ok(false),
            Raw::Untyped(text) => Err(format!("unknown value {text:?}; use true or false")),
            other => Err(format!("is {}; use true or false, without quotes", other.what())),
        }
    }

    fn show(&self, value: &bool, _: Secrets) -> Value {
        Value::from(*value)
    }

    fn allowed(&self) -> String {
        "true or false".to_owned()
    }
}

/// A whole number in a range.
pub(super) struct Number<T>(PhantomData<T>, RangeInclusive<u64>);

impl<T> Number<T> {
    pub(super) const fn new(range: RangeInclusive<u64>) -> Self {
        Self(PhantomData, range)
    }
}

impl<T: TryFrom<u64> + Copy + Display> Kind for Number<T> {
    type Value = T;

    fn parse(&self, raw: &Raw) -> Result<T, String> {
        let number = whole_number(raw, &self.1)?;
        T::try_from(number).map_err(|_| format!("{number} is out of range; use {}", self.allowed()))
    }

    fn show(&self, value: &T, _: Secrets) -> Value {
        // Every type in use is an unsigned integer, whose text is its number.
        value.to_string().parse::<u64>().map_or(Value::Null, Value::from)
    }

    fn allowed(&self) -> String {
        format!("{} to {}", self.1.start(), self.1.end())
    }
}

/// A duration; the key ends in its unit.
pub(super) struct Span {
    unit_ms: u64,
    range: RangeInclusive<u64>,
}

/// Keys that end in `_ms`.
pub(super) const fn milliseconds(range: RangeInclusive<u64>) -> Span {
    Span { unit_ms: 1, range }
}

/// Keys that end in `_s`.
pub(super) const fn seconds(range: RangeInclusive<u64>) -> Span {
    Span { unit_ms: 1000, range }
}

/// Keys that end in `_h`.
pub(super) const fn hours(range: RangeInclusive<u64>) -> Span {
    Span { unit_ms: 3_600_000, range }
}

impl Kind for Span {
    type Value = Duration;

    fn parse(&self, raw: &Raw) -> Result<Duration, String> {
        let number = whole_number(raw, &self.range)?;
        Ok(Duration::from_millis(number * self.unit_ms))
    }

    fn show(&self, value: &Duration, _: Secrets) -> Value {
        let milliseconds = u64::try_from(value.as_millis()).unwrap_or(u64::MAX);
        Value::from(milliseconds / self.unit_ms)
    }

    fn allowed(&self) -> String {
        format!("{} to {}", self.range.start(), self.range.end())
    }
}

fn whole_number(raw: &Raw, range: &RangeInclusive<u64>) -> Result<u64, String> {
    let allowed = format!("use a whole number from {} to {}", range.start(), range.end());
    let number = match raw {
        Raw::Integer(number) => *number,
        // Underscores between digits, as TOML has them.
        Raw::Untyped(text) if text.starts_with(|first: char| first.is_ascii_digit()) => {
            text.replace('_', "").parse().map_err(|_| format!("{text:?} is no whole number; {allowed}"))?
        }
        Raw::Untyped(text) => return Err(format!("{text:?} is no whole number; {allowed}")),
        Raw::Text(_) => return Err(format!("is {}; {allowed}, without quotes", raw.what())),
        other => return Err(format!("is {}; {allowed}", other.what())),
    };
    match u64::try_from(number) {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("{number} is out of range; {allowed}")),
    }
}

/// A string with a rule of its own. What a rule says must not repeat a secret.
pub(super) struct Words<T> {
    pub(super) parse: fn(&str) -> Result<T, String>,
    pub(super) show: fn(&T) -> String,
    pub(super) allowed: &'static str,
}

impl<T: Clone> Kind for Words<T> {
    type Value = T;

    fn parse(&self, raw: &Raw) -> Result<T, String> {
        let text = raw.text().ok_or_else(|| format!("is {}; write {} in quotes", raw.what(), self.allowed))?;
        (self.parse)(text)
    }

    fn show(&self, value: &T, _: Secrets) -> Value {
        Value::from((self.show)(value))
    }

    fn allowed(&self) -> String {
        self.allowed.to_owned()
    }
}

/// `host:port`.
pub(super) const fn address() -> Words<HostPort> {
    Words { parse: HostPort::parse, show: HostPort::to_string, allowed: "host:port" }
}

/// A file or a folder; relative ones start at the working directory.
pub(super) const fn path() -> Words<PathBuf> {
    fn parse(text: &str) -> Result<PathBuf, String> {
        if text.is_empty() || text.contains('\0') { Err("is no path".to_owned()) } else { Ok(PathBuf::from(text)) }
    }
    Words { parse, show: |path| path.display().to_string(), allowed: "a path" }
}

/// One or more characters, on one line, 256 bytes at most.
pub(super) const fn words() -> Words<String> {
    fn parse(text: &str) -> Result<String, String> {
        match text {
            "" => Err("is empty".to_owned()),
            _ if text.len() > 256 => Err("is longer than 256 bytes".to_owned()),
            _ if text.chars().any(char::is_control) => Err("holds a control character".to_owned()),
            _ => Ok(text.to_owned()),
        }
    }
    Words { parse, show: String::clone, allowed: "1 to 256 bytes of text" }
}

/// A topic filter (MQTT 5.0, section 4.7) that names an axis and a device.
pub(super) const fn topic_filter() -> Words<String> {
    fn parse(text: &str) -> Result<String, String> {
        if text.len() > 65_535 || text.contains('\0') {
            return Err("a topic filter has at most 65535 bytes and no NUL".to_owned());
        }
        let filters = TopicFilters::parse(&[text]).map_err(|error| error.to_string())?;
        Ok(filters.iter().collect())
    }
    Words { parse, show: String::clone, allowed: "MQTT topic filters that end in coordX or coordY; `+` is the device" }
}

/// The beginning of a topic's name in Kafka (249 characters at most, `coord.dlq` included).
pub(super) const fn topic_prefix() -> Words<String> {
    fn parse(text: &str) -> Result<String, String> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !(1..=200).contains(&text.len()) || !text.bytes().all(legal) {
            return Err(format!("{text:?} can't begin the name of a topic; use 1 to 200 of A-Z a-z 0-9 . _ -"));
        }
        Ok(text.to_owned())
    }
    Words { parse, show: String::clone, allowed: "1 to 200 of A-Z a-z 0-9 . _ -" }
}

/// A network (RFC 4632, section 3.1), or one address.
pub(super) const fn network() -> Words<IpNet> {
    fn parse(text: &str) -> Result<IpNet, String> {
        let one = || text.parse::<IpAddr>().map(IpNet::from);
        text.parse().or_else(|_| one()).map_err(|_| format!("{text:?} is no network; write for instance 10.0.0.0/8"))
    }
    Words { parse, show: IpNet::to_string, allowed: "networks such as 10.0.0.0/8, or addresses" }
}

/// An origin as browsers send it (RFC 6454, section 6.2).
pub(super) const fn origin() -> Words<String> {
    fn parse(text: &str) -> Result<String, String> {
        let wrong = || format!("{text:?} is no origin; write for instance https://app.example");
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let is_legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".:-[]".contains(&byte);
        let is_origin = matches!(scheme, "http" | "https") && !rest.is_empty() && rest.bytes().all(is_legal);
        if is_origin { Ok(text.to_owned()) } else { Err(wrong()) }
    }
    Words {
        parse,
        show: String::clone,
        allowed: "origins: http:// or https://, a host in lower case, and a port unless it is the usual one",
    }
}

/// What to log: `info`, or `info,orinoco=debug`.
pub(super) const fn log_directives() -> Words<String> {
    fn parse(text: &str) -> Result<String, String> {
        match tracing_subscriber::EnvFilter::builder().parse(text) {
            Ok(_) if !text.is_empty() => Ok(text.to_owned()),
            _ => Err(format!("{text:?} is no log filter; write for instance \"info\" or \"info,orinoco=debug\"")),
        }
    }
    Words {
        parse,
        show: String::clone,
        allowed: "a level (error, warn, info, debug, trace), or `target=level`, by commas",
    }
}

/// The URL of a server.
pub(super) struct Url(pub(super) &'static [Scheme]);

impl Kind for Url {
    type Value = ServiceUrl;

    fn parse(&self, raw: &Raw) -> Result<ServiceUrl, String> {
        let text = raw.text().ok_or_else(|| format!("is {}; write {} in quotes", raw.what(), self.allowed()))?;
        ServiceUrl::parse(text, self.0)
    }

    fn show(&self, value: &ServiceUrl, secrets: Secrets) -> Value {
        match secrets {
            Secrets::Shown => Value::from(value.expose()),
            Secrets::Hidden => Value::from(value.to_string()),
        }
    }

    fn allowed(&self) -> String {
        let names: Vec<String> = self.0.iter().map(|(name, _)| format!("{name}://")).collect();
        format!("a URL {}", names.join(" or "))
    }
}

/// A password.
pub(super) struct Password;

impl Kind for Password {
    type Value = Secret;

    fn parse(&self, raw: &Raw) -> Result<Secret, String> {
        raw.text().map(Secret::new).ok_or_else(|| format!("is {}; write it in quotes", raw.what()))
    }

    fn show(&self, value: &Secret, secrets: Secrets) -> Value {
        match secrets {
            Secrets::Shown => Value::from(value.expose()),
            Secrets::Hidden => Value::from(value.to_string()),
        }
    }

    fn allowed(&self) -> String {
        "text".to_owned()
    }
}

/// A value that may be left out: an empty string says so.
pub(super) struct Optional<K>(pub(super) K);

impl<K: Kind> Kind for Optional<K> {
    type Value = Option<K::Value>;

    fn parse(&self, raw: &Raw) -> Result<Self::Value, String> {
        if raw.text() == Some("") { Ok(None) } else { self.0.parse(raw).map(Some) }
    }

    fn show(&self, value: &Self::Value, secrets: Secrets) -> Value {
        value.as_ref().map_or_else(|| Value::from(""), |value| self.0.show(value, secrets))
    }

    fn allowed(&self) -> String {
        format!("{}, or empty", self.0.allowed())
    }
}

/// One value or more, without repetition; in the environment separated by commas, or as a TOML array.
pub(super) struct List<K> {
    pub(super) of: K,
    pub(super) count_max: usize,
}

impl<K: Kind> Kind for List<K>
where
    K::Value: PartialEq,
{
    type Value = Vec<K::Value>;

    fn parse(&self, raw: &Raw) -> Result<Self::Value, String> {
        let items = raw.list().ok_or_else(|| format!("is {}; write [\"...\", \"...\"]", raw.what()))?;
        if items.is_empty() || items.len() > self.count_max {
            return Err(format!("holds {} values; use 1 to {}", items.len(), self.count_max));
        }
        let mut values = Vec::with_capacity(items.len());
        for item in &items {
            let value = self.of.parse(item)?;
            if values.contains(&value) {
                return Err(format!("{} is listed twice", self.of.show(&value, Secrets::Hidden)));
            }
            values.push(value);
        }
        Ok(values)
    }

    fn show(&self, value: &Self::Value, secrets: Secrets) -> Value {
        value.iter().map(|item| self.of.show(item, secrets)).collect()
    }

    fn allowed(&self) -> String {
        format!("1 to {} of: {}", self.count_max, self.of.allowed())
    }
}
