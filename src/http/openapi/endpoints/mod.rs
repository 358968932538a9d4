//! Accounts, logins, QR challenges and administration. Their paths and methods are those that requests are dispatched by; here is what each
//! is: one that nothing is said of does not compile.

mod administration;
mod challenges;
mod logins;

use super::operation::Operation;
use crate::http::api::Endpoint;

pub(super) fn describe(endpoint: Endpoint) -> Operation {
    match endpoint {
        Endpoint::KeySet => logins::key_set(),
        Endpoint::SignUp => logins::sign_up(),
        Endpoint::LogIn => logins::log_in(),
        Endpoint::Refresh => logins::refresh(),
        Endpoint::LogOut => logins::log_out(),
        Endpoint::LogOutAll => logins::log_out_all(),
        Endpoint::Me => logins::me(),
        Endpoint::Sessions => logins::sessions(),
        Endpoint::EndSession => logins::end_session(),
        Endpoint::CreateChallenge => challenges::create(),
        Endpoint::Challenge => challenges::poll(),
        Endpoint::CancelChallenge => challenges::cancel(),
        Endpoint::PictureSvg => challenges::picture("challengeSvg", "image/svg+xml"),
        Endpoint::PicturePng => challenges::picture("challengePng", "image/png"),
        Endpoint::Events => challenges::events(),
        Endpoint::Scan => challenges::scan(),
        Endpoint::UserCode => challenges::user_code(),
        Endpoint::Approve => challenges::decide("approveChallenge", "Approves: the creator may log in"),
        Endpoint::Deny => challenges::decide("denyChallenge", "Denies"),
        Endpoint::Exchange => challenges::exchange(),
        Endpoint::Users => administration::users(),
        Endpoint::CreateUser => administration::create_user(),
        Endpoint::User => administration::user(),
        Endpoint::ChangeUser => administration::change_user(),
        Endpoint::Devices => administration::devices(),
        Endpoint::GiveDeviceSecret => administration::give_device_secret(),
        Endpoint::RevokeDeviceSecret => administration::revoke_device_secret(),
        Endpoint::Connections => administration::connections(),
        Endpoint::Actors => administration::actors(),
        Endpoint::PoolChildren => administration::pool_children(),
        Endpoint::KillActor => administration::kill_actor(),
        Endpoint::Stream => administration::stream(),
        Endpoint::ReplayDeadLetters => administration::replay_dead_letters(),
        Endpoint::DeadLetters => administration::dead_letters(),
        Endpoint::Audit => administration::audit(),
    }
}
