//! The web console's paths. What is behind them is looked at by a browser: tests/front_door/console.rs.

use orinoco_domain::account::Role;
use serde_json::json;

use super::{login::Api, world::get};

#[tokio::test]
async fn its_pages_are_those_of_the_list_and_other_paths_stay_unknown() {
    let api = Api::open().await;
    for path in ["/", "/qr?challengeId=x", "/admin/actors"] {
        let page = api.send("GET", path, "", None).await;
        // A checkout without the built console has none to show, and says so.
        assert!([200, 503].contains(&page.status), "{path}: {page:?}");
        let refused = api.send("POST", path, "", None).await;
        assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")), "{path}");
    }
    for path in ["/qr/", "/admin", "/index.html", "/assets/none.js", "/assets/..%2findex.html", "/assets/.gitignore"] {
        let unknown = api.send("GET", path, "", None).await;
        assert_eq!(unknown.status, 404, "{path}");
        unknown.detail();
    }
}

#[tokio::test]
async fn it_is_told_where_the_socket_is_by_the_host_that_it_was_asked_of() {
    let api = Api::open().await;
    let about = get(&api.place, "/api/v1/console").await;
    let expected = json!({
        "publicUrl": "http://127.0.0.1:8090",
        "socketUrl": "ws://localhost:8081/connection/websocket",
        "streamPublic": true,
        "signup": "open",
        "version": env!("CARGO_PKG_VERSION"),
    });
    assert_eq!((about.status, about.json()), (200, expected));
}

#[tokio::test]
async fn an_actor_is_killed_by_administrators_alone() {
    let api = Api::open().await;
    api.world.login.account("root@example.org", &[Role::Admin]).await;
    api.world.login.account("ada@example.org", &[Role::User]).await;
    let (admin, user) = (api.log_in("root@example.org").await, api.log_in("ada@example.org").await);
    let kill = json!({ "path": "root/registry" });
    let path = "/api/v1/admin/actors/kill";
    assert_eq!(api.with_token("POST", path, &user.access, Some(&kill)).await.status, 403);
    // Of this port there is no tree, as while a daemon starts.
    assert_eq!(api.with_token("POST", path, &admin.access, Some(&kill)).await.status, 503);
}
