"""A demo OAuth 2.0 authorization server with rotation, reuse detection and switchable faults.

It stands in for "another company's API" on one machine. ``python -m local.demo.provider --port
4510 --state .local/demo-provider`` runs it alone.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import contextlib
import ipaddress
import json
import logging
import secrets
import signal
import socket
import threading
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import InvalidRequestError
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant, RefreshTokenGrant
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc9207 import IssuerParameter
from flask import Flask, Response, g, jsonify, render_template, request
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler, make_server

from local.demo.definitions import DEMO_KEYS, api_key_provider_definition, provider_definition
from local.demo.provider_store import Code, Store, Token, fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "DEMO_KEYS",
    "Faults",
    "RunningProvider",
    "api_key_provider_definition",
    "create_provider",
    "provider_definition",
    "serve",
    "start",
]

ACCOUNTS = {
    "ada": {"name": "Ada Lovelace", "email": "ada@demo.example", "team": "Engines"},
    "grace": {"name": "Grace Hopper", "email": "grace@demo.example", "team": "Compilers"},
    "katherine": {"name": "Katherine Johnson", "email": "katherine@demo.example", "team": "Orbits"},
}
ACCESS_LIFE_S = 120
DRIP_PAUSE_S = 1.0


@dataclass
class Faults:
    """What goes wrong on the token endpoint, and how often.

    ``token_delay_s`` waits after the tokens were rotated, before the answer; ``delay_before_s``
    waits before anything happens. ``drop_after_rotation`` (a count) rotates and then cuts the
    line without an answer; ``status_after_rotation`` rotates and answers that status. ``status``
    answers a status and rotates nothing. ``expires_in`` puts any value in the answer.
    ``grant_type`` narrows all of it to one grant, ``remaining`` to so many requests.
    """

    token_delay_s: float = 0
    delay_before_s: float = 0
    drop_after_rotation: int = 0
    status: int = 0
    status_after_rotation: int = 0
    retry_after: int = 0
    invalid_grant: bool = False
    slow_drip: bool = False
    not_json: bool = False
    redirect: bool = False
    no_expires_in: bool = False
    expires_in: Any = None
    no_refresh_token: bool = False
    empty_refresh_token: bool = False
    fewer_scopes: bool = False
    grant_type: str = ""
    remaining: int | None = None


class _Switchboard:
    """The faults that are on; every token request takes its share."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults = Faults()

    def set(self, wanted: dict[str, Any]) -> Faults:
        """Turn faults on; ``{"reset": true}`` first turns all off. Raises ValueError."""
        wanted = dict(wanted)
        with self._lock:
            if wanted.pop("reset", False):
                self._faults = Faults()
            unknown = set(wanted) - {field.name for field in fields(Faults)}
            if unknown:
                raise ValueError(f"unknown faults: {', '.join(sorted(unknown))}")
            self._faults = Faults(**{**asdict(self._faults), **wanted})
            return self._faults

    def current(self) -> Faults:
        """Return what is on now."""
        with self._lock:
            return Faults(**asdict(self._faults))

    def take(self, grant_type: str) -> Faults:
        """Return the faults of one request, counting down those that are counted."""
        with self._lock:
            on = self._faults
            if (on.grant_type and on.grant_type != grant_type) or on.remaining == 0:
                return Faults()
            taken = Faults(**asdict(on))
            if on.remaining is not None:
                on.remaining -= 1
            if on.drop_after_rotation:
                on.drop_after_rotation -= 1
            return taken


