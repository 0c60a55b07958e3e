"""A demo OAuth 2.0 authorization server with rotation, reuse detection and switchable faults.

It stands in for "another company's API" on one machine. ``python -m local.demo.provider --port
4510 --state .local/demo-provider`` runs it alone.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import ipaddress
import logging
import signal
import socket
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2 import OAuth2Error
from flask import Flask, Response, g, jsonify, render_template, request
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler, make_server

from local.demo.definitions import DEMO_KEYS, api_key_provider_definition, provider_definition
from local.demo.provider_faults import (
    Faults,
    Switchboard,
    cut_the_line,
    early_fault,
    json_answer,
    late_fault,
)
from local.demo.provider_oauth import (
    PkceS256,
    code_grant,
    issuer_parameter,
    refresh_grant,
    revocation_endpoint,
    save_token,
    token_generator,
)
from local.demo.provider_store import Store

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
    faults = Switchboard()
    server = AuthorizationServer(
        app,
        query_client=store.client,
        save_token=lambda token, asked: save_token(store, token, asked, access_life_s),
    )
    server.scopes_supported = ["profile", "offline", "files:read"]
    server.register_token_generator("default", token_generator(access_life_s))
    server.register_grant(code_grant(store), [PkceS256(required=True)])
    server.register_grant(refresh_grant(store, rotate=rotate))
    server.register_endpoint(revocation_endpoint(store))
    server.register_extension(issuer_parameter(base_url))
    app.extensions["demo_store"] = store

    @app.before_request
    def guard() -> Response | None:
        if request.host != urlsplit(base_url).netloc:
            return json_answer({"error": "unknown host"}, 421)  # rebound DNS names stay outside
        if request.path in {"/faults", "/log", "/register"} and not _is_local(base_url):
            return json_answer({"error": "only for this machine"}, 403)
        return None

    @app.after_request
    def harden(response: Response) -> Response:
        response.headers["X-Content-Type-Options"] = "nosniff"
        # With no-referrer browsers say "Origin: null" on the consent form itself.
        response.headers["Referrer-Policy"] = "same-origin"
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
            entries=[entry for entry in store.entries() if not _own_check(entry)][-20:][::-1],
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
                issuer_parameter(base_url).add_issuer_parameter(server, response)
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
        response = early_fault(on)
        if response is None:
            with store.lock:
                response = server.create_token_response()
            response = late_fault(on, response)
        body = response.get_json(silent=True) if response.status_code == 400 else None  # noqa: PLR2004
        outcome = (body or {}).get("error") or ("ok" if response.status_code == 200 else "")  # noqa: PLR2004
        outcome = outcome or f"status {response.status_code}"
        if on.drop_after_rotation:
            outcome = "dropped"
        store.note(entry, ended=time.time(), outcome=outcome, status=response.status_code)
        if on.drop_after_rotation:
            cut_the_line()
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
            return json_answer({"error": "invalid_redirect_uri"}, 400)
        name = str(asked.get("client_name") or "A demo client")[:80]
        client_id, secret = store.add_client(name, uris)
        answer = {"client_id": client_id, "client_secret": secret, "redirect_uris": uris}
        return json_answer({**answer, "client_name": name, "client_secret_expires_at": 0}, 201)

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
            response = json_answer({"error": "invalid_token"}, 401)
            response.headers["WWW-Authenticate"] = 'Bearer error="invalid_token"'  # RFC 6750 §3
            return response
        left = round((found.expires_at or 0) - time.time())
        return jsonify(id=found.account, **ACCOUNTS[found.account], seconds_left=left)

    @app.get("/api/keys/me")
    def key_owner() -> Response:
        given = request.headers.get("X-Api-Key") or _basic_password()
        account = DEMO_KEYS.get(given)
        if account is None:
            return json_answer({"error": "invalid_key"}, 401)
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
            return json_answer({"error": "a JSON object is needed"}, 400)
        try:
            return jsonify(asdict(faults.set(wanted)))
        except ValueError as error:
            return json_answer({"error": str(error)}, 400)

    return app


def _own_check(entry: dict[str, Any]) -> bool:
    """Whether an entry is no more than the demo's question whether its client is still known.

    It revokes a token that nobody has (local/demo/registration.py), which ends no family.
    """
    asked = entry["grant_type"] == "revocation" and entry["outcome"] == "ok"
    return asked and not entry["family"]


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
        try:
            self._server = make_server(
                host, port, self._app, threaded=True, request_handler=_QuietHandler
            )
        except BaseException:  # werkzeug ends the program when the port is taken
            self._app.extensions["demo_store"].close()
            raise
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
