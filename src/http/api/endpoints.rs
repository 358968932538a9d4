//! The paths and their methods, in one table.

use http::Method;

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Endpoint {
    KeySet,
    SignUp,
    LogIn,
    Refresh,
    LogOut,
    LogOutAll,
    Me,
    Sessions,
    EndSession,
    CreateChallenge,
    Challenge,
    CancelChallenge,
    PictureSvg,
    PicturePng,
    Events,
    Scan,
    UserCode,
    Approve,
    Deny,
    Exchange,
    Users,
    CreateUser,
    User,
    ChangeUser,
    Devices,
    GiveDeviceSecret,
    RevokeDeviceSecret,
    Connections,
    Actors,
    PoolChildren,
    KillActor,
    Stream,
    DeadLetters,
    ReplayDeadLetters,
    Audit,
}

/// An endpoint, with what stands in the place of each `*`, percent-encoded as it came.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) endpoint: Endpoint,
    pub(super) ids: Vec<String>,
}

struct Resource {
    /// `*` is any one segment.
    path: &'static str,
    /// RFC 9110, section 10.2.1.
    allow: &'static str,
    methods: &'static [(Method, Endpoint)],
}

const RESOURCES: &[Resource] = &[
    get("/.well-known/jwks.json", &[(Method::GET, Endpoint::KeySet)]),
    post("/api/v1/auth/signup", &[(Method::POST, Endpoint::SignUp)]),
    post("/api/v1/auth/login", &[(Method::POST, Endpoint::LogIn)]),
    post("/api/v1/auth/refresh", &[(Method::POST, Endpoint::Refresh)]),
    post("/api/v1/auth/logout", &[(Method::POST, Endpoint::LogOut)]),
    post("/api/v1/auth/logout-all", &[(Method::POST, Endpoint::LogOutAll)]),
    get("/api/v1/me", &[(Method::GET, Endpoint::Me)]),
    get("/api/v1/sessions", &[(Method::GET, Endpoint::Sessions)]),
    resource("/api/v1/sessions/*", "DELETE", &[(Method::DELETE, Endpoint::EndSession)]),
    post("/api/v1/qr/challenges", &[(Method::POST, Endpoint::CreateChallenge)]),
    resource(
        "/api/v1/qr/challenges/*",
        "GET, HEAD, DELETE",
        &[(Method::GET, Endpoint::Challenge), (Method::DELETE, Endpoint::CancelChallenge)],
    ),
    get("/api/v1/qr/challenges/*/qr.svg", &[(Method::GET, Endpoint::PictureSvg)]),
    get("/api/v1/qr/challenges/*/qr.png", &[(Method::GET, Endpoint::PicturePng)]),
    resource("/api/v1/qr/challenges/*/events", "GET", &[(Method::GET, Endpoint::Events)]),
    post("/api/v1/qr/user-code", &[(Method::POST, Endpoint::UserCode)]),
    post("/api/v1/qr/challenges/*/scan", &[(Method::POST, Endpoint::Scan)]),
    post("/api/v1/qr/challenges/*/approve", &[(Method::POST, Endpoint::Approve)]),
    post("/api/v1/qr/challenges/*/deny", &[(Method::POST, Endpoint::Deny)]),
    post("/api/v1/qr/challenges/*/exchange", &[(Method::POST, Endpoint::Exchange)]),
    resource(
        "/api/v1/admin/users",
        "GET, HEAD, POST",
        &[(Method::GET, Endpoint::Users), (Method::POST, Endpoint::CreateUser)],
    ),
    resource(
        "/api/v1/admin/users/*",
        "GET, HEAD, PATCH",
        &[(Method::GET, Endpoint::User), (Method::PATCH, Endpoint::ChangeUser)],
    ),
    get("/api/v1/admin/devices", &[(Method::GET, Endpoint::Devices)]),
    resource(
        "/api/v1/admin/devices/*/secret",
        "POST, DELETE",
        &[(Method::POST, Endpoint::GiveDeviceSecret), (Method::DELETE, Endpoint::RevokeDeviceSecret)],
    ),
    get("/api/v1/admin/connections", &[(Method::GET, Endpoint::Connections)]),
    get("/api/v1/admin/actors", &[(Method::GET, Endpoint::Actors)]),
    get("/api/v1/admin/actors/children", &[(Method::GET, Endpoint::PoolChildren)]),
    post("/api/v1/admin/actors/kill", &[(Method::POST, Endpoint::KillActor)]),
    get("/api/v1/admin/stream", &[(Method::GET, Endpoint::Stream)]),
    get("/api/v1/admin/dead-letters", &[(Method::GET, Endpoint::DeadLetters)]),
    post("/api/v1/admin/dead-letters/replay", &[(Method::POST, Endpoint::ReplayDeadLetters)]),
    get("/api/v1/admin/audit", &[(Method::GET, Endpoint::Audit)]),
];