def create_provider(  # noqa: C901, PLR0915 - one small closure per endpoint reads best together
    state_dir: Path,
    *,
    base_url: str,
    access_life_s: float = ACCESS_LIFE_S,
    rotate: bool = True,
) -> Flask:
    """Return the demo provider as a WSGI application.

    Args:
        state_dir: where its SQLite file lives (made with mode 0700).
        base_url: its own address, which is also its issuer (RFC 9207, RFC 8414).
        access_life_s: how long access tokens live, in seconds.
        rotate: whether refreshing gives a new refresh token and ends the old one.
    """
    app = Flask("local.demo", template_folder=str(Path(__file__).parent / "templates"))
    store = Store(state_dir)
    faults = _Switchboard()
    server = AuthorizationServer(
        app,
        query_client=store.client,
        save_token=lambda token, asked: _save(store, token, asked, access_life_s),
    )
    server.scopes_supported = ["profile", "offline", "files:read"]
    server.register_token_generator("default", _generator(access_life_s))
    server.register_grant(_code_grant(store), [_PkceS256(required=True)])
    server.register_grant(_refresh_grant(store, rotate=rotate))
    server.register_endpoint(_revocation(store))
    server.register_extension(_issuer(base_url))
    app.extensions["demo_store"] = store

    @app.before_request
    def guard() -> Response | None:
        if request.host != urlsplit(base_url).netloc:
            return _json({"error": "unknown host"}, 421)  # rebound DNS names stay outside
        if request.path in {"/faults", "/log", "/register"} and not _is_local(base_url):
            return _json({"error": "only for this machine"}, 403)
        return None

    @app.after_request
    def harden(response: Response) -> Response:
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cache-Control"] = "no-store"
        allowed = " ".join(("'self'", *getattr(g, "form_targets", ())))
        response.headers["Content-Security-Policy"] = (
            "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
            f"frame-ancestors 'none'; form-action {allowed}"
        )
        return response

    @app.get("/")
    def home() -> str:
        return render_template(
            "home.html",
            keys={key: ACCOUNTS[account] for key, account in DEMO_KEYS.items()},
            entries=store.entries()[-20:][::-1],
            clock=lambda when: time.strftime("%H:%M:%S", time.localtime(when)),
            life=int(access_life_s),
        )

    @app.get("/.well-known/oauth-authorization-server")
    def metadata() -> Response:
        methods = ["client_secret_basic", "client_secret_post"]
        return jsonify(
            issuer=base_url,
            authorization_endpoint=f"{base_url}/authorize",
            token_endpoint=f"{base_url}/token",
            revocation_endpoint=f"{base_url}/revoke",
            registration_endpoint=f"{base_url}/register",
            response_types_supported=["code"],
            grant_types_supported=["authorization_code", "refresh_token"],
            code_challenge_methods_supported=["S256"],
            token_endpoint_auth_methods_supported=methods,
            revocation_endpoint_auth_methods_supported=methods,
            scopes_supported=server.scopes_supported,
            authorization_response_iss_parameter_supported=True,
        )

    @app.route("/authorize", methods=["GET", "POST"])
    def authorize() -> Any:
        try:
            grant = server.get_consent_grant(end_user=None)
        except OAuth2Error as error:
            if getattr(error, "redirect_uri", None):
                response = server.handle_error_response(None, error)
                _issuer(base_url).add_issuer_parameter(server, response)
                return response
            page = render_template("refused.html", reason=error.description or error.error)
            return page, 400
        redirect_uri = grant.request.payload.redirect_uri or ""
        g.form_targets = (_origin(redirect_uri),) if redirect_uri else ()
        if request.method == "GET":
            return render_template(
                "consent.html",
                client=grant.client.name,
                accounts=ACCOUNTS,
                scopes=(grant.request.payload.scope or "profile").split(),
            )
        if _foreign(base_url):
            return render_template("refused.html", reason="This form came from elsewhere."), 403
        account = request.form.get("account", "")
        approved = request.form.get("answer") == "approve" and account in ACCOUNTS
        with store.lock:
            return server.create_authorization_response(
                grant_user=account if approved else None, grant=grant
            )

    @app.post("/token")
    def token() -> Response:
        grant_type = request.form.get("grant_type", "")[:64]
        entry = store.begin_entry(grant_type)
        g.entry = entry
        on = faults.take(grant_type)
        named = ",".join(
            name for name, value in asdict(on).items() if value and name != "remaining"
        )
        if named:
            store.note(entry, fault=named)
        time.sleep(on.delay_before_s)
        response = _early_fault(on)
        if response is None:
            with store.lock:
                response = server.create_token_response()
            response = _late_fault(on, response)
        body = response.get_json(silent=True) if response.status_code == 400 else None  # noqa: PLR2004
        outcome = (body or {}).get("error") or ("ok" if response.status_code == 200 else "")  # noqa: PLR2004
        outcome = outcome or f"status {response.status_code}"
        if on.drop_after_rotation:
            outcome = "dropped"
        store.note(entry, ended=time.time(), outcome=outcome, status=response.status_code)
        if on.drop_after_rotation:
            _cut_the_line()
        return response

    @app.post("/revoke")
    def revoke() -> Any:
        entry = store.begin_entry("revocation")
        with store.lock:
            g.entry = entry
            response = server.create_endpoint_response("revocation")
        outcome = "ok" if response.status_code == 200 else "refused"  # noqa: PLR2004
        store.note(entry, ended=time.time(), outcome=outcome, status=response.status_code)
        return response

    @app.post("/register")
    def register() -> Response:
        asked = request.get_json(silent=True) or {}
        uris = asked.get("redirect_uris")
        if not isinstance(uris, list) or not uris or not all(isinstance(uri, str) for uri in uris):
            return _json({"error": "invalid_redirect_uri"}, 400)
        name = str(asked.get("client_name") or "A demo client")[:80]
        client_id, secret = store.add_client(name, uris)
        answer = {"client_id": client_id, "client_secret": secret, "redirect_uris": uris}
        return _json({**answer, "client_name": name, "client_secret_expires_at": 0}, 201)

    @app.get("/api/me")
    def me() -> Response:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        found = store.token(given) if scheme.lower() == "bearer" else None
        good = (
            found is not None
            and found.kind == "access"
            and not found.revoked_because
            and (found.expires_at or 0) > time.time()
        )
        if found is None or not good:
            response = _json({"error": "invalid_token"}, 401)
            response.headers["WWW-Authenticate"] = 'Bearer error="invalid_token"'  # RFC 6750 §3
            return response
        left = round((found.expires_at or 0) - time.time())
        return jsonify(id=found.account, **ACCOUNTS[found.account], seconds_left=left)

    @app.get("/api/keys/me")
    def key_owner() -> Response:
        given = request.headers.get("X-Api-Key") or _basic_password()
        account = DEMO_KEYS.get(given)
        if account is None:
            return _json({"error": "invalid_key"}, 401)
        return jsonify(id=account, **ACCOUNTS[account])

    @app.get("/log")
    def log() -> Response:
        after = request.args.get("after", 0, type=int)
        return jsonify(entries=store.entries(after))

    @app.route("/faults", methods=["GET", "POST"])
    def switch_faults() -> Response:
        if request.method == "GET":
            return jsonify(asdict(faults.current()))
        wanted = request.get_json(silent=True)
        if not isinstance(wanted, dict):
            return _json({"error": "a JSON object is needed"}, 400)
        try:
            return jsonify(asdict(faults.set(wanted)))
        except ValueError as error:
            return _json({"error": str(error)}, 400)

    return app


