from __future__ import annotations

import pytest

from keystow.oauth import issuer

ISSUER = "https://honest.example"


def test_the_expected_issuer_passes() -> None:
    issuer.check(ISSUER, ISSUER, required=True)


@pytest.mark.parametrize(
    "other",
    ["https://evil.example", "https://honest.example/", "HTTPS://honest.example", "", "\udcff"],
)
@pytest.mark.parametrize("required", [True, False])
def test_any_other_issuer_is_an_error(other: str, required: bool) -> None:
    with pytest.raises(issuer.IssuerMismatch) as mismatch:
        issuer.check(other, ISSUER, required=required)
    assert mismatch.value.reason == "different"


def test_a_missing_issuer_is_an_error_where_the_server_announced_it() -> None:
    with pytest.raises(issuer.IssuerMismatch) as mismatch:
        issuer.check(None, ISSUER, required=True)
    assert mismatch.value.reason == "missing"


def test_a_missing_issuer_passes_where_nothing_was_announced() -> None:
    issuer.check(None, ISSUER, required=False)


def test_an_issuer_that_cannot_be_compared_is_passed_over_unless_required() -> None:
    issuer.check("https://whoever.example", None, required=False)
    with pytest.raises(issuer.IssuerMismatch):
        issuer.check("https://whoever.example", None, required=True)
