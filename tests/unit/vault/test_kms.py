"""What is asked of KMS, word for word, and what its refusals mean."""

from __future__ import annotations

from typing import Any

import pytest

from keystow import metrics
from keystow.aws.errors import AwsRefused, AwsUnanswered
from keystow.vault.kms import KmsError, KmsKeyWrapper, Wrapped

NEWEST = "arn:aws:kms:eu-central-1:1:key/newest"
FORMER = "arn:aws:kms:eu-central-1:1:key/former"
CONTEXT = {"keystow:environment": "env1", "keystow:purpose": "credential"}


class Client:
    """KMS that notes its requests, or fails."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._failure = failure

    def call(self, name: str, request: dict[str, Any]) -> dict[str, Any]:
        self.asked.append((name, request))
        if self._failure is not None:
            raise self._failure
        # "plain" and "fresh"
        return {"Plaintext": "cGxhaW4=", "CiphertextBlob": "ZnJlc2g=", "KeyId": NEWEST}


def failing(failure: Exception) -> Any:
    return Client(failure)


def test_a_data_key_is_made_by_the_newest_key_and_bound_to_its_context() -> None:
    client: Any = Client()
    made = KmsKeyWrapper(client, NEWEST).generate(CONTEXT)
    assert made == (b"plain", Wrapped(b"fresh", NEWEST))
    request = {"KeyId": NEWEST, "KeySpec": "AES_256", "EncryptionContext": CONTEXT}
    assert client.asked == [("GenerateDataKey", request)]


def test_a_data_key_opens_with_the_key_that_its_row_names_and_no_other() -> None:
    client: Any = Client()
    assert KmsKeyWrapper(client, NEWEST).unwrap(Wrapped(b"blob", FORMER), CONTEXT) == b"plain"
    request = {"KeyId": FORMER, "CiphertextBlob": "YmxvYg==", "EncryptionContext": CONTEXT}
    assert client.asked == [("Decrypt", request)]


THERE = "arn:aws:kms:us-east-1:1:key/mrk-one"
HERE = "arn:aws:kms:eu-central-1:1:key/mrk-one"


def test_a_data_key_that_was_wrapped_in_another_region_opens_with_the_replica_here() -> None:
    client = Client()
    wrapper = KmsKeyWrapper(client, NEWEST)
    wrapper.unwrap(Wrapped(b"blob", THERE), CONTEXT)
    wrapper.rewrap(Wrapped(b"blob", THERE), CONTEXT)
    (_, opened), (_, wrapped) = client.asked
    assert opened["KeyId"] == wrapped["SourceKeyId"] == HERE


def test_a_key_of_one_region_is_asked_where_it_is() -> None:
    client, elsewhere = Client(), FORMER.replace("eu-central-1", "us-east-1")
    KmsKeyWrapper(client, NEWEST).unwrap(Wrapped(b"blob", elsewhere), CONTEXT)
    assert client.asked[0][1]["KeyId"] == elsewhere


def test_a_data_key_is_wrapped_anew_from_its_own_key_to_the_newest_in_the_same_context() -> None:
    client: Any = Client()
    fresh = KmsKeyWrapper(client, NEWEST).rewrap(Wrapped(b"blob", FORMER), CONTEXT)
    assert fresh == Wrapped(b"fresh", NEWEST)
    request = {
        "SourceKeyId": FORMER,
        "SourceEncryptionContext": CONTEXT,
        "CiphertextBlob": "YmxvYg==",
        "DestinationKeyId": NEWEST,
        "DestinationEncryptionContext": CONTEXT,
    }
    assert client.asked == [("ReEncrypt", request)]


@pytest.mark.parametrize(
    ("code", "altered"),
    [
        ("InvalidCiphertextException", True),
        ("IncorrectKeyException", True),
        ("ThrottlingException", False),
        ("AccessDeniedException", False),
        ("DisabledException", False),
        ("KMSInternalException", False),
    ],
)
def test_only_a_broken_wrapped_key_is_taken_for_one(code: str, altered: bool) -> None:
    refusal = AwsRefused(code, 400)
    with pytest.raises(KmsError) as raised:
        KmsKeyWrapper(failing(refusal), NEWEST).unwrap(Wrapped(b"blob", FORMER), CONTEXT)
    assert (raised.value.code, raised.value.altered) == (code, altered)
    assert str(raised.value) == code


def test_kms_out_of_reach_is_no_broken_key() -> None:
    away = AwsUnanswered("ConnectFailed")
    with pytest.raises(KmsError) as raised:
        KmsKeyWrapper(failing(away), NEWEST).generate(CONTEXT)
    assert (raised.value.code, raised.value.altered) == ("ConnectFailed", False)


@pytest.mark.parametrize(
    ("code", "alarmed"),
    [
        ("DisabledException", True),
        ("KMSInvalidStateException", True),
        ("NotFoundException", True),
        ("ThrottlingException", False),
        ("InvalidCiphertextException", False),
    ],
)
def test_a_kms_key_that_opens_nothing_any_more_is_counted_for_the_alarm(
    monkeypatch: pytest.MonkeyPatch, code: str, alarmed: bool
) -> None:
    counted: list[str] = []
    monkeypatch.setattr(metrics, "count", counted.append)
    refusal = AwsRefused(code, 400)
    with pytest.raises(KmsError):
        KmsKeyWrapper(failing(refusal), NEWEST).unwrap(Wrapped(b"blob", FORMER), CONTEXT)
    assert counted == ([metrics.KEY_UNUSABLE] if alarmed else [])
