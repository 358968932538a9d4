//! The description as a page: plain HTML that opens and closes by itself, so that it needs no script, and nothing but itself is loaded.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

const STYLE: &str = include_str!("page.css");

pub(super) struct Page {
    pub(super) html: String,
    /// Its Content-Security-Policy: this style and nothing else.
    pub(super) policy: String,
}

pub(super) fn render(document: &Value) -> Page {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let mut groups: Vec<(&str, String)> = Vec::new();
    for (path, item) in entries(&document["paths"]) {
        for (method, operation) in entries(item).filter(|(method, _)| *method != "head") {
            let tag = text(&operation["tags"][0]);
            let head = if item.get("head").is_some() && method == "get" { ", HEAD" } else { "" };
            let shown = shown_operation(path, method, head, operation);
            match groups.iter_mut().find(|(name, _)| *name == tag) {
                Some((_, group)) => group.push_str(&shown),
                None => groups.push((tag, shown)),
            }
        }
    }
    let html = whole(document, &groups);
    Page { html, policy }
}

fn whole(document: &Value, groups: &[(&str, String)]) -> String {
    let info = &document["info"];
    let (title, version) = (escaped(text(&info["title"])), escaped(text(&info["version"])));
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}: HTTP interface</title><style>{STYLE}</style></head><body><h1>{title} {version}</h1><p>{}</p><nav>\
         <a href=\"/openapi.json\">openapi.json</a><a href=\"/asyncapi.json\">asyncapi.json</a>",
        marked(text(&info["description"]))
    );
    let names = groups.iter().map(|(name, _)| *name).chain(["Ways to authenticate", "Schemas"]);
    for name in names {
        // A String takes whatever is written.
        let _ = write!(html, "<a href=\"#{}\">{}</a>", anchor(name), escaped(name));
    }
    html.push_str("</nav>");
    for (name, group) in groups {
        let _ = write!(html, "<h2 id=\"{}\">{}</h2>{group}", anchor(name), escaped(name));
    }
    let components = &document["components"];
    for (name, part) in [("Ways to authenticate", "securitySchemes"), ("Schemas", "schemas")] {
        let _ = write!(html, "<h2 id=\"{}\">{name}</h2>", anchor(name));
        for (name, schema) in entries(&components[part]) {
            let name = escaped(name);
            let _ = write!(
                html,
                "<details id=\"{part}-{name}\"><summary><code>{name}</code></summary><div>{}</div></details>",
                pretty(schema)
            );
        }
    }
    html.push_str("</body></html>");
    html
}

fn shown_operation(path: &str, method: &str, head: &str, operation: &Value) -> String {
    let mut html = format!(
        "<details id=\"{}\"><summary><span class=\"method {method}\">{}</span> <code>{}</code> <span class=\"quiet\">{}</span></summary><div>",
        escaped(text(&operation["operationId"])),
        method.to_ascii_uppercase() + head,
        escaped(path),
        marked(text(&operation["summary"])),
    );
    if let Some(description) = operation["description"].as_str() {
        let _ = write!(html, "<p>{}</p>", marked(description));
    }
    let _ = write!(html, "<p class=\"quiet\">{}</p>", escaped(&who(&operation["security"])));
    if let Some(parameters) = operation["parameters"].as_array() {
        html.push_str("<h3>Parameters</h3><table>");
        for parameter in parameters {
            let _ = write!(
                html,
                "<tr><td><code>{}</code></td><td>{}</td><td><code>{}</code></td><td>{}</td></tr>",
                escaped(text(&parameter["name"])),
                escaped(text(&parameter["in"])),
                escaped(&parameter["schema"].to_string()),
                marked(text(&parameter["description"])),
            );
        }
        html.push_str("</table>");
    }
    if operation.get("requestBody").is_some() {
        let _ = write!(html, "<h3>Body</h3>{}", contents(&operation["requestBody"]["content"]));
    }
    html.push_str("<h3>Answers</h3><table>");
    for (status, answer) in entries(&operation["responses"]) {
        let _ = write!(html, "<tr><td><b>{status}</b></td><td>{}</td></tr>", shown_answer(answer));
    }
    html.push_str("</table></div></details>");
    html
}

/// Those that are none of this operation's own are only named.
fn shown_answer(answer: &Value) -> String {
    match answer["$ref"].as_str() {
        Some(reference) => format!("<span class=\"quiet\">{}</span>", escaped(last(reference))),
        None => format!("{}{}", marked(text(&answer["description"])), contents(&answer["content"])),
    }
}

fn contents(content: &Value) -> String {
    let shown = entries(content).map(|(name, content)| {
        let schema = &content["schema"];
        let shown = match schema["$ref"].as_str() {
            Some(reference) => {
                let name = escaped(last(reference));
                format!("<a href=\"#schemas-{name}\">{name}</a>")
            }
            None if schema.as_object().is_some_and(serde_json::Map::is_empty) => String::new(),
            None => pretty(schema),
        };
        format!(" <code>{}</code> {shown}", escaped(name))
    });
    shown.collect()
}

fn who(security: &Value) -> String {
    let ways: Vec<&str> = security.as_array().into_iter().flatten().flat_map(entries).map(|(name, _)| name).collect();
    let anyone = security
        .as_array()
        .is_none_or(|ways| ways.is_empty() || ways.iter().any(|way| way == &Value::Object(serde_json::Map::new())));
    match (ways.is_empty(), anyone) {
        (true, _) => "Needs no authentication.".to_owned(),
        (false, true) => format!("Authentication where the daemon wants it: {}.", ways.join(" or ")),
        (false, false) => format!("Authentication: {}.", ways.join(" or ")),
    }
}

fn entries(object: &Value) -> impl Iterator<Item = (&str, &Value)> {
    object.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn last(reference: &str) -> &str {
    reference.rsplit('/').next().unwrap_or_default()
}

fn anchor(name: &str) -> String {
    name.to_ascii_lowercase().replace(' ', "-")
}

fn pretty(value: &Value) -> String {
    format!("<pre>{}</pre>", escaped(&serde_json::to_string_pretty(value).unwrap_or_default()))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Escaped, with what stands between backticks as code.
fn marked(text: &str) -> String {
    let escaped = escaped(text);
    let parts = escaped.split('`').enumerate();
    parts.map(|(number, part)| if number % 2 == 1 { format!("<code>{part}</code>") } else { part.to_owned() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_description_says_is_text_and_no_markup() {
        assert_eq!(marked("`<b>` & \"x\""), "<code>&lt;b&gt;</code> &amp; &quot;x&quot;");
    }

    #[test]
    fn the_page_shows_each_operation_and_allows_its_own_style_alone() {
        let document = crate::http::openapi::document("c");
        let page = render(&document);
        assert!(
            !page.html.contains("<script") && !page.html.contains("style=\"") && page.html.contains("id=\"logIn\"")
        );
        assert!(page.policy.starts_with("default-src 'none'; style-src 'sha256-"));
        let shown = page.html.matches("<span class=\"method ").count();
        let heads = |item: &Value| usize::from(item.get("head").is_some());
        let operations: usize = entries(&document["paths"]).map(|(_, item)| entries(item).count() - heads(item)).sum();
        assert_eq!(shown, operations);
    }
}