const fn resource(path: &'static str, allow: &'static str, methods: &'static [(Method, Endpoint)]) -> Resource {
    Resource { path, allow, methods }
}

const fn get(path: &'static str, methods: &'static [(Method, Endpoint)]) -> Resource {
    resource(path, "GET, HEAD", methods)
}

const fn post(path: &'static str, methods: &'static [(Method, Endpoint)]) -> Resource {
    resource(path, "POST", methods)
}

/// All paths as they are in the table, with the value of `Allow` and the methods of each: what is described to clients.
pub(in crate::http) fn all() -> impl Iterator<Item = (&'static str, &'static str, &'static [(Method, Endpoint)])> {
    RESOURCES.iter().map(|resource| (resource.path, resource.allow, resource.methods))
}

/// The path in the table that this one is of.
pub(in crate::http) fn pattern_of(path: &str) -> Option<&'static str> {
    RESOURCES.iter().find(|resource| ids(resource.path, path).is_some()).map(|resource| resource.path)
}

/// `None` for an unknown path; for another method of a known one, those that are allowed. HEAD is answered as GET is, where that is allowed.
pub(super) fn find(path: &str, method: &Method) -> Option<Result<Found, &'static str>> {
    let (resource, ids) = RESOURCES.iter().find_map(|resource| Some((resource, ids(resource.path, path)?)))?;
    let head_is_allowed = resource.allow.contains("HEAD");
    let wanted = if *method == Method::HEAD && head_is_allowed { &Method::GET } else { method };
    let found = resource.methods.iter().find(|(method, _)| method == wanted);
    Some(found.map(|(_, endpoint)| Found { endpoint: *endpoint, ids }).ok_or(resource.allow))
}

fn ids(pattern: &str, path: &str) -> Option<Vec<String>> {
    let (mut expected, mut segments) = (pattern.split('/'), path.split('/'));
    let mut ids = Vec::new();
    loop {
        match (expected.next(), segments.next()) {
            (None, None) => return Some(ids),
            (Some("*"), Some(segment)) if !segment.is_empty() => ids.push(segment.to_owned()),
            (Some(expected), Some(segment)) if expected == segment => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_path_is_known_whole_or_not_at_all() {
        let found = find("/api/v1/qr/challenges/abc/scan", &Method::POST).unwrap().unwrap();
        assert_eq!(found, Found { endpoint: Endpoint::Scan, ids: vec!["abc".to_owned()] });
        for path in ["/api/v1/qr/challenges/", "/api/v1/qr/challenges//scan", "/api/v1/me/", "/api/v1/ME", "/api/v1"] {
            assert_eq!(find(path, &Method::GET), None, "{path}");
        }
    }

    #[test]
    fn another_method_of_a_known_path_is_told_the_right_ones() {
        assert_eq!(find("/api/v1/auth/login", &Method::GET), Some(Err("POST")));
        assert_eq!(find("/api/v1/qr/challenges/x", &Method::POST), Some(Err("GET, HEAD, DELETE")));
        assert_eq!(find("/api/v1/me", &Method::HEAD).unwrap().unwrap().endpoint, Endpoint::Me);
        assert_eq!(find("/api/v1/qr/challenges/x/events", &Method::HEAD), Some(Err("GET")));
    }

    #[test]
    fn the_allowed_methods_are_those_of_the_table() {
        for resource in RESOURCES {
            let listed = resource.methods.iter().map(|(method, _)| method.as_str());
            let allowed: Vec<&str> = resource.allow.split(", ").filter(|method| *method != "HEAD").collect();
            assert_eq!(listed.collect::<Vec<_>>(), allowed, "{}", resource.path);
        }
    }
}
