"""A device that logs in by OAuth's device grant, with Authlib as its client: oauth_authlib.py ISSUER

Writes a JSON object a line: first what a person has to type in, then it reads a line when that was approved; at last what each step gave.
Any surprise ends it with a traceback.
"""

import json
import sys
import time

from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata

CLIENT_ID = "orinoco-cli"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
TIMEOUT_S = 10
POLLS_MAX = 10


def say(**event):
    print(json.dumps(event), flush=True)


def discover(client, issuer):
    answer = client.get(f"{issuer}/.well-known/oauth-authorization-server", withhold_token=True, timeout=TIMEOUT_S)
    answer.raise_for_status()
    metadata = AuthorizationServerMetadata(answer.json())
    metadata.validate()
    assert metadata["issuer"] == issuer, metadata
    return metadata


def log_in(client, metadata):
    endpoint = metadata["device_authorization_endpoint"]
    answer = client.post(endpoint, data={"client_id": CLIENT_ID}, withhold_token=True, timeout=TIMEOUT_S)
    answer.raise_for_status()
    asked = answer.json()
    polls, interval = [], asked["interval"]
    while len(polls) < POLLS_MAX:
        try:
            code = asked["device_code"]
            token = client.fetch_token(metadata["token_endpoint"], grant_type=DEVICE_GRANT, device_code=code)
            return token, polls
        except OAuthError as error:
            assert error.error in ("authorization_pending", "slow_down"), error
            polls.append(error.error)
        if polls[-1] == "slow_down":
            interval += 5
            time.sleep(interval)
        elif "slow_down" in polls:
            # Only now may it be approved, so that all that came before is known. What waits no more needs no pause.
            say(user_code=asked["user_code"])
            sys.stdin.readline()
        # Else it is too early, until that is said.
    raise TimeoutError("nobody approved")


def main(issuer):
    client = OAuth2Session(CLIENT_ID, token_endpoint_auth_method="none", revocation_endpoint_auth_method="none")
    metadata = discover(client, issuer)
    first, polls = log_in(client, metadata)
    me = client.get(f"{issuer}/api/v1/me", timeout=TIMEOUT_S).json()
    second = client.refresh_token(metadata["token_endpoint"], refresh_token=first["refresh_token"])
    assert second["refresh_token"] != first["refresh_token"]

    def introspect(token):
        # The endpoint wants a bearer token, which Authlib's own session sends with any request.
        answer = client.post(metadata["introspection_endpoint"], data={"token": token}, timeout=TIMEOUT_S)
        answer.raise_for_status()
        return answer.json()

    introspected = [introspect(second["access_token"]), introspect(second["refresh_token"])]
    revoked = client.revoke_token(metadata["revocation_endpoint"], token=second["refresh_token"])
    after = client.get(f"{issuer}/api/v1/me", timeout=TIMEOUT_S)
    try:
        client.refresh_token(metadata["token_endpoint"], refresh_token=second["refresh_token"])
        refused = None
    except OAuthError as error:
        refused = error.error
    say(
        polls=polls,
        me=me,
        introspected=introspected,
        revoked=revoked.status_code,
        after=after.status_code,
        refused=refused,
    )


main(sys.argv[1])
