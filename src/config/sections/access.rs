//! Accounts, tokens and limits.

use std::path::PathBuf;
use std::time::Duration;

use super::super::kind::{List, Number, OneOf, Optional, Words, choice, hours, path, seconds};
use super::super::reader::{Fallback::Fixed, Reload::Live, section};

choice! {
    /// Who may make an account.
    Signup {
        /// Anyone.
        Open = "open",
        /// An administrator.
        Closed = "closed",
    }
}

/// `client_id` (RFC 6749, section 2.2), as it also stands in access tokens.
const fn client_id() -> Words<String> {
    /// Which stands in the tokens of logins by the REST interface itself.
    const FIRST_PARTY: &str = "orinoco";
    fn parse(text: &str) -> Result<String, String> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !(1..=64).contains(&text.len()) || !text.bytes().all(legal) {
            return Err(format!("{text:?} can't be a client's id; use 1 to 64 of A-Z a-z 0-9 . _ -"));
        }
        if text == FIRST_PARTY {
            return Err(format!("{text:?} stands for logins without OAuth; use another id"));
        }
        Ok(text.to_owned())
    }
    Words { parse, show: String::clone, allowed: "1 to 64 of A-Z a-z 0-9 . _ -, but not \"orinoco\"" }
}

section! {
    /// Accounts and tokens.
    Auth = "auth" {
        /// Whether anyone may make an account (`open`) or only an administrator (`closed`).
        signup: Signup = "signup", OneOf::new(), Fixed("open"), Live;
        /// Seconds for which an access token is valid.
        access_token_ttl: Duration = "access_token_ttl_s", seconds(1..=86_400), Fixed("300");
        /// Seconds from a login to its end, however often its refresh token is replaced.
        refresh_token_ttl: Duration = "refresh_token_ttl_s", seconds(1..=31_536_000), Fixed("604800"), Live;
        /// Seconds for which a QR challenge is valid.
        challenge_ttl: Duration = "challenge_ttl_s", seconds(1..=3600), Fixed("120"), Live;
        /// OAuth's public clients, by their `client_id`; they have no secret.
        oauth_clients: Vec<String> = "oauth_clients", List { of: client_id(), count_max: 64 }, Fixed("orinoco-cli,orinoco-web");
        /// The file of the keys that sign and derive; made when missing, shared by daemons. Where this is empty: `keys.json` in
        /// the data directory.
        key_file: Option<PathBuf> = "key_file", Optional(path()), Fixed("");
        /// Hours for which a key signs access tokens; the next one is published an hour before it does.
        key_rotation: Duration = "key_rotation_h", hours(2..=87_600), Fixed("2160");
        /// log2 of scrypt's N: each password that is hashed holds 128 * N * r bytes. Passwords are hashed again at login where
        /// these three change.
        password_log2_n: u8 = "password_log2_n", Number::new(4..=20), Fixed("17");
        /// scrypt's r.
        password_r: u32 = "password_r", Number::new(1..=32), Fixed("8");
        /// scrypt's p.
        password_p: u32 = "password_p", Number::new(1..=16), Fixed("1");
        /// Passwords that are hashed at a time.
        password_hashes_max: usize = "password_hashes_max", Number::new(1..=64), Fixed("2");
        /// Passwords that wait for that; at the limit a login gets 503.
        password_waiting_max: usize = "password_waiting_max", Number::new(1..=10_000), Fixed("64");
        /// Lines of the audit log that are kept; at the limit the oldest go.
        audit_entries_max: u32 = "audit_entries_max", Number::new(1000..=10_000_000), Fixed("100000"), Live;
    }
}

choice! {
    /// Whether limits for one address and one account hold.
    LimitsMode {
        /// They do.
        On = "on",
        /// They do not; the limits of the daemon as a whole still hold.
        Off = "off",
    }
}

section! {
    /// Limits for one address and one account.
    Limits = "limits" {
        /// `off` lifts them; those of the daemon as a whole still hold.
        mode: LimitsMode = "mode", OneOf::new(), Fixed("on"), Live;
    }
}
