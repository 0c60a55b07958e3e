"""Data keys made and unwrapped by AWS KMS."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any, Protocol

from keystow import metrics
from keystow.aws.errors import AwsError
from keystow.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystow.aws.client import Client

# Parts of a KMS key's ARN, which stand between colons.
ARN = ("arn", "partition", "kms", "region", "account", "key")
# Nobody can open anything any more until somebody enables the key, or stops its deletion.
_UNUSABLE = {"DisabledException", "KMSInvalidStateException", "NotFoundException"}
# The wrapped key is not what it was, or not of this context. Everything else (throttled, denied,
# key disabled) says nothing about it and can be mended without its owner.
_ALTERED = {"InvalidCiphertextException", "IncorrectKeyException"}


class Wrapped(Value):
    """A wrapped data key, and the ARN of the KMS key that wrapped it."""

    blob: bytes
    key: str


class KeyWrapper(Protocol):
    """Makes data keys and opens wrapped ones; only who may use the KMS key can.

    Attributes:
        key_id: ARN of the KMS key that wraps new data keys.
    """

    key_id: str

    def generate(self, context: Mapping[str, str]) -> tuple[bytes, Wrapped]:
        """Return a new 256-bit data key, plain and wrapped."""
        ...

    def unwrap(self, wrapped: Wrapped, context: Mapping[str, str]) -> bytes:
        """Return the plain data key of a wrapped one."""
        ...

    def rewrap(self, wrapped: Wrapped, context: Mapping[str, str]) -> Wrapped:
        """Return the same data key wrapped by the key that wraps new ones."""
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

    Args:
        client: of KMS.
        key_id: ARN of the KMS key that wraps new data keys.
    """

    def __init__(self, client: Client, key_id: str) -> None:
        self._client = client
        self.key_id = key_id

    def generate(self, context: Mapping[str, str]) -> tuple[bytes, Wrapped]:
        """Return a new 256-bit data key, plain and wrapped. Raises KmsError."""
        answer = self._call(
            "GenerateDataKey",
            KeyId=self.key_id,
            KeySpec="AES_256",
            EncryptionContext=dict(context),
        )
        return b64decode(answer["Plaintext"]), _wrapped(answer)

    def unwrap(self, wrapped: Wrapped, context: Mapping[str, str]) -> bytes:
        """Return the plain data key of a wrapped one. Raises KmsError.

        Which keys may open at all is for the function's role to say, not for the row.
        """
        answer = self._call(
            "Decrypt",
            KeyId=self._here(wrapped.key),
            CiphertextBlob=b64encode(wrapped.blob).decode(),
            EncryptionContext=dict(context),
        )
        return b64decode(answer["Plaintext"])

    def rewrap(self, wrapped: Wrapped, context: Mapping[str, str]) -> Wrapped:
        """Return a data key wrapped anew, inside KMS: nobody sees it plain. Raises KmsError."""
        answer = self._call(
            "ReEncrypt",
            SourceKeyId=self._here(wrapped.key),
            SourceEncryptionContext=dict(context),
            CiphertextBlob=b64encode(wrapped.blob).decode(),
            DestinationKeyId=self.key_id,
            DestinationEncryptionContext=dict(context),
        )
        return _wrapped(answer)

    def _here(self, key: str) -> str:
        """Return the ARN of a multi-Region key in this region, of any other key as it is.

        KMS takes no ARN of another region. Related multi-Region keys have one id and one material
        (AWS KMS developer guide, "Multi-Region keys"), so the replica opens what the primary
        wrapped, if the role may use it.
        """
        parts = key.split(":")
        if len(parts) == len(ARN) and parts[-1].startswith("key/mrk-"):
            parts[ARN.index("region")] = self.key_id.split(":")[ARN.index("region")]
        return ":".join(parts)

    def _call(self, name: str, **request: Any) -> Any:
        try:
            return self._client.call(name, request)
        except AwsError as error:
            if error.code in _UNUSABLE:
                metrics.count(metrics.KEY_UNUSABLE)
            raise KmsError(error.code, altered=error.code in _ALTERED) from error


def _wrapped(answer: Mapping[str, Any]) -> Wrapped:
    return Wrapped(b64decode(answer["CiphertextBlob"]), str(answer["KeyId"]))
