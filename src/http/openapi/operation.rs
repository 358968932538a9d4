//! One operation (OpenAPI 3.1, section 4.8.10), described step by step and written down at last.

use http::Method;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::answers::{BODILESS, Errors, common_headers, pragma};

/// Who is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Anyone,
    /// Whose coordinates they are; anyone where `stream.public` is true.
    Viewer,
    Account,
    Administrator,
    /// Who made the challenge.
    Creator,
}

pub(super) struct Operation {
    id: String,
    tag: &'static str,
    summary: &'static str,
    description: Option<&'static str>,
    errors: Errors,
    security: Value,
    parameters: Vec<Value>,
    body: Option<Value>,
    /// By status.
    answers: Map<String, Value>,
}

impl Operation {
    /// One whose errors are problems.
    pub(super) fn new(id: impl Into<String>, tag: &'static str, summary: &'static str) -> Self {
        let answers = Map::new();
        let operation = Self {
            id: id.into(),
            tag,
            summary,
            description: None,
            errors: Errors::Problems,
            security: json!([]),
            parameters: Vec::new(),
            body: None,
            answers,
        };
        // Whatever is asked for: a wrong head, a body that is too long, a mistake of the daemon.
        operation.errors(&[400, 413, 500])
    }

    /// One below `/oauth`.
    pub(super) fn oauth(id: &'static str, summary: &'static str) -> Self {
        let operation = Self { errors: Errors::OAuth, answers: Map::new(), ..Self::new(id, "OAuth", summary) };
        operation.errors(&[400, 408, 413, 415, 429, 500, 503])
    }

    /// One of `/api/v1` that asks the stores or the actors.
    pub(super) fn api(id: &'static str, tag: &'static str, summary: &'static str, access: Access) -> Self {
        let operation = Self::new(id, tag, summary).errors(&[408, 503]);
        match access {
            Access::Anyone => operation,
            Access::Viewer => operation.security(json!([{}, { "bearer": [] }])).errors(&[401, 403]),
            Access::Account => operation.security(json!([{ "bearer": [] }])).errors(&[401, 403]),
            Access::Administrator => {
                operation.security(json!([{ "bearer": [] }])).describe("For administrators.").errors(&[401, 403])
            }
            Access::Creator => operation
                .security(json!([{ "verifier": [] }, { "cookie": [] }]))
                .describe("For who made the challenge: for anyone else there is none (404).")
                .errors(&[404]),
        }
    }

    pub(super) fn describe(self, description: &'static str) -> Self {
        Self { description: Some(description), ..self }
    }

    pub(super) fn security(self, security: Value) -> Self {
        Self { security, ..self }
    }

    /// What stands in the place of `*` in its path.
    pub(super) fn path(self, name: &str, schema: Value) -> Self {
        self.parameter(json!({ "name": name, "in": "path", "required": true, "schema": schema }))
    }

    /// `limit` and `after` of a list.
    pub(super) fn page(self, after: Value) -> Self {
        let limit = json!({ "type": "integer", "format": "uint64", "minimum": 1, "maximum": u64::MAX, "default": 100 });
        let limit_says = "Entries of one answer; more than 1000 are not given.";
        self.parameter(json!({ "name": "limit", "in": "query", "description": limit_says, "schema": limit })).parameter(
            json!({ "name": "after", "in": "query", "description": "`next` of the page before.", "schema": after }),
        )
    }

    pub(super) fn parameter(mut self, parameter: Value) -> Self {
        self.parameters.push(parameter);
        self
    }

    /// A JSON object, as serde reads it.
    pub(super) fn json<T: JsonSchema>(self) -> Self {
        let body = json!({ "required": true, "content": { "application/json": { "schema": schema_of::<T>() } } });
        Self { body: Some(body), ..self }.errors(&[415])
    }

    /// The same; no body at all is an empty object.
    pub(super) fn optional_json<T: JsonSchema>(self) -> Self {
        let mut operation = self.json::<T>();
        if let Some(body) = &mut operation.body {
            body["required"] = false.into();
        }
        operation
    }

