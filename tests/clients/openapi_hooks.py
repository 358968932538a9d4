"""What schemathesis must know of this interface beyond its description: who it is, and how a creator proves itself.

Environment: ORINOCO_EMAIL and ORINOCO_PASSWORD of the account whose access token is sent; without them none is. Each login that a
request may end is one of its own.
"""

import base64
import hashlib
import os
import re

import requests
import schemathesis

EMAIL = os.environ.get("ORINOCO_EMAIL")
PASSWORD = os.environ.get("ORINOCO_PASSWORD")
TIMEOUT_S = 10
VERIFIER = "verifier-of-the-tester-" + "v" * 30
CODE_CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
SECRET = re.compile("[A-Za-z0-9_-]{43}")
ENDS_LOGINS = ("logOut", "logOutAll", "endSession", "changeUser")


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Answers hold nothing but what is described."""

    def close(schema):
        if isinstance(schema, dict):
            if "properties" in schema:
                schema.setdefault("additionalProperties", False)
            for part in schema.values():
                close(part)

    close(raw_schema["components"]["schemas"])


@schemathesis.hook
def map_body(context, body):
    """Challenges belong to the tester, and it knows its password: of what is in order nothing but the values changes."""
    label = context.operation.label
    if label == "POST /api/v1/qr/challenges" and isinstance(body, dict) and list(body) == ["codeChallenge"]:
        if isinstance(body["codeChallenge"], str) and SECRET.fullmatch(body["codeChallenge"]):
            return {"codeChallenge": CODE_CHALLENGE}
    if label == "POST /api/v1/auth/login" and EMAIL and isinstance(body, dict) and set(body) == {"email", "password"}:
        if all(isinstance(value, str) for value in body.values()):
            return {"email": EMAIL, "password": PASSWORD}
    return body


@schemathesis.auth(refresh_interval=None).apply_to(schemathesis.openapi.require_security_scheme("verifier"))
class Creator:
    def get(self, case, context):
        return VERIFIER

    def set(self, case, data, context):
        case.headers["Orinoco-Verifier"] = data


class Account:
    """Logs in once, and anew for what may end the login."""

    def __init__(self):
        self.token = None

    def get(self, case, context):
        if case.operation.definition.raw["operationId"] in ENDS_LOGINS:
            return self.log_in(case)
        if self.token is None:
            self.token = self.log_in(case)
        return self.token

    def log_in(self, case):
        url = f"{case.operation.base_url.rstrip('/')}/api/v1/auth/login"
        answer = requests.post(url, json={"email": EMAIL, "password": PASSWORD}, timeout=TIMEOUT_S)
        answer.raise_for_status()
        return answer.json()["accessToken"]

    def set(self, case, data, context):
        case.headers["Authorization"] = f"Bearer {data}"


if EMAIL:
    bearer = schemathesis.openapi.require_security_scheme("bearer")
    schemathesis.auth(refresh_interval=None).apply_to(bearer)(Account)
