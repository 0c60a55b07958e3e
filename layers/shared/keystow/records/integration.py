"""An integration: a provider configured with the SaaS's own application."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from keystow.secret import Secret
from keystow.store import tables
from keystow.value import Value, field, replace
from keystow.vault import Envelope, Purpose

if TYPE_CHECKING:
    from keystow.store import Item, Key
    from keystow.vault import Vault


class Integration(Value):
    """An integration. ``envelope`` holds what is secret of it; times are milliseconds.

    ``scopes`` are separated by commas. ``custom_names`` are the names of the sealed ``custom``
    values. ``own_callback`` asks for a redirect URI of its own (:mod:`keystow.modes.callbacks`).
    values. ``fixed_names`` are the inputs of every connection that are fixed, ``fixed`` holds their
    values: sealed apart, since whoever makes a connection needs them and not the client's secret.
    ``revision`` rises with every change. ``branding`` is what people read of the client when it has
    no app at the provider (:mod:`keystow.modes.mcp_oauth2`).
    """

    environment: str
    id: str
    unique_key: str
    provider: str
    created_at: int
    updated_at: int
    display_name: str | None = None
    forward_webhooks: bool = True
    client_id: str | None = None
    scopes: str | None = None
    app_link: str | None = None
    key_label: str | None = None
    own_callback: bool = False
    custom_names: tuple[str, ...] = ()
    envelope: Envelope | None = None
    fixed_names: tuple[str, ...] = ()
    fixed: Envelope | None = None
    revision: int = 1
    branding: dict[str, str] | None = None

    @property
    def key(self) -> Key:
        """Where it is stored."""
        return tables.integration(self.environment, self.id)

    def as_item(self) -> Item:
        """Return the item."""
        item: Item = {
            "unique_key": self.unique_key,
            "provider": self.provider,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "forward_webhooks": self.forward_webhooks,
            "custom_names": list(self.custom_names),
            "revision": self.revision,
        }
        for name in ("display_name", "client_id", "scopes", "app_link", "key_label"):
            value = getattr(self, name)
            if value is not None:
                item[name] = value
        if self.branding:
            item["branding"] = dict(self.branding)
        if self.own_callback:
            item["own_callback"] = True
        if self.envelope is not None:
            item["sealed"] = self.envelope.as_item()
        if self.fixed is not None:
            item["fixed"] = self.fixed.as_item()
            item["fixed_names"] = list(self.fixed_names)
        return item

    @classmethod
    def from_item(cls, item: Item) -> Integration:
        """Return the integration of an item."""
        sealed, fixed = item.get("sealed"), item.get("fixed")
        return cls(
            environment=item["pk"],
            id=item["sk"].partition("#")[2],
            unique_key=item["unique_key"],
            provider=item["provider"],
            created_at=item["created_at"],
            updated_at=item["updated_at"],
            display_name=item.get("display_name"),
            forward_webhooks=item["forward_webhooks"],
            client_id=item.get("client_id"),
            scopes=item.get("scopes"),
            app_link=item.get("app_link"),
            key_label=item.get("key_label"),
            own_callback=item.get("own_callback", False),
            custom_names=tuple(item.get("custom_names") or ()),
            envelope=Envelope.from_item(sealed) if sealed else None,
            fixed_names=tuple(item.get("fixed_names") or ()),
            fixed=Envelope.from_item(fixed) if fixed else None,
            revision=item["revision"],
            branding=item.get("branding"),
        )

    def secrets(self, vault: Vault) -> AppSecrets:
        """Return what is secret of it. Raises VaultError, VaultUnavailable."""
        if self.envelope is None:
            return AppSecrets()
        plaintext = vault.open(
            Purpose.INTEGRATION, self.environment, ("integration", self.id), self.envelope
        )
        found = json.loads(plaintext)
        return AppSecrets(
            client_secret=Secret(found.get("client_secret") or ""),
            webhook_secret=Secret(found.get("webhook_secret")),
            custom=Secret(found.get("custom") or {}),
        )

    def fixed_inputs(self, vault: Vault) -> Secret[dict[str, str]]:
        """Return the fixed inputs of every connection. Raises VaultError, VaultUnavailable."""
        if self.fixed is None:
            return Secret({})
        binding = ("integration-inputs", self.id)
        return Secret(json.loads(vault.open(Purpose.INPUT, self.environment, binding, self.fixed)))

    def with_fixed(self, vault: Vault, inputs: Secret[dict[str, str]]) -> Integration:
        """Return a copy that fixes these inputs and no others. Raises VaultUnavailable."""
        values = inputs.reveal()
        if not values:
            return replace(self, fixed=None, fixed_names=())
        binding = ("integration-inputs", self.id)
        text = json.dumps(values).encode()
        sealed = vault.seal(Purpose.INPUT, self.environment, binding, text)
        return replace(self, fixed=sealed, fixed_names=tuple(sorted(values)))

    def with_secrets(self, vault: Vault, secrets: AppSecrets) -> Integration:
        """Return a copy that holds other secrets."""
        plaintext = json.dumps(
            {
                "client_secret": secrets.client_secret.reveal(),
                "webhook_secret": secrets.webhook_secret.reveal(),
                "custom": secrets.custom.reveal(),
            }
        ).encode()
        envelope = vault.seal(
            Purpose.INTEGRATION, self.environment, ("integration", self.id), plaintext
        )
        return replace(self, envelope=envelope, custom_names=tuple(sorted(secrets.custom.reveal())))


class AppSecrets(Value):
    """What is secret of an integration.

    As contract 6.2 maps it: of a GitHub App (mode ``APP``) the ``client_secret`` is the base64 of
    the private key's PEM text; of mode ``CUSTOM`` ``custom`` holds ``app_id`` and ``private_key``,
    likewise in base64.
    """

    client_secret: Secret[str] = field(default_factory=lambda: Secret(""))
    webhook_secret: Secret[str | None] = field(default_factory=lambda: Secret(None))
    custom: Secret[dict[str, Any]] = field(default_factory=lambda: Secret({}))