# ---- OAuth, in authlib's terms -----------------------------------------------------------


class _PkceS256(CodeChallenge):  # type: ignore[misc]  # authlib has no types
    """PKCE for everyone, and only with S256 (RFC 7636 §4.2, RFC 9700 §2.1.1)."""

    SUPPORTED_CODE_CHALLENGE_METHOD = ("S256",)

    def validate_code_challenge(self, grant: Any, redirect_uri: str) -> None:
        data = grant.request.payload.data
        if not data.get("code_challenge"):
            raise InvalidRequestError("Missing 'code_challenge'")
        if data.get("code_challenge_method") != "S256":
            raise InvalidRequestError("'code_challenge_method' must be S256")
        super().validate_code_challenge(grant, redirect_uri)


def _generator(access_life_s: float) -> Any:
    def generate(**asked: Any) -> dict[str, Any]:
        token = {
            "token_type": "Bearer",
            "access_token": "demo_at_" + secrets.token_urlsafe(32),
            "expires_in": int(access_life_s),
            "scope": asked.get("scope") or "profile",
        }
        if asked.get("include_refresh_token"):
            token["refresh_token"] = "demo_rt_" + secrets.token_urlsafe(32)
        return token

    return generate


def _save(store: Store, token: dict[str, Any], asked: Any, access_life_s: float) -> None:
    code, old = getattr(asked, "authorization_code", None), getattr(asked, "refresh_token", None)
    family = old.family if isinstance(old, Token) else store.new_family()
    if isinstance(code, Code):
        store.use_code(code, family)
    shared = {
        "family": family,
        "client_id": asked.client.client_id,
        "account": asked.user,
        "scope": token["scope"],
    }
    store.add_token(token["access_token"], "access", life_s=access_life_s, **shared)
    if token.get("refresh_token"):
        store.add_token(token["refresh_token"], "refresh", life_s=None, **shared)
    store.note(
        g.entry,
        family=family,
        account=asked.user,
        fingerprint=fingerprint(token["access_token"]),
    )


