//! A tree of two workers: one greets, and fails on request; the supervisor brings it back.
//!
//! `cargo run -p orinoco-supervision --example hello_tree`

use std::time::Duration;

use orinoco_supervision::{Actor, Catalog, Context, Failure, Group, Message, Plan, Reply, Tree};

const PLAN: &str = r#"
schema = 1

[defaults]
backoff = { min = "10ms", max = "1s" }

[[supervisor]]
id = "root"
strategy = "one_for_one"
intensity = 3
period = "10s"
children = [
  { id = "greeter", start = "Greeter" },
  { id = "visitor", start = "Visitor", restart = "transient" },
]
"#;

enum Greeting {
    Greet { name: String, reply: Reply<String> },
    Fail,
}

impl Message for Greeting {
    fn kind(&self) -> &'static str {
        match self {
            Self::Greet { .. } => "greet",
            Self::Fail => "fail",
        }
    }
}

struct Greeter;

impl Actor for Greeter {
    type Message = Greeting;
    type Arguments = &'static str;
    type State = String;

    async fn pre_start(&self, context: &Context<Greeting>, word: &'static str) -> Result<String, Failure> {
        println!("{} starts, incarnation {}", context.path(), context.incarnation());
        Ok(word.to_owned())
    }

    async fn handle(&self, _: &Context<Greeting>, message: Greeting, word: &mut String) -> Result<(), Failure> {
        match message {
            Greeting::Greet { name, reply } => reply.send(format!("{word}, {name}!")),
            Greeting::Fail => return Err("asked to fail".into()),
        }
        Ok(())
    }
}

/// Has no messages of its own: it works with others' addresses.
enum Never {}

impl Message for Never {
    fn kind(&self) -> &'static str {
        match *self {}
    }
}

struct Visitor;

impl Actor for Visitor {
    type Message = Never;
    type Arguments = Group<Greeting>;
    type State = ();

    async fn pre_start(&self, context: &Context<Never>, greeters: Group<Greeting>) -> Result<(), Failure> {
        let own_path = context.path().to_owned();
        let greeter = greeters.one();
        let (reply, answer) = Reply::pair();
        greeter.send(Greeting::Greet { name: own_path, reply }).await?;
        println!("{}", answer.await?);
        Ok(())
    }

    async fn handle(&self, _: &Context<Never>, message: Never, (): &mut ()) -> Result<(), Failure> {
        match message {}
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let mut catalog = Catalog::new();
    let greeters = catalog.group::<Greeting>("Greeter");
    catalog.actor("Greeter", || Greeter, |_instance| "Hello");
    let for_visitor = greeters.clone();
    catalog.actor("Visitor", || Visitor, move |_instance| for_visitor.clone());

    let plan = Plan::parse(PLAN, "hello_tree.toml")?;
    println!("{plan}");
    let tree = Tree::start(plan, catalog).await?;

    let greeter = greeters.one();
    greeter.send(Greeting::Fail).await?;
    while greeter.is_up() {
        tokio::task::yield_now().await;
    }
    greeter.up().await;
    let greet = |reply| Greeting::Greet { name: "again".to_owned(), reply };
    println!("{}", greeter.call(greet, Duration::from_secs(1)).await?);
    println!("{:?}", tree.shutdown().await);
    Ok(())
}
