"""The demo provider as catalogue entries (the shape that ``PUT /providers/{id}`` takes)."""

from __future__ import annotations

from typing import Any

DEMO_KEYS = {"demo-key-ada-0001": "ada", "demo-key-grace-0002": "grace"}
"""API keys of the demo accounts. They open nothing but the demo provider on this machine."""


def provider_definition(base_url: str) -> dict[str, Any]:
    """Return the catalogue entry of the demo's OAuth 2.0 side.

    Args:
        base_url: where the demo provider listens, without trailing slash.
    """
    return {
        "display_name": "Demo accounts",
        "categories": ["dev-tools"],
        "docs": f"{base_url}/",
        "docs_connect": f"{base_url}/",
        "auth_mode": "OAUTH2",
        "authorization_url": f"{base_url}/authorize",
        "authorization_params": {"response_type": "code"},
        "token_url": f"{base_url}/token",
        "token_params": {"grant_type": "authorization_code"},
        "refresh_params": {"grant_type": "refresh_token"},
        "revocation_url": f"{base_url}/revoke",
        "issuer_required": True,
        "issuer": base_url,
        "default_scopes": ["profile"],
        "scope_separator": " ",
        "proxy": {"base_url": base_url},
    }


def api_key_provider_definition(base_url: str) -> dict[str, Any]:
    """Return the catalogue entry of the demo's API-key side; wrong keys are refused at once.

    Args:
        base_url: where the demo provider listens, without trailing slash.
    """
    return {
        "display_name": "Demo API keys",
        "categories": ["dev-tools"],
        "docs": f"{base_url}/",
        "docs_connect": f"{base_url}/",
        "auth_mode": "API_KEY",
        "credentials": {
            "apiKey": {
                "type": "string",
                "title": "API key",
                "description": "One of the two keys on the demo provider's own page.",
                "example": "demo-key-ada-0001",
                "pattern": "^demo-key-[a-z0-9-]+$",
                "secret": True,
                "doc_section": "#keys",
            }
        },
        "proxy": {
            "base_url": base_url,
            "headers": {"x-api-key": "${apiKey}"},
            "verification": {"method": "GET", "endpoints": ["/api/keys/me"]},
        },
    }
