//! People: accounts, browsers that ask for a login, phones that answer.

use std::io;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use orinoco_testkit::unique_name;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use super::{Answer, World, exchange_http, within};

/// Access and refresh token of one login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

/// Somebody with an account, logged in by password.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) email: String,
    pub(crate) password: String,
    pub(crate) orin_id: String,
    pub(crate) tokens: Tokens,
}

/// A browser without a login that has asked for one.
#[derive(Debug, Clone)]
pub(crate) struct Browser {
    pub(crate) verifier: String,
    pub(crate) id: String,
    pub(crate) nonce: String,
    /// The answer to its request.
    pub(crate) created: Value,
}

/// A running `text/event-stream`.
pub(crate) struct Events {
    lines: BufReader<TcpStream>,
    /// `id` of the last event.
    pub(crate) last_id: String,
}

impl Tokens {
    pub(crate) fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "{answer:?}");
        let body = answer.json();
        assert_eq!(body["tokenType"], "Bearer", "{body}");
        assert!(body["expiresIn"].as_u64().is_some_and(|seconds| seconds > 0), "{body}");
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        Self { access: text("accessToken"), refresh: text("refreshToken") }
    }
}

/// One call of the API below `/api/v1`. `token` is sent as a bearer token where it is not empty.
pub(crate) async fn call(address: &str, method: &str, path: &str, token: &str, body: Option<Value>) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str())];
    let headers = if token.is_empty() { &headers[..0] } else { &headers[..] };
    exchange_http(address, method, &format!("/api/v1/{path}"), headers, body.map(|body| body.to_string())).await
}

impl World {
    pub(crate) async fn call(&self, method: &str, path: &str, token: &str, body: Option<Value>) -> Answer {
        call(self.daemon.http_address(), method, path, token, body).await
    }

    /// Signs up somebody with a device of its own, and logs in.
    pub(crate) async fn person(&self) -> Person {
        let (email, password) = (format!("{}@example.org", unique_name("person")), unique_name("password"));
        let orin_id = unique_name("d");
        let body = json!({"email": email, "password": password, "orinId": orin_id});
        let answer = self.call("POST", "auth/signup", "", Some(body)).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let tokens = self.log_in(&email, &password).await;
        Person { email, password, orin_id, tokens }
    }

    /// Somebody who was made an administrator by `orinoco user add`.
    pub(crate) async fn administrator(&self) -> Person {
        let (email, password) = (format!("{}@example.org", unique_name("admin")), unique_name("password"));
        let output = self.command_with_input(&["user", "add", "--email", &email, "--admin"], &password);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let tokens = self.log_in(&email, &password).await;
        Person { email, password, orin_id: String::new(), tokens }
    }

    pub(crate) async fn log_in(&self, email: &str, password: &str) -> Tokens {
        Tokens::of(&self.call("POST", "auth/login", "", Some(json!({"email": email, "password": password}))).await)
    }

    pub(crate) async fn refresh(&self, token: &str) -> Answer {
        self.call("POST", "auth/refresh", "", Some(json!({"refreshToken": token}))).await
    }

    /// A browser that shows a QR code.
    pub(crate) async fn browser(&self) -> Browser {
        let verifier = format!("{}-{}", unique_name("verifier"), "v".repeat(30));
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier));
        let answer = self.call("POST", "qr/challenges", "", Some(json!({"codeChallenge": challenge}))).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let created = answer.json();
        let text = |name: &str| created[name].as_str().unwrap().to_owned();
        Browser { verifier, id: text("challengeId"), nonce: text("nonce"), created }
    }

    /// What a phone does with a challenge: `scan`, `approve` or `deny`.
    pub(crate) async fn phone(&self, tokens: &Tokens, browser: &Browser, action: &str) -> Answer {
        phone(self.daemon.http_address(), tokens, browser, action).await
    }

    /// A challenge that was scanned and approved; its otc.
    pub(crate) async fn approved(&self, tokens: &Tokens) -> (Browser, String) {
        let browser = self.browser().await;
        for action in ["scan", "approve"] {
            let answer = self.phone(tokens, &browser, action).await;
            assert!((200..300).contains(&answer.status), "{action}: {answer:?}");
        }
        let otc = browser.poll(self.daemon.http_address()).await.json()["otc"].as_str().unwrap().to_owned();
        (browser, otc)
    }
}

