"""Bodies made from the fields of a mode, validated with pydantic (contract 4, 5.4)."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BeforeValidator, ConfigDict, StringConstraints, create_model

from keystow.clock import LAST_MOMENT, iso, parse_date
from keystow.validation import (
    CLIENT_ID_MAX,
    TOKEN_MAX,
    Body,
    ClientId,
    ClientSecret,
    Key,
    Password,
    Token,
    Trimmed,
    UserName,
    issue_error,
    validated,
)

if TYPE_CHECKING:
    from keystow.modes.base import Mode
    from keystow.modes.fields import Field


def _date(value: Any) -> str:
    """Return a date of a body in the form of credentials; numbers are epoch milliseconds."""
    seconds: float | None = None
    if isinstance(value, str):
        seconds = parse_date(value)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = value / 1000
    if seconds is None or not 0 <= seconds <= LAST_MOMENT:
        raise issue_error("invalid_type", "expected a date")
    return iso(seconds)


class OpenBody(Body):
    """An object whose other fields the mode looks at itself."""

    model_config = ConfigDict(extra="allow", strict=True, hide_input_in_errors=True)


class ConfigOverride(Body):
    """A connection's own OAuth client."""

    client_id: Annotated[str, Trimmed, StringConstraints(max_length=CLIENT_ID_MAX)] | None = None
    client_secret: ClientSecret | None = None


_KINDS: Final[dict[str, Any]] = {
    "key": Key,
    "user_name": UserName,
    "password": Password,
    "token": Token,
    "text": Annotated[str, Trimmed, StringConstraints(max_length=TOKEN_MAX)],
    "client_id": ClientId,
    "client_secret": ClientSecret,
    "client": ConfigOverride,
    "date": Annotated[str, BeforeValidator(_date)],
}


@cache
def form_body(mode: Mode) -> type[Body]:
    """Return the model of the body that a browser posts with what was typed in."""
    return _model(f"{mode.credential_type}Form", mode.form)


@cache
def import_body(mode: Mode) -> type[Body]:
    """Return the model of ``credentials`` in an import."""
    kind: Any = Literal[mode.credential_type]
    if mode.by_entry:
        # Its fields are known once the provider is.
        return create_model(
            f"{mode.credential_type}Credentials", __base__=OpenBody, type=(kind, ...)
        )
    return _model(f"{mode.credential_type}Credentials", mode.imported, type=(kind, ...))


def typed(mode: Mode, body: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a form. Raises 400 ``invalid_body`` with the issues."""
    return validated(form_body(mode), body, "invalid_body").model_dump(exclude_none=True)


def _model(name: str, fields: tuple[Field, ...], **first: Any) -> type[Body]:
    found: dict[str, Any] = {each.name: _definition(each) for each in fields}
    model: type[Body] = create_model(name, __base__=Body, **first, **found)
    return model


def _definition(field: Field) -> tuple[Any, Any]:
    kind = _KINDS[field.kind]
    return (kind, ...) if field.required else (kind | None, None)