def _code_grant(store: Store) -> type[AuthorizationCodeGrant]:
    class DemoCodeGrant(AuthorizationCodeGrant):  # type: ignore[misc]
        def save_authorization_code(self, code: str, asked: Any) -> None:
            data = asked.payload.data
            store.add_code(
                code,
                client_id=asked.client.client_id,
                redirect_uri=asked.payload.redirect_uri,
                scope=asked.scope,
                account=asked.user,
                challenge=data.get("code_challenge"),
                method=data.get("code_challenge_method"),
            )

        def query_authorization_code(self, code: str, client: Any) -> Code | None:
            return store.code(code, client.client_id)

        def delete_authorization_code(self, authorization_code: Code) -> None:
            """Kept until it expires, so that its second use is noticed."""

        def authenticate_user(self, authorization_code: Code) -> str:
            return authorization_code.account

    return DemoCodeGrant


def _refresh_grant(store: Store, *, rotate: bool) -> type[RefreshTokenGrant]:
    class DemoRefreshGrant(RefreshTokenGrant):  # type: ignore[misc]
        TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic", "client_secret_post")
        INCLUDE_NEW_REFRESH_TOKEN = rotate

        def authenticate_refresh_token(self, refresh_token: str) -> Token | None:
            found = store.token(refresh_token)
            if found is None or found.kind != "refresh":
                return None
            store.note(g.entry, family=found.family, account=found.account)
            if found.revoked_because:
                return None
            if found.used:
                # Either somebody stole it or a client lost count: nobody may go on (RFC 9700 §4.14)
                store.revoke_family(found.family, "refresh token used twice")
                return None
            return found

        def authenticate_user(self, refresh_token: Token) -> str:
            return refresh_token.account

        def revoke_old_credential(self, refresh_token: Token) -> None:
            if rotate:
                store.use_token(refresh_token)

    return DemoRefreshGrant


def _revocation(store: Store) -> type[RevocationEndpoint]:
    class DemoRevocation(RevocationEndpoint):  # type: ignore[misc]
        CLIENT_AUTH_METHODS = ("client_secret_basic", "client_secret_post")

        def query_token(self, token_string: str, token_type_hint: str | None) -> Token | None:
            del token_type_hint
            return store.token(token_string)

        def revoke_token(self, token: Token, request: Any) -> None:
            del request
            store.note(g.entry, family=token.family, account=token.account)
            store.revoke_family(token.family, "revoked by the client")

    return DemoRevocation


def _issuer(base_url: str) -> IssuerParameter:
    class DemoIssuer(IssuerParameter):  # type: ignore[misc]
        def get_issuer(self) -> str:
            return base_url

    return DemoIssuer()


# ---- faults ------------------------------------------------------------------------------


def _json(value: dict[str, Any], status: int) -> Response:
    return Response(json.dumps(value), status=status, content_type="application/json")