pub(crate) async fn phone(address: &str, tokens: &Tokens, browser: &Browser, action: &str) -> Answer {
    let body = (action == "scan").then(|| json!({"nonce": browser.nonce}));
    call(address, "POST", &format!("qr/challenges/{}/{action}", browser.id), &tokens.access, body).await
}

impl Browser {
    async fn request(&self, address: &str, method: &str, action: &str, body: Option<Value>) -> Answer {
        let path = format!("/api/v1/qr/challenges/{}{action}", self.id);
        let headers = [("Orinoco-Verifier", self.verifier.as_str())];
        exchange_http(address, method, &path, &headers, body.map(|body| body.to_string())).await
    }

    pub(crate) async fn poll(&self, address: &str) -> Answer {
        self.request(address, "GET", "", None).await
    }

    pub(crate) async fn status(&self, address: &str) -> String {
        let answer = self.poll(address).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["status"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn cancel(&self, address: &str) -> Answer {
        self.request(address, "DELETE", "", None).await
    }

    pub(crate) async fn exchange(&self, address: &str, otc: &str) -> Answer {
        self.request(address, "POST", "/exchange", Some(json!({"otc": otc}))).await
    }

    /// Opens the stream of its events.
    ///
    /// # Errors
    /// The status, where it is not a stream.
    pub(crate) async fn events(&self, address: &str) -> Result<Events, u16> {
        self.events_after(address, "").await
    }

    /// As a browser that connects again, with the `id` of the last event it saw.
    ///
    /// # Errors
    /// The status, where it is not a stream.
    pub(crate) async fn events_after(&self, address: &str, last_id: &str) -> Result<Events, u16> {
        within("an event stream", self.try_events_after(address, last_id)).await.unwrap()
    }

    /// As [`Browser::events_after`], where there may be nobody to answer.
    ///
    /// # Errors
    /// Nobody listens, or the connection ended before the stream began.
    pub(crate) async fn try_events_after(&self, address: &str, last_id: &str) -> io::Result<Result<Events, u16>> {
        let mut stream = TcpStream::connect(address).await?;
        // HTTP/1.0: the body is not chunked.
        let request = format!(
            "GET /api/v1/qr/challenges/{}/events HTTP/1.0\r\nHost: {address}\r\nAccept: text/event-stream\r\n\
            Orinoco-Verifier: {}\r\nLast-Event-ID: {last_id}\r\n\r\n",
            self.id, self.verifier
        );
        stream.write_all(request.as_bytes()).await?;
        let mut lines = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if lines.read_line(&mut head).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        if status != 200 {
            return Ok(Err(status));
        }
        let head = head.to_lowercase();
        for header in ["content-type: text/event-stream", "cache-control: no-store", "x-accel-buffering: no"] {
            assert!(head.contains(header), "{head}");
        }
        Ok(Ok(Events { lines, last_id: String::new() }))
    }
}

impl Events {
    /// Data of the next `status` event; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        within("an event", async {
            let (mut event, mut data) = (String::new(), String::new());
            loop {
                let mut line = String::new();
                if self.lines.read_line(&mut line).await.unwrap_or(0) == 0 {
                    return None;
                }
                match line.trim_end() {
                    "" if !data.is_empty() => {
                        assert_eq!(event, "status");
                        return Some(serde_json::from_str(&data).unwrap());
                    }
                    line => {
                        if let Some(value) = line.strip_prefix("event:") {
                            event = value.trim().to_owned();
                        } else if let Some(value) = line.strip_prefix("data:") {
                            data.push_str(value.trim());
                        } else if let Some(value) = line.strip_prefix("id:") {
                            value.trim().clone_into(&mut self.last_id);
                        }
                    }
                }
            }
        })
        .await
    }

    /// Waits for an event of this status; others before it are passed over.
    pub(crate) async fn until(&mut self, status: &str) -> Value {
        loop {
            let event = self.next().await.unwrap_or_else(|| panic!("the stream ended before {status}"));
            if event["status"] == status {
                return event;
            }
        }
    }
}
