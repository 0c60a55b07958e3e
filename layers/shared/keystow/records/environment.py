"""An environment and its API keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keystow.secret import Secret
from keystow.store import tables
from keystow.value import Value
from keystow.vault import Envelope, Purpose

if TYPE_CHECKING:
    from keystow.store import Item, Key
    from keystow.vault import Vault

# A rotation moves the envelope from one attribute to another without opening it.
SIGNING_KEY_BINDING = ("webhook-signing-key",)
_HMAC_BINDING = ("public-key-hmac",)


class WebhookSettings(Value):
    """Where events go, and which (contract 12.3).

    Deletions are told in environments that were made with this setting, and where it was turned on.
    """

    primary_url: str | None = None
    secondary_url: str | None = None
    on_auth_creation: bool = True
    on_auth_refresh_error: bool = True
    on_connection_deletion: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return the settings as stored."""
        return dict(vars(self))

    def public(self) -> dict[str, Any]:
        """Return the public shape: URLs without their fragment, which holds a sealed login."""
        found = self.as_json()
        for name in ("primary_url", "secondary_url"):
            url = found[name]
            found[name] = None if url is None else url.partition("#")[0]
        return found


class ConnectUiSettings(Value):
    """How the Connect UI looks (contract 3.6). Colours are those of the main button and links."""

    show_watermark: bool = False
    default_theme: str = "system"
    light_primary: str = "#1f5fbf"
    dark_primary: str = "#8ab4f8"

    def as_item(self) -> dict[str, Any]:
        """Return the settings as an attribute."""
        return dict(vars(self))

    def public(self) -> dict[str, Any]:
        """Return the public shape."""
        return {
            "showWatermark": self.show_watermark,
            "defaultTheme": self.default_theme,
            "theme": {
                "light": {"primary": self.light_primary},
                "dark": {"primary": self.dark_primary},
            },
        }


class Environment(Value):
    """An environment. ``id`` is immutable; ``number`` is the id that the API shows.

    ``hmac_enabled``: browsers may come with its public key, and an HMAC under ``hmac_key``.
    """

    id: str
    number: int
    name: str
    uuid: str
    public_key: str
    signing_key: Envelope
    created_at: int
    is_production: bool = False
    callback_url: str | None = None
    webhooks: WebhookSettings = WebhookSettings()
    connect_ui: ConnectUiSettings = ConnectUiSettings()
    hmac_enabled: bool = False
    hmac_key: Envelope | None = None
    previous_signing_key: Envelope | None = None
    previous_signing_key_until: int = 0
    deleting: bool = False

    @property
    def key(self) -> Key:
        """Where it is stored."""
        return tables.environment_settings(self.id)

    def as_item(self) -> Item:
        """Return the item."""
        item: Item = {
            "number": self.number,
            "name": self.name,
            "uuid": self.uuid,
            "public_key": self.public_key,
            "signing_key": self.signing_key.as_item(),
            "created_at": self.created_at,
            "is_production": self.is_production,
            "webhooks": self.webhooks.as_json(),
            "connect_ui": self.connect_ui.as_item(),
        }
        if self.hmac_key is not None:
            item["hmac_key"] = self.hmac_key.as_item()
            item["hmac_enabled"] = self.hmac_enabled
        if self.callback_url:
            item["callback_url"] = self.callback_url
        if self.previous_signing_key is not None:
            item["previous_signing_key"] = self.previous_signing_key.as_item()
            item["previous_signing_key_until"] = self.previous_signing_key_until
        if self.deleting:
            item["deleting"] = True
        return item

    @classmethod
    def from_item(cls, item: Item) -> Environment:
        """Return the environment of an item."""
        previous = item.get("previous_signing_key")
        return cls(
            id=item["pk"],
            number=item["number"],
            name=item["name"],
            uuid=item["uuid"],
            public_key=item["public_key"],
            signing_key=Envelope.from_item(item["signing_key"]),
            created_at=item["created_at"],
            is_production=item["is_production"],
            callback_url=item.get("callback_url"),
            webhooks=WebhookSettings(**item.get("webhooks", {})),
            connect_ui=ConnectUiSettings(**item.get("connect_ui", {})),
            hmac_enabled=item.get("hmac_enabled", False),
            hmac_key=Envelope.from_item(item["hmac_key"]) if item.get("hmac_key") else None,
            previous_signing_key=Envelope.from_item(previous) if previous else None,
            previous_signing_key_until=item.get("previous_signing_key_until", 0),
            deleting=item.get("deleting", False),
        )

    def signing_keys(self, vault: Vault, now: float) -> list[Secret[str]]:
        """Return the keys to sign with: the present one, then the one it replaced lately.

        Standard Webhooks, "Zero downtime secret rotation": one signature for each key.

        Args:
            vault: opens them.
            now: seconds since the epoch.

        Raises:
            VaultError, VaultUnavailable: as the vault does.
        """
        found = [self._open(vault, self.signing_key)]
        if self.previous_signing_key is not None and self.previous_signing_key_until > now * 1000:
            found.append(self._open(vault, self.previous_signing_key))
        return found

    def hmac_secret(self, vault: Vault) -> Secret[str]:
        """Return the key of the HMACs of browsers. Raises VaultError, VaultUnavailable."""
        assert self.hmac_key is not None
        return Secret(vault.open(Purpose.HMAC, self.id, _HMAC_BINDING, self.hmac_key).decode())

    def _open(self, vault: Vault, envelope: Envelope) -> Secret[str]:
        return Secret(vault.open(Purpose.SIGNING, self.id, SIGNING_KEY_BINDING, envelope).decode())


def seal_hmac_key(vault: Vault, environment: str, key: str) -> Envelope:
    """Return the sealed form of the key of browsers' HMACs."""
    return vault.seal(Purpose.HMAC, environment, _HMAC_BINDING, key.encode())


def seal_signing_key(vault: Vault, environment: str, key: str) -> Envelope:
    """Return the sealed form of a webhook signing key."""
    return vault.seal(Purpose.SIGNING, environment, SIGNING_KEY_BINDING, key.encode())


class ApiKey(Value):
    """An API key as stored: never its text, only the hash under which it is found.

    ``number`` and ``uuid`` are the ids that the API shows; times are milliseconds.
    """

    uuid: str
    number: int
    owner: str  # an environment's id, or "account"
    key_hash: str
    display_name: str
    scopes: tuple[str, ...]
    created_at: int
    expires_at: int | None = None

    def ended(self, now: float) -> bool:
        """Return whether its time is over at some seconds since the epoch."""
        return self.expires_at is not None and self.expires_at <= now * 1000

    def as_item(self) -> Item:
        """Return the attributes that both the lookup and the list entry carry."""
        item: Item = {
            "uuid": self.uuid,
            "number": self.number,
            "owner": self.owner,
            "key_hash": self.key_hash,
            "display_name": self.display_name,
            "scopes": list(self.scopes),
            "created_at": self.created_at,
        }
        if self.expires_at is not None:
            item["expires_at"] = self.expires_at
        return item

    @classmethod
    def from_item(cls, item: Item) -> ApiKey:
        """Return the key of an item."""
        return cls(
            uuid=item["uuid"],
            number=item["number"],
            owner=item["owner"],
            key_hash=item["key_hash"],
            display_name=item["display_name"],
            scopes=tuple(item["scopes"]),
            created_at=item["created_at"],
            expires_at=item.get("expires_at"),
        )
