//! Accounts, tokens and limits.

use std::path::PathBuf;
use std::time::Duration;

use super::super::kind::{OneOf, Optional, choice, path, seconds};
use super::super::reader::{Fallback::Fixed, section};

choice! {
    /// Who may make an account.
    Signup {
        /// Anyone.
        Open = "open",
        /// An administrator.
        Closed = "closed",
    }
}

section! {
    /// Accounts and tokens.
    Auth = "auth" {
        /// Whether anyone may make an account (`open`) or only an administrator (`closed`).
        signup: Signup = "signup", OneOf::new(), Fixed("open");
        /// Seconds for which an access token is valid.
        access_token_ttl: Duration = "access_token_ttl_s", seconds(1..=86_400), Fixed("900");
        /// Seconds for which a refresh token is valid.
        refresh_token_ttl: Duration = "refresh_token_ttl_s", seconds(1..=31_536_000), Fixed("604800");
        /// Seconds for which a QR challenge is valid.
        challenge_ttl: Duration = "challenge_ttl_s", seconds(1..=3600), Fixed("120");
        /// The file of the keys that sign and derive; made when missing, shared by daemons. Where this is empty: `keys.json` in
        /// the data directory.
        key_file: Option<PathBuf> = "key_file", Optional(path()), Fixed("");
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
        mode: LimitsMode = "mode", OneOf::new(), Fixed("on");
    }
}
