"""Sealing of everything secret: AES-256-GCM under data keys that KMS wraps."""

from keystow.vault.vault import Envelope, Purpose, Vault, VaultError, VaultUnavailable

__all__ = ["Envelope", "Purpose", "Vault", "VaultError", "VaultUnavailable"]
