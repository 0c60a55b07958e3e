"""The demo provider's grants and endpoints, in authlib's terms."""

from __future__ import annotations

import secrets
from typing import Any

from authlib.oauth2.rfc6749 import InvalidRequestError
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant, RefreshTokenGrant
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc9207 import IssuerParameter
from flask import g

from local.demo.provider_store import Code, Store, Token, fingerprint


class PkceS256(CodeChallenge):  # type: ignore[misc]  # authlib has no types
    """PKCE for everyone, and only with S256 (RFC 7636 §4.2, RFC 9700 §2.1.1)."""

    SUPPORTED_CODE_CHALLENGE_METHOD = ("S256",)

    def validate_code_challenge(self, grant: Any, redirect_uri: str) -> None:
        """Refuse a request without a challenge, or with another method."""
        data = grant.request.payload.data
        if not data.get("code_challenge"):
            raise InvalidRequestError("Missing 'code_challenge'")
        if data.get("code_challenge_method") != "S256":
            raise InvalidRequestError("'code_challenge_method' must be S256")
        super().validate_code_challenge(grant, redirect_uri)


def token_generator(access_life_s: float) -> Any:
    """Return what makes a new pair of tokens."""

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


def save_token(store: Store, token: dict[str, Any], asked: Any, access_life_s: float) -> None:
    """Remember a new pair by its hashes, in the family of the approval it descends from."""
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


def code_grant(store: Store) -> type[AuthorizationCodeGrant]:
    """Return the authorization code grant (RFC 6749 §4.1) on a store."""

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


def refresh_grant(store: Store, *, rotate: bool) -> type[RefreshTokenGrant]:
    """Return the refresh grant (RFC 6749 §6) on a store, with rotation and reuse detection."""

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


def revocation_endpoint(store: Store) -> type[RevocationEndpoint]:
    """Return the revocation endpoint (RFC 7009): one token ends its whole family."""

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


def issuer_parameter(base_url: str) -> IssuerParameter:
    """Return what puts ``iss`` into every answer to the browser (RFC 9207)."""

    class DemoIssuer(IssuerParameter):  # type: ignore[misc]
        def get_issuer(self) -> str:
            return base_url

    return DemoIssuer()
