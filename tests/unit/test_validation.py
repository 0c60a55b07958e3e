"""Paths of issues hold names of what was sent, never internals of the validation library."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from keystow.catalog.model import validate_definition
from keystow.connections.requests import ImportBody, MetadataBody, PatchBody
from keystow.environments.requests import CreateApiKey, CreateEnvironment, WebhookSettingsBody
from keystow.integrations.requests import CreateIntegration, UpdateIntegration
from keystow.modes import ROOMS, api_key, bodies, mode_of
from keystow.sessions.requests import ReconnectBody, SessionBody
from keystow.validation import issues_of

ENTRY = {
    "display_name": "x",
    "auth_mode": "OAUTH2",
    "authorization_url": "https://a.example/a",
    "token_url": "https://a.example/t",
}
MODES = [mode for name in ROOMS if (mode := mode_of(name)) is not None]
BODIES: list[type[BaseModel]] = [
    *(bodies.form_body(mode) for mode in MODES if mode.form),
    *(bodies.import_body(mode) for mode in MODES if mode.imported),
    *(ImportBody, MetadataBody, PatchBody, CreateApiKey, CreateEnvironment),
    *(WebhookSettingsBody, CreateIntegration, UpdateIntegration, ReconnectBody, SessionBody),
]


def paths(check: Any, body: Any) -> list[tuple[str, ...]]:
    try:
        check(body)
    except ValidationError as error:
        return [issue.path for issue in issues_of(error, found=body)]
    return []


def definition(body: Any) -> Any:
    return validate_definition("x", body, builtin=False)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"token_url": 5}, ("token_url",)),
        ({"token_url": {"OAUTH2": 5}}, ("token_url", "OAUTH2")),
        ({"token_url": {"NOPE": "https://a.example"}}, ("token_url", "NOPE")),
        ({"authorization_params": {"a": [1]}}, ("authorization_params", "a")),
        ({"token_success": {"path": "a", "equals": []}}, ("token_success", "equals")),
        ({"connection_config": {"a b": {}}}, ("connection_config", "a b")),
        ({"connection_config": {"a": {"order": "x"}}}, ("connection_config", "a", "order")),
        ({"token_headers": {"X-Odd": "a\nb"}}, ("token_headers", "X-Odd")),
        ({"token_headers": {"a b": "c"}}, ("token_headers", "a b")),
        ({"connection_config": {"a": {"visible_when": {"field": "b"}}}},
         ("connection_config", "a", "visible_when", "equals")),
        ({"post_connection": {"calls": [{"url": "/a", "sets": {"x": 5}}]}},
         ("post_connection", "calls", "0", "sets", "x")),
        ({"display_name": None, "proxy": 7}, ("proxy",)),
    ],
)  # fmt: skip
def test_an_issue_of_an_entry_names_the_field_that_is_wrong(fields, path) -> None:
    assert path in paths(definition, {**ENTRY, **fields})


_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.just("OAUTH2"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(("a", "type", "tags", "id", "url")), inner, max_size=3)
    ),
    max_leaves=6,
)


@pytest.mark.parametrize("check", [*BODIES, definition])
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_path_leads_somewhere_in_what_was_sent(check, data) -> None:
    names = ENTRY | {"proxy": 1, "connection_config": 1, "post_connection": 1, "token_exchange": 1}
    if check is not definition:
        names = dict.fromkeys(check.model_fields)
    body = data.draw(st.dictionaries(st.sampled_from(sorted(names)), _value, max_size=5))
    model = check if check is definition else check.model_validate
    for path in paths(model, body):
        found: Any = body
        for place, step in enumerate(path):
            if isinstance(found, dict) and step not in found:
                assert place + 1 == len(path), "only what is missing may end a path"
                assert step.isidentifier()
                break
            assert isinstance(found, dict | list)
            found = found[int(step)] if isinstance(found, list) else found[step]


def test_the_name_of_an_integration_is_kept_without_white_space_around_it() -> None:
    body = {"provider": "x", "unique_key": "k", "display_name": " My app\u00a0\u200b"}
    assert CreateIntegration.model_validate(body).display_name == "My app"


def test_no_message_names_a_class_of_ours() -> None:
    for body in ({"proxy": 5}, {"token_exchange": []}, {"post_connection": {"calls": ["x"]}}):
        with pytest.raises(ValidationError) as failed:
            definition({**ENTRY, **body})
        for issue in issues_of(failed.value, found=body):
            assert issue.message == "Input should be an object"


@pytest.mark.parametrize(
    ("key", "message"),
    [("", "Must have at least 1 character"), ("k" * 4_097, "Must have at most 4096 characters")],
)
def test_a_text_of_the_wrong_length_is_told_in_plain_words(key: str, message: str) -> None:
    with pytest.raises(ValidationError) as error:
        bodies.form_body(api_key.MODE).model_validate({"apiKey": key})
    (issue,) = issues_of(error.value, found={"apiKey": key})
    assert (issue.path, issue.message) == (("apiKey",), message)


def test_a_definition_has_a_bounded_number_of_inputs() -> None:
    laborious = "^(" + "|".join(f"{c}[a-z]{{1,240}}" for c in "abcdefgh") + ")$"
    fields = {f"f{n}": {"pattern": laborious} for n in range(50)}
    body = {**ENTRY, "connection_config": {**fields, "one-more": {}}}
    with pytest.raises(ValidationError, match="at most 50 inputs") as error:
        definition(body)
    assert [each.path for each in issues_of(error.value, found=body)] == [("connection_config",)]
    with pytest.raises(ValidationError, match="together"):
        definition({**ENTRY, "connection_config": {k: dict(v) for k, v in fields.items()}})
