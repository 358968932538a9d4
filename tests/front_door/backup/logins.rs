//! Accounts and logins over a restore.

use super::{archive, back_up, restored, start};
use crate::support::{Tokens, World};

async fn refreshed(world: &World, token: &str) -> Tokens {
    Tokens::of(&world.refresh(token).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_of_the_backup_go_on_and_nothing_given_out_since_is_taken_for_something_else() {
    let world = start().await;
    let person = world.person().await;
    let (kept, rotated, presented_late) = (
        person.tokens.clone(),
        world.log_in(&person.email, &person.password).await,
        world.log_in(&person.email, &person.password).await,
    );
    let (browser, otc) = world.approved(&kept).await;
    let saved = archive(&world, "saved.tar");
    back_up(&world, &saved);

    // Since then: two logins rotated twice, an approved challenge exchanged, an account made.
    let mut newest = Vec::new();
    for tokens in [&rotated, &presented_late] {
        let next = refreshed(&world, &tokens.refresh).await;
        newest.push(refreshed(&world, &next.refresh).await);
    }
    assert_eq!(browser.exchange(world.daemon.http_address(), &otc).await.status, 200);
    let stranger = world.person().await;
    world.daemon.kill().unwrap();

    let world = restored(&world, &saved).await;
    world.log_in(&person.email, &person.password).await;
    // A login of the backup goes on: its token works, and what it gives works.
    let next = refreshed(&world, &kept.refresh).await;
    let me = world.call("GET", "me", &next.access, None).await;
    assert_eq!((me.status, me.json()["email"].as_str()), (200, Some(person.email.as_str())));
    refreshed(&world, &next.refresh).await;
    // A token given out since shows that the one of the backup was used up: its login ends, whoever comes first.
    assert_eq!(world.refresh(&newest[0].refresh).await.status, 401);
    assert_eq!(world.refresh(&rotated.refresh).await.status, 401, "a replay of a token that was used up");
    let replayed = refreshed(&world, &presented_late.refresh).await;
    assert_eq!(world.refresh(&newest[1].refresh).await.status, 401);
    assert_eq!(world.refresh(&replayed.refresh).await.status, 401, "what the replay gave");
    // Of others' logins nothing is felt.
    refreshed(&world, &next.refresh).await;

    for access in [&kept.access, &newest[0].access, &stranger.tokens.access] {
        assert_eq!(world.call("GET", "me", access, None).await.status, 401, "signed before the restore");
    }
    assert_eq!(world.refresh(&stranger.tokens.refresh).await.status, 401);
    let id_of = async |tokens: &Tokens| {
        world.call("GET", "me", &tokens.access, None).await.json()["id"].as_str().unwrap().parse::<i64>().unwrap()
    };
    let newcomer = world.person().await;
    assert!(id_of(&newcomer.tokens).await > id_of(&next).await + (1 << 20), "the stranger's id is not given again");
    assert_eq!(browser.exchange(world.daemon.http_address(), &otc).await.status, 404, "it was exchanged");
}