    pub(super) fn form(self, schema: Value) -> Self {
        let content = json!({ "application/x-www-form-urlencoded": { "schema": schema } });
        Self { body: Some(json!({ "required": true, "content": content })), ..self }
    }

    /// An answer in JSON.
    pub(super) fn answer(self, status: u16, description: &str, schema: Value) -> Self {
        self.typed(status, description, "application/json", schema)
    }

    pub(super) fn typed(self, status: u16, description: &str, content_type: &str, schema: Value) -> Self {
        self.contents(status, description, &[content_type], &schema)
    }

    /// An answer in one of some types.
    pub(super) fn contents(self, status: u16, description: &str, types: &[&str], schema: &Value) -> Self {
        let content = types.iter().map(|name| ((*name).to_owned(), json!({ "schema": schema })));
        let content: Map<String, Value> = content.collect();
        self.response(status, json!({ "description": description, "content": content }))
    }

    pub(super) fn empty(self, status: u16, description: &str) -> Self {
        self.response(status, json!({ "description": description }))
    }

    /// Errors that are no others than anywhere.
    pub(super) fn errors(mut self, statuses: &[u16]) -> Self {
        for status in statuses {
            self.answers.insert(status.to_string(), self.errors.reference(*status));
        }
        self
    }

    /// Beside those that every answer has.
    pub(super) fn header(mut self, status: u16, name: &str, header: Value) -> Self {
        self.answers[&status.to_string()]["headers"][name] = header;
        self
    }

    /// What can be done with the answer.
    pub(super) fn link(mut self, status: u16, name: &str, link: Value) -> Self {
        self.answers[&status.to_string()]["links"][name] = link;
        self
    }

    fn response(mut self, status: u16, mut response: Value) -> Self {
        response["headers"] = common_headers();
        if self.errors == Errors::OAuth {
            response["headers"]["Pragma"] = pragma();
        }
        self.answers.insert(status.to_string(), response);
        self
    }

    /// What stands for the one segment of its path that varies.
    pub(super) fn path_parameter(&self) -> String {
        let of_path = self.parameters.iter().find(|parameter| parameter["in"] == "path");
        let name = of_path.and_then(|parameter| parameter["name"].as_str()).unwrap_or_default();
        format!("{{{name}}}")
    }

    /// As it stands in the document.
    pub(super) fn write(self) -> Value {
        let mut written = json!({
            "operationId": self.id,
            "tags": [self.tag],
            "summary": self.summary,
            "security": self.security,
            "responses": self.answers,
        });
        if let Some(description) = self.description {
            written["description"] = description.into();
        }
        if !self.parameters.is_empty() {
            written["parameters"] = self.parameters.into();
        }
        if let Some(body) = self.body {
            written["requestBody"] = body;
        }
        written
    }
}

/// HEAD of a path, from its GET as it was written (RFC 9110, section 9.3.2).
pub(super) fn head_of(get: &Value) -> Value {
    let mut head = get.clone();
    let id = get["operationId"].as_str().unwrap_or_default();
    head["operationId"] = format!("{id}Head").into();
    head["summary"] = "As GET, without a body".into();
    if let Some(answers) = head["responses"].as_object_mut() {
        for answer in answers.values_mut() {
            *answer = json!({ "$ref": format!("#/components/responses/{BODILESS}") });
        }
    }
    head
}

/// The key of a method in a path item.
pub(super) fn key(method: &Method) -> String {
    method.as_str().to_ascii_lowercase()
}

/// What serde reads, as JSON Schema 2020-12, which is that of OpenAPI 3.1.
fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    // That a member may be left out says `required` alone: null is not always the same.
    let members = schema["properties"].as_object_mut().into_iter().flat_map(|members| members.values_mut());
    members.filter_map(Value::as_object_mut).for_each(|member| drop(member.remove("default")));
    schema
}
