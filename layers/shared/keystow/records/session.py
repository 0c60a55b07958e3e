"""A connect session."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from keystow.records.connection import EndUser, person_of
from keystow.store import tables
from keystow.value import Value, field

if TYPE_CHECKING:
    from keystow.store import Item, Key


class ConnectSession(Value):
    """A connect session; its token is known only by hash. Times are milliseconds.

    ``defaults`` may hold secrets, so the item has them sealed under the token
    (:mod:`keystow.sessions.tokens`): only who presents it has them. They are not part of
    :meth:`as_item`.

    ``by_public_key``: made of one request with a public key, whose token nobody has; it may have
    chosen the ``connection_id``.
    """

    token_hash: str
    environment: str
    operation_id: str
    created_at: int
    expires_at: int
    tags: dict[str, str]
    end_user: EndUser | None = None
    organization_name: str | None = None
    allowed_integrations: tuple[str, ...] | None = None
    defaults: dict[str, dict[str, Any]] = field(default_factory=dict)
    overrides: dict[str, dict[str, Any]] = field(default_factory=dict)
    webhook_url_override: str | None = None
    reconnect: tuple[str, str, str] | None = None  # integration id, connection id, identity
    single_use: bool = False
    confirm: bool = False
    connection_id: str | None = None
    by_public_key: bool = False
    outcome: dict[str, Any] | None = None  # of its latest attempt; written beside the rest

    @property
    def key(self) -> Key:
        """Where it is stored."""
        return tables.connect_session(self.token_hash)

    @property
    def person(self) -> str | None:
        """For whom it is, as far as the backend has said so."""
        return person_of(self.end_user, self.tags)

    def as_item(self) -> Item:
        """Return the item."""
        item: Item = {
            "token_hash": self.token_hash,
            "environment": self.environment,
            "operation_id": self.operation_id,
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            "ttl": self.expires_at // 1000 + 3600,
            "tags": dict(self.tags),
            "details": json.dumps(
                {
                    "allowed_integrations": self.allowed_integrations,
                    "overrides": self.overrides,
                    "webhook_url_override": self.webhook_url_override,
                    "organization_name": self.organization_name,
                    "reconnect": self.reconnect,
                    "single_use": self.single_use,
                    "confirm": self.confirm,
                    "connection_id": self.connection_id,
                    "by_public_key": self.by_public_key,
                }
            ),
        }
        if self.end_user is not None:
            item["end_user"] = self.end_user.as_item()
        return item

    @classmethod
    def from_item(
        cls, item: Item, defaults: dict[str, dict[str, Any]] | None = None
    ) -> ConnectSession:
        """Return the session of an item, with its defaults once they have been opened."""
        details = json.loads(item["details"])
        allowed = details["allowed_integrations"]
        reconnect = details["reconnect"]
        return cls(
            token_hash=item["token_hash"],
            environment=item["environment"],
            operation_id=item["operation_id"],
            created_at=item["created_at"],
            expires_at=item["expires_at"],
            tags=item["tags"],
            end_user=EndUser.from_item(item.get("end_user")),
            organization_name=details["organization_name"],
            allowed_integrations=None if allowed is None else tuple(allowed),
            defaults=defaults or {},
            overrides=details["overrides"],
            webhook_url_override=details["webhook_url_override"],
            reconnect=None if reconnect is None else tuple(reconnect),
            single_use=details.get("single_use", False),
            confirm=details.get("confirm", False),
            connection_id=details.get("connection_id"),
            by_public_key=details.get("by_public_key", False),
            outcome=item.get("outcome"),
        )
