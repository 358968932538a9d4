//! Login while a backend is away: it fails closed, and comes back by itself.

use std::time::Duration;

use serde_json::json;

use super::open;
use crate::support::{Mode, Socket, World, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn login_fails_closed_without_its_stores_and_streaming_goes_on() {
    let world = World::start(Mode::Services, open().own_kafka()).await;
    let services = world.services.as_ref().unwrap();
    let person = world.person().await;
    let device = world.device().await;
    device.move_to(&person.orin_id, 1.0, 2.0).await;
    let mut socket = Socket::open_as(world.daemon.ws_address(), "", &person.tokens.access).await.unwrap();
    let mut offset = socket.frame().await.offset;
    for backend in ["redis_qr", "postgres"] {
        let stopped = match backend {
            "redis_qr" => services.redis_qr.stop().await,
            _ => services.postgres.as_ref().unwrap().stop().await,
        };
        stopped.unwrap();
        let body = json!({"email": person.email, "password": person.password});
        let login = world.call("POST", "auth/login", "", Some(body.clone())).await;
        login.assert_problem(503);
        assert!(login.header("retry-after").is_some(), "{login:?}");
        if backend == "redis_qr" {
            world.call("POST", "qr/challenges", "", Some(json!({}))).await.assert_problem(503);
            world.refresh(&person.tokens.refresh).await.assert_problem(503);
        }
        until("/readyz to say so", async || {
            let answer = world.daemon.get("/readyz").await.ok()?;
            (answer.status == 503).then_some(())
        })
        .await;
        device.publish(&format!("devices/{}/coordX", person.orin_id), "5").await;
        let frame = socket.frame().await;
        assert_eq!(frame.offset, offset + 1, "streaming goes on");
        offset = frame.offset;
        let started = match backend {
            "redis_qr" => services.redis_qr.restart().await,
            _ => services.postgres.as_ref().unwrap().restart().await,
        };
        started.unwrap();
        world.daemon.wait_until_ready(Duration::from_secs(60)).await.unwrap();
        until("a login", async || {
            (world.call("POST", "auth/login", "", Some(body.clone())).await.status == 200).then_some(())
        })
        .await;
    }
}
