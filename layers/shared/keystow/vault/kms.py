"""Data keys made and unwrapped by AWS KMS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from collections.abc import Mapping

# The wrapped key is not what it was, or not of this context. Everything else (throttled, denied,
# key disabled) says nothing about it and can be mended without its owner.
_ALTERED = {"InvalidCiphertextException", "IncorrectKeyException"}


class KeyWrapper(Protocol):
    """Makes data keys and opens wrapped ones; only who may use the KMS key can."""

    def generate(self, context: Mapping[str, str]) -> tuple[bytes, bytes]:
        """Return a new 256-bit data key, plain and wrapped."""
        ...

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """Return the plain data key of a wrapped one."""
        ...


class KmsError(Exception):
    """KMS refused.

    Args:
        code: KMS's own error code.
        altered: whether the wrapped key itself is the fault, so that asking again cannot help.
    """

    def __init__(self, code: str, *, altered: bool = False) -> None:
        super().__init__(code)
        self.code = code
        self.altered = altered


class KmsKeyWrapper:
    """The wrapper of a deployment.

    The encryption context is not secret; it is bound to the wrapped key, stands in CloudTrail, and
    key policies and roles decide by it (AWS KMS developer guide, "Encryption context").
    """

    def __init__(self, client: Any, key_id: str) -> None:
        self._client = client
        self._key_id = key_id

    def generate(self, context: Mapping[str, str]) -> tuple[bytes, bytes]:
        """Return a new 256-bit data key, plain and wrapped. Raises KmsError."""
        answer = self._call(
            "generate_data_key",
            KeyId=self._key_id,
            KeySpec="AES_256",
            EncryptionContext=dict(context),
        )
        return bytes(answer["Plaintext"]), bytes(answer["CiphertextBlob"])

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """Return the plain data key of a wrapped one. Raises KmsError."""
        answer = self._call(
            "decrypt",
            KeyId=self._key_id,
            CiphertextBlob=wrapped,
            EncryptionContext=dict(context),
        )
        return bytes(answer["Plaintext"])

    def _call(self, name: str, **request: Any) -> Any:
        try:
            return getattr(self._client, name)(**request)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            raise KmsError(code, altered=code in _ALTERED) from error
        except BotoCoreError as error:
            raise KmsError(type(error).__name__) from error
