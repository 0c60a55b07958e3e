"""Everything the API offers, done at least once: what the functions' calls are recorded from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

from keystow.clock import iso
from keystow.egress.client import Answer
from keystow.secret import Secret
from keystow.sessions import public_keys
from tests.app import App
from tests.authorization_server import DEFINITION, AuthorizationServer, answer
from tests.infrastructure import refreshing, registering, signed_modes

if TYPE_CHECKING:
    from tests.infrastructure.recording import Deployed

ROT, KEY, CC, BASIC, OPEN = "rot", "key", "cc", "basic", "open"
STEPS = "steps"
HMAC_KEY = "key-of-hmacs"
HOOK = "https://hooks.example.com/keystow"
LOGIN = "https://user:password@hooks.example.com/keystow"


class Scenario:
    """Everything the API offers, done at least once, with what can go wrong on the way."""

    def __init__(self, running: Deployed) -> None:
        self.running = running
        self.server = AuthorizationServer()
        running.egress = self.server
        first = running.run("bootstrap_keys", {})
        running.run("bootstrap_keys", {})
        self.account = running.run("bootstrap_keys", {"rotate": True})["account_key"]
        self.app = App(running.context(), first["secret_key"])
        for step in (
            self.environments,
            self.providers_and_integrations,
            self.webhooks,
            self.sessions,
            self.typed,
            self.public_keys,
            self.popup,
            lambda: registering.go_through(self),
            lambda: signed_modes.use(self),
            self.steps,
            self.connections,
            self.confirmations,
            self.erasures,
            self.incidents,
            lambda: refreshing.refreshes(self),
            lambda: refreshing.checks(self),
            self.sockets,
            self.rewrapping,
            self.removals,
        ):
            step()

    def ok(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """Call on a day of its own, so that what is done once a day is done each time."""
        self.running.clock.advance(86_400)
        found = self.app.call(method, path, body, **options)
        assert found.status < 300, (method, path, found.status, found.body)
        return found.json() if found.body else None

    def refused(self, method: str, path: str, body: Any = None, **options: Any) -> None:
        found = self.app.call(method, path, body, **options)
        assert 400 <= found.status < 500, (method, path, found.status, found.body)

    def environments(self) -> None:
        for path in ("/health", "/ready"):
            self.ok("GET", path)
        self.refused("GET", "/nowhere")
        kept = {"variables": [{"name": "A", "value": "b"}]}
        for _under_a_new_data_key_and_under_one_that_is_there in range(2):
            assert self.app.put("/environment-variables", kept).status == 200
        self.ok("GET", "/environment-variables")
        looks = "/environment/connect-ui-settings"
        assert self.app.put(looks, {"defaultTheme": "dark"}).status == 200
        assert self.app.get(looks).status == 200
        self.ok("GET", "/environment/webhook-settings")
        self.ok("PUT", "/environment/webhook-settings", {"primary_url": LOGIN})
        assert (
            self.app.put("/environment/webhook-settings", {"primary_url": LOGIN}).status == 200
        )  # under a data key that is there
        self.ok("PUT", "/environment/webhook-settings", {"primary_url": HOOK})
        self.ok("POST", "/environment/webhook-signing-key/rotate")
        assert self.app.post("/environment/webhook-signing-key/rotate").status == 200
        made = self.ok("POST", "/environments", {"name": "more"}, key=self.account)["data"]["id"]
        body = {"environment_id": made, "display_name": "one"}
        key = self.ok("POST", "/environment/api-keys", body, key=self.account)["data"]
        other = {"provider": "unauthenticated", "unique_key": OPEN}
        self.ok("POST", "/integrations", other, key=key["secret"])
        self.ok("PUT", "/environment/webhook-settings", {"primary_url": HOOK}, key=key["secret"])
        user = {"end_user": {"id": "u"}}
        token = self.ok("POST", "/connect/sessions", user, key=key["secret"])["data"]["token"]
        path = f"/auth/unauthenticated/{OPEN}?connect_session_token={token}"
        assert self.app.post(path, key=None).status == 200
        credentials = {"provider_config_key": OPEN, "credentials": {"type": "NONE"}}
        self.ok("POST", "/connections", credentials, key=key["secret"])
        gone = {"environment_id": made, "key_id": key["id"]}
        second = {**body, "display_name": "two"}
        self.ok("POST", "/environment/api-keys", second, key=self.account)
        self.ok("DELETE", "/environment/api-keys", gone, key=self.account)
        (found,) = self.ok("GET", "/environments?name=more", key=self.account)["data"]
        place = f"/environments/{found['uuid']}"
        self.ok("PATCH", place, {"name": "renamed"}, key=self.account)
        self.ok("PATCH", place, {"webhook_signing_key": "k" * 32}, key=self.account)
        for listed in (f"{place}/api-keys", "/account/api-keys"):
            scope = "account:*" if listed.startswith("/account") else "environment:*"
            body = {"display_name": "third", "scopes": [scope]}
            uuid = self.ok("POST", listed, body, key=self.account)["data"]["uuid"]
            self.ok("GET", listed, key=self.account)
            self.ok("PATCH", f"{listed}/{uuid}", {"display_name": "3"}, key=self.account)
            self.ok("GET", f"{listed}/{uuid}", key=self.account)
            self.ok("DELETE", f"{listed}/{uuid}", key=self.account)
        self.ok("DELETE", f"/environments/{made}", key=self.account)
        self.running.queued("WebhookQueue")  # there is nobody left to hear of it

    def providers_and_integrations(self) -> None:
        inputs = {"connection_config": {"team": {"title": "Team", "optional": True}}}
        self.ok("PUT", "/providers/rotating", {**DEFINITION, **inputs})
        self.ok("PUT", "/providers/rotating", {**DEFINITION, **inputs, "display_name": "Again"})
        self.ok("PUT", "/providers/spare", DEFINITION)
        self.ok("DELETE", "/providers/spare")
        checked = {
            **{name: DEFINITION[name] for name in ("display_name", "categories", "docs")},
            "auth_mode": "API_KEY",
            "proxy": {
                "base_url": "https://rotating.example/api",
                "headers": {"x-key": "${apiKey}"},
            },
            **inputs,
        }
        self.ok("PUT", "/providers/checked", checked)
        flow = {**DEFINITION, "auth_mode": "OAUTH2_CC"}
        for name in ("authorization_url", "revocation_url", "issuer"):
            flow.pop(name)
        self.ok("PUT", "/providers/machine", flow)
        self.ok("PUT", "/providers/plain", {**checked, "auth_mode": "BASIC"})
        secret = {"type": "OAUTH2", "client_id": "id", "client_secret": "s", "scopes": "read"}
        self.ok(
            "POST",
            "/integrations",
            {
                "provider": "rotating",
                "unique_key": ROT,
                "credentials": secret,
                "custom": {"team": "ours"},
            },
        )
        self.refused("DELETE", "/providers/rotating")
        for provider, unique_key in (
            ("checked", KEY),
            ("machine", CC),
            ("plain", BASIC),
            ("unauthenticated", OPEN),
        ):
            self.ok("POST", "/integrations", {"provider": provider, "unique_key": unique_key})
        fixing = {"custom": {"team": "ours"}}
        for _under_a_new_data_key_and_under_one_that_is_there in range(2):
            assert self.app.patch(f"/integrations/{KEY}", fixing).status == 200
        self.ok("GET", "/integrations")
        self.ok("GET", f"/integrations/{ROT}?include=credentials")
        self.ok("GET", f"/config/{ROT}?include_creds=true")
        (dev,) = self.ok("GET", "/environments?name=dev", key=self.account)["data"]
        assert self.app.post(f"/webhook/{dev['uuid']}/{ROT}", {"a": 1}, key=None).status == 204
        self.ok("PATCH", f"/integrations/{ROT}", {"credentials": secret, "display_name": "R"})
        again = self.app.patch(f"/integrations/{ROT}", {"credentials": secret})
        assert again.status == 200, again.body
        self.ok("PATCH", f"/integrations/{BASIC}", {"unique_key": "renamed"})
        self.ok("PATCH", "/integrations/renamed", {"unique_key": BASIC})
        for path in ("/providers", "/providers/rotating", "/providers/github/templates"):
            self.ok("GET", path)

    def next_month(self) -> None:
        """The data keys of this month seal nothing more; whoever seals next makes new ones."""
        self.running.clock.advance(31 * 86_400)

    def session(self, **more: Any) -> str:
        user = {"id": "u1", "email": "u1@example.com"}
        made = self.ok("POST", "/connect/sessions", {"end_user": user, **more})
        return str(made["data"]["token"])

    def reconnecting(self, connection_id: str, integration: str = ROT) -> str:
        body = {"connection_id": connection_id, "integration_id": integration}
        return str(self.ok("POST", "/connect/sessions/reconnect", body)["data"]["token"])

    def sessions(self) -> None:
        token = self.session(allowed_integrations=[ROT])
        opening = "/connect/session?include=page"
        for path in ("/connect/session", opening, "/integrations", "/providers/rotating"):
            assert self.app.get(path, key=token).status == 200
        self.session(webhook_url_override=LOGIN)
        again = {"end_user": {"id": "u1"}, "webhook_url_override": LOGIN}
        made = self.app.post("/connect/sessions", again)  # under a data key that is there
        assert made.status == 201
        token = self.session()
        told = {"token": token, "event": "open", "timestamp": iso(self.running.clock.now())}
        assert self.app.post("/connect/telemetry", told, key=None).status == 204
        assert self.app.delete("/connect/session", key=token).status == 204

    def public_key(self, key: str) -> str:
        """The query of a browser that comes with a public key."""
        (dev,) = self.app.get("/environments?name=dev", key=self.account).json()["data"]
        signed = public_keys.digest(Secret(HMAC_KEY), key, None)
        return f"?public_key={dev['public_key']}&hmac={signed}"

    def public_keys(self) -> None:
        (dev,) = self.app.get("/environments?name=dev", key=self.account).json()["data"]
        place, wish = f"/environments/{dev['uuid']}", {"hmac_enabled": True, "hmac_key": HMAC_KEY}
        for _under_a_new_data_key_and_under_one_that_is_there in range(2):
            assert self.app.patch(place, wish, key=self.account).status == 200
        found = self.app.get(f"/oauth/connect/{ROT}{self.public_key(ROT)}", key=None)
        assert found.status == 302, found.body
        path = f"/api-auth/api-key/{KEY}{self.public_key(KEY)}"
        assert self.app.post(path, {"apiKey": "k" * 20}, key=None).status == 200
        assert self.app.patch(place, {"hmac_enabled": False}, key=self.account).status == 200

    def typed(self) -> None:
        made = {}
        for path, body in (
            (f"/api-auth/api-key/{KEY}", {"apiKey": "k" * 20}),
            (f"/api-auth/basic/{BASIC}", {"username": "u", "password": "p"}),
            (f"/auth/unauthenticated/{OPEN}", None),
            (f"/oauth2/auth/{CC}", {"client_id": "i", "client_secret": "s"}),
        ):
            query = f"?connect_session_token={self.session()}"
            for _under_a_new_data_key_and_under_one_that_is_there in range(2):
                found = self.app.post(f"{path}{query}", body, key=None)
                assert found.status == 200, (path, found.body)
            made[path] = found.json()["connectionId"]
        self.server.fault = lambda _number: answer(401, {"error": "invalid_client"})
        path = f"/oauth2/auth/{CC}"
        self.refused("POST", path + query, {"client_id": "i", "client_secret": "x"}, key=None)
        self.server.fault = None
        for path, body in (
            (f"/api-auth/api-key/{KEY}", {"apiKey": "n" * 20}),
            (f"/auth/unauthenticated/{OPEN}", None),
        ):
            again = self.reconnecting(made[path], path.rsplit("/", 1)[1])
            found = self.app.post(f"{path}?connect_session_token={again}", body, key=None)
            assert found.status == 200, found.body

    def steps(self) -> None:
        steps = {
            **{name: DEFINITION[name] for name in ("display_name", "categories", "docs")},
            "auth_mode": "TWO_STEP",
            "token_url": DEFINITION["token_url"],
            "body_format": "form",
            "token_params": {"grant_type": "client_credentials", "k": "${credentials.ours}"},
            "token_response": {"token": "access_token"},
            "proxy": {"base_url": "https://rotating.example/api"},
            "integration_config": {"ours": {"title": "Ours", "secret": True}},
        }
        self.ok("PUT", "/providers/steps", steps)
        ours = {"provider": "steps", "unique_key": STEPS, "integration_config": {"ours": "k" * 9}}
        self.ok("POST", "/integrations", ours)
        path = f"/auth/two-step/{STEPS}?connect_session_token={self.session()}"
        assert self.app.post(path, {}, key=None).status == 200
        given = {"provider_config_key": STEPS, "credentials": {"type": "TWO_STEP"}}
        self.ok("POST", "/connections", given)

    def popup(self) -> None:
        self.next_month()
        token = self.session()
        self.authorized(token)
        made = self.authorized(token)
        self.authorized(self.reconnecting(made))
        self.authorized(self.session(), code=None, error="access_denied")
        asked = {"connect_session_token": self.session(), "ws_client_id": self.socket()}
        self.refused("GET", f"/oauth/connect/nope?{urlencode(asked)}", key=None)
        self.refused("GET", "/oauth/callback?code=x&state=none", key=None)
        self.refused("GET", "/oauth/callback?code=begun-at-the-provider", key=None)

    def socket(self) -> str:
        """A browser's socket, and its public id."""
        self.running.run(
            "browser_socket",
            {"requestContext": {"routeKey": "$connect", "connectionId": "c1"}},
        )
        resource = self.running.aws.botocore("dynamodb")
        name = self.running.settings.sessions_table
        items = resource.scan(TableName=name)["Items"]
        ids = [each["pk"]["S"] for each in items if each["sk"]["S"] == "socket"]
        return str(ids[-1].rpartition("#")[2])

    def authorized(self, token: str, **back: Any) -> str:
        asked = {"connect_session_token": token, "ws_client_id": self.socket()}
        started = self.app.get(f"/oauth/connect/{ROT}?{urlencode(asked)}", key=None)
        assert started.status == 302, started.body
        (state,) = parse_qs(urlsplit(started.headers["location"]).query)["state"]
        name, _, value = started.cookies[0].split(";")[0].partition("=")
        given = {"code": "c", "iss": DEFINITION["issuer"], **back, "state": state}
        query = urlencode({name: text for name, text in given.items() if text})
        path = f"/oauth/callback?{query}"
        found = self.app.get(path, key=None, cookies={name: value})
        assert found.status == (400 if "error" in back else 200), found.body
        self.app.get(path, key=None, cookies={name: value})
        listed = self.app.get(f"/connections?integrationId={ROT}").json()["connections"]
        return str(listed[0]["connection_id"]) if listed else ""

    def imported(self, connection_id: str, life_s: float = -60, integration: str = ROT) -> str:
        body: dict[str, Any] = {
            "provider_config_key": integration,
            "connection_id": connection_id,
            "credentials": {
                "type": "OAUTH2",
                "access_token": "at",
                "refresh_token": self.server._current,
            },
            "end_user": {"id": "u1"},
        }
        self.server.family_dead = False
        self.next_month()
        body["credentials"]["expires_at"] = iso(self.running.clock.now() + life_s)
        body["webhook_url_override"] = LOGIN
        self.ok("POST", "/connections", body)
        assert self.app.post("/connections", body).status == 201  # under a data key that is there
        return f"/connections/{connection_id}?provider_config_key={integration}"

    def connections(self) -> None:
        place = self.imported("c1", 3600)
        self.imported("c1", 3600)
        legacy = {"provider_config_key": KEY, "connection_id": "c2", "api_key": "k" * 20}
        self.ok("POST", "/connection", legacy)
        self.ok("GET", place)
        for query in (
            *("", "?endUserId=u1", f"?integrationId={ROT}", f"?integrationId={ROT},{KEY}"),
            *("?connectionId=c1", "?search=c", "?tags[end_user_id]=u1", "?limit=1"),
        ):
            self.ok("GET", f"/connections{query}")
        self.ok("GET", "/connection-counts")
        self.ok("PATCH", place, {"tags": {"a": "b"}, "end_user": {"id": "u2"}})
        told = {"webhook_url_override": LOGIN}
        self.next_month()
        self.ok("PATCH", place, told)
        assert self.app.patch(place, told).status == 200  # under a data key that is there
        metadata = {"connection_id": ["c1"], "provider_config_key": ROT, "metadata": {"a": 1}}
        self.ok("POST", "/connections/metadata", metadata)
        self.ok("PATCH", "/connections/metadata", metadata)
        two = {**metadata, "connection_id": ["c1", "never"]}
        self.refused("PATCH", "/connections/metadata", two)
        self.ok("PATCH", f"/connection/c1/metadata?provider_config_key={ROT}", {"b": 2})
        self.ok("POST", f"/connection/c1/metadata?provider_config_key={ROT}", {"b": 2})
        self.refused("GET", f"/connections/never?provider_config_key={ROT}")
        self.ok("DELETE", place)

    def confirmations(self) -> None:
        """What waits for confirmation is confirmed, taken back, and not confirmed in time."""
        clock, day = self.running.clock, 86_400
        for _under_a_new_data_key_and_under_one_that_is_there in range(2):
            clock.set((clock.now() // day + 1) * day - 60)
            path = f"/connections/{self.pending(KEY)}/confirm?provider_config_key={KEY}"
            clock.advance(120)
            assert self.app.post(path).status == 200
            path = f"/connections/{self.pending(KEY)}/confirm?provider_config_key={KEY}"
            assert self.app.post(path).status == 200
            self.refused("POST", path)
        self.ok("DELETE", f"/connections/{self.pending(ROT)}?provider_config_key={ROT}")
        self.pending(ROT)
        self.running.clock.advance(16 * 60)
        refreshing.by_queue(self, "")

    def erasures(self) -> None:
        """An end user who has tried, has connected, waits, and had another's connection before."""
        place = self.imported("once-theirs", 3600)
        self.ok("PATCH", place, {"end_user": {"id": "somebody-else"}})
        self.authorized(self.session(), code=None, error="access_denied")
        self.imported("theirs", 3600)
        self.pending(KEY)
        self.ok("DELETE", "/end-users/u1")

    def pending(self, integration: str) -> str:
        """Connect in a session with ``confirm`` and return the connection id."""
        token = self.session(confirm=True)
        if integration == ROT:
            self.authorized(token)
            client = self.running.aws.botocore("dynamodb")
            items = client.scan(TableName=self.running.settings.connections_table)["Items"]
            (waiting,) = (each for each in items if each["sk"]["S"] == "connection#pending")
            return str(waiting["pk"]["S"].rpartition("#")[2])
        path = f"/api-auth/api-key/{integration}?connect_session_token={token}"
        made = self.app.post(path, {"apiKey": "k" * 20}, key=None)
        assert made.status == 200, made.body
        return str(made.json()["connectionId"])

    def webhooks(self) -> None:
        run, clock = self.running, self.running.clock
        for name in ("first", "second", "third"):
            self.imported(name, 3600)
        bodies = run.queued("WebhookQueue")
        server, statuses = self.server, iter([200, 500, 410])

        class Receiver:
            """Takes, fails and leaves, one after the other; then fails for good."""

            def send(self, *_: Any, **__: Any) -> Answer:
                return answer(next(statuses, 500), {})

        run.egress = Receiver()
        for body in bodies[:3]:
            run.deliver("send_webhook", [body])
        settings = {"primary_url": f"{HOOK}/again"}
        self.ok("PUT", "/environment/webhook-settings", settings)
        run.egress = server
        self.imported("told", 3600)
        run.egress = Receiver()
        for _attempt in range(12):
            run.deliver("send_webhook", run.queued("WebhookQueue"))
            clock.advance(25 * 3600)
            run.run("send_webhook", {})
        dead = run.queued("WebhookDeadLetters")
        assert dead
        run.deliver("send_webhook", dead[-1:])
        run.egress = server
        self.afterwards()

    def afterwards(self) -> None:
        """What people ask when something went wrong, and what they do about it."""
        for path in ("/webhook-deliveries", "/activity"):
            listed = self.ok("GET", f"{path}?limit=2")
            self.ok("GET", f"{path}?cursor={listed['next_cursor']}")
            self.ok("GET", f"{path}/{listed['data'][0]['id']}")
            self.refused("GET", f"{path}/nope")
        (failed, *_) = self.ok("GET", "/webhook-deliveries?state=failed")["data"]
        self.ok("POST", f"/webhook-deliveries/{failed['id']}/replay")

    def sockets(self) -> None:
        client_id = self.socket()
        job = {"acknowledge": {"client_id": client_id, "connection": "c1"}}
        self.running.run("browser_socket", job)
        for route in ("$default", "$disconnect"):
            context = {"routeKey": route, "connectionId": "c1"}
            self.running.run("browser_socket", {"requestContext": context})
        self.ok_page("/ui/connect/")

    def rewrapping(self) -> None:
        answered = self.running.run("rewrap_data_keys", {})
        assert answered["rewrapped"] > 0
        assert (answered["refused"], answered["next"]) == ([], None)

    def ok_page(self, path: str) -> None:
        assert self.app.get(path, key=None).status == 200

    def incidents(self) -> None:
        """One of each scope, of what is connected, waits, and has lost a race; looked after."""
        for scope in (
            {"provider_config_key": ROT},
            {"end_user_id": "u1"},
            {"environment": True},
        ):
            self.imported("leaked", 3600)
            self.pending(KEY)
            made = self.ok("POST", "/incidents", {**scope, "reason": "leaked"})["data"]
            # Another worker is late: the schedule hands over what is left.
            self.running.run("manage_environment", {})
            self.running.deliver("refresh_tokens", self.running.queued("RefreshQueue"))
            self.running.run("manage_environment", {})
            self.ok("GET", f"/incidents/{made['id']}?limit=1")
        self.ok("GET", "/incidents")
        self.authorized(self.session())  # what the removal of the integration meets

    def removals(self) -> None:
        for unique_key in (ROT, KEY, OPEN, BASIC, CC, refreshing.TRIED, STEPS):
            self.ok("DELETE", f"/integrations/{unique_key}")
        self.next_month()
        self.running.run("manage_environment", {})
        self.ok("DELETE", "/providers/rotating")