def _early_fault(on: Faults) -> Response | None:
    if on.redirect:
        return Response("", status=302, headers={"Location": "/api/me"})
    if on.status:
        response = _json({"error": "temporarily_unavailable"}, on.status)
        if on.retry_after:
            response.headers["Retry-After"] = str(on.retry_after)
        return response
    if on.invalid_grant:
        return _json({"error": "invalid_grant"}, 400)
    return None


def _late_fault(on: Faults, response: Response) -> Response:
    body = response.get_json(silent=True)
    if response.status_code != 200 or not isinstance(body, dict):  # noqa: PLR2004
        return response
    time.sleep(on.token_delay_s)
    if on.status_after_rotation:
        return _json({"error": "server_error"}, on.status_after_rotation)
    if on.not_json:
        return Response("<html>A proxy was here</html>", content_type="text/html")
    if on.no_expires_in:
        body.pop("expires_in", None)
    if on.expires_in is not None:
        body["expires_in"] = on.expires_in
    if on.no_refresh_token:
        body.pop("refresh_token", None)
    if on.empty_refresh_token:
        body["refresh_token"] = ""
    if on.fewer_scopes:
        body["scope"] = ""
    text = json.dumps(body)
    if on.slow_drip:
        return Response(_drip(text), content_type="application/json")
    return Response(text, content_type="application/json", headers={"Pragma": "no-cache"})


def _drip(text: str) -> Iterator[str]:
    for character in text:
        time.sleep(DRIP_PAUSE_S)
        yield character


def _cut_the_line() -> None:
    line = request.environ.get("werkzeug.socket")
    if isinstance(line, socket.socket):
        with contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)


# ---- who may ask -------------------------------------------------------------------------


def _is_local(base_url: str) -> bool:
    try:
        loopback = ipaddress.ip_address(request.remote_addr or "").is_loopback
    except ValueError:
        loopback = False
    return loopback and not _foreign(base_url)


def _foreign(base_url: str) -> bool:
    """Whether a browser sent this from a page that is not ours."""
    origin = request.headers.get("Origin")
    site = request.headers.get("Sec-Fetch-Site", "none")
    return (origin is not None and origin != base_url) or site not in {"none", "same-origin"}


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _basic_password() -> str:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(given).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


# ---- running it --------------------------------------------------------------------------


class _QuietHandler(WSGIRequestHandler):
    """No access log: its lines would carry codes in query strings."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


class RunningProvider:
    """A demo provider in a thread of this process."""

    def __init__(self, host: str, port: int, state_dir: Path, **options: Any) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            port = probe.getsockname()[1]
        self.url = f"http://{host}:{port}"
        self._app = create_provider(state_dir, base_url=self.url, **options)
        self._server = make_server(
            host, port, self._app, threaded=True, request_handler=_QuietHandler
        )
        if isinstance(self._server, ThreadedWSGIServer):
            self._server.daemon_threads = True
            self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Block until the provider is stopped."""
        self._thread.join()

    def stop(self) -> None:
        """Stop listening and close the file; threads in the middle of an answer are left."""
        self._server.shutdown()
        self._server.server_close()
        self._app.extensions["demo_store"].close()


def start(
    port: int, state_dir: Path, *, host: str = "127.0.0.1", **options: Any
) -> RunningProvider:
    """Run the provider in a thread and return it.

    Args:
        port: 0 picks a free one; see ``url`` of the result.
        state_dir: where its state lives.
        host: the address to listen on.
        options: ``access_life_s`` and ``rotate``, as in :func:`create_provider`.
    """
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    return RunningProvider(host, port, state_dir, **options)


def serve(host: str, port: int, state_dir: Path, **options: Any) -> None:
    """Run the provider until SIGINT or SIGTERM. Arguments as in :func:`start`."""
    provider = start(port, state_dir, host=host, **options)
    stopped = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stopped.set())
    print(f"demo provider on {provider.url}", flush=True)
    stopped.wait()
    provider.stop()


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="A demo OAuth 2.0 provider for this machine.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--access-life", type=float, default=ACCESS_LIFE_S, metavar="SECONDS")
    given = parser.parse_args()
    serve(given.host, given.port, given.state, access_life_s=given.access_life)


if __name__ == "__main__":
    main()
