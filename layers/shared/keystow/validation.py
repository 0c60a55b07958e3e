"""pydantic's findings as issues of the contract, and the rules that several bodies share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    StringConstraints,
    ValidationError,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from keystow.errors import ApiError, Issue
from keystow.ids import CONNECTION_ID
from keystow.text import trimmed

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from keystow.http.messages import Request

M = TypeVar("M", bound=BaseModel)

KEY_MAX = 4_096
TOKEN_MAX = 65_536
CLIENT_ID_MAX = 255
EMAIL_MIN = 5

# pydantic's error type → the validation code that clients know (contract 1.3).
_CODES = {
    "missing": "invalid_type",
    "extra_forbidden": "unrecognized_keys",
    "string_too_short": "too_small",
    "too_short": "too_small",
    "greater_than_equal": "too_small",
    "greater_than": "too_small",
    "string_too_long": "too_big",
    "too_long": "too_big",
    "less_than_equal": "too_big",
    "less_than": "too_big",
    "string_pattern_mismatch": "invalid_format",
    "literal_error": "invalid_value",
    "enum": "invalid_value",
}


# Members of unions of plain types, as pydantic names them in places.
_TYPES = frozenset({"any", "bool", "bytes", "date", "datetime", "float", "int", "none", "str"})


class Body(BaseModel):
    """A request body: unknown keys are refused, types are not coerced."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


ProviderConfigKey = Annotated[
    str, StringConstraints(min_length=1, max_length=255, pattern=r"^[a-zA-Z0-9~:.@ _-]+$")
]
ConnectionId = Annotated[
    str,
    StringConstraints(min_length=1, max_length=255, pattern=f"^{CONNECTION_ID.pattern}$"),
]


def _trimmed(value: Any) -> Any:
    return trimmed(value) if isinstance(value, str) else value


# What was pasted is cut before anything else is done with it, so that what is tried at the provider
# is what is stored and served. A password is kept as typed: white space may be part of it.
Trimmed = BeforeValidator(_trimmed)
Key = Annotated[str, Trimmed, StringConstraints(min_length=1, max_length=KEY_MAX)]
UserName = Annotated[str, Trimmed, StringConstraints(max_length=KEY_MAX)]
Password = Annotated[str, StringConstraints(max_length=KEY_MAX)]
Token = Annotated[str, Trimmed, StringConstraints(min_length=1, max_length=TOKEN_MAX)]
ClientId = Annotated[str, Trimmed, StringConstraints(min_length=1, max_length=CLIENT_ID_MAX)]
ClientSecret = Annotated[str, Trimmed, StringConstraints(max_length=KEY_MAX)]


def is_scope(text: str) -> bool:
    """Return whether a text is one scope (RFC 6749, appendix A.4), without the comma.

    The comma separates scopes in the API.
    """
    return bool(text) and all("!" <= each <= "~" and each not in '",\\' for each in text)


def _scopes(value: str) -> str:
    if value and not all(is_scope(part) for part in value.split(",")):
        raise issue_error(
            "invalid_union",
            "scopes are separated by single commas and hold no spaces, quotation marks, "
            "backslashes or characters beyond ASCII",
        )
    return value


def _split(value: Any) -> Any:
    return ",".join(value.replace(",", " ").split()) if isinstance(value, str) else value


Scopes = Annotated[str, Trimmed, AfterValidator(_scopes)]
# A session's scopes may be separated by spaces as well: "read write" are two.
SessionScopes = Annotated[str, BeforeValidator(_split), AfterValidator(_scopes)]


def issue_error(code: str, message: str) -> PydanticCustomError:
    """Return an error for a validator to raise, with a code of the contract.

    The message must not hold what was received.
    """
    return PydanticCustomError(code, message.replace("{", "{{").replace("}", "}}"))


def issues_of(error: ValidationError, prefix: tuple[str, ...] = (), *, found: Any) -> list[Issue]:
    """Return pydantic's findings as issues; none of them holds what was received.

    Args:
        error: what pydantic found.
        prefix: where the validated value stands in the body.
        found: the validated value: paths name only what is in it, or is missing in it.
    """
    issues: list[Issue] = []
    unknown: dict[tuple[str, ...], list[str]] = {}
    for finding in error.errors(include_url=False, include_context=True, include_input=False):
        kind = finding["type"]
        path = prefix + _path(finding["loc"], found, kind)
        if kind == "extra_forbidden":
            unknown.setdefault(path[:-1], []).append(str(finding["loc"][-1])[:80])
            continue
        if kind in {"union_tag_invalid", "union_tag_not_found"}:
            discriminator = str(finding.get("ctx", {}).get("discriminator", "")).strip("'")
            path = (*path, discriminator)
            # pydantic's own text would repeat what was received.
            expected = finding.get("ctx", {}).get("expected_tags", "a type")
            issues.append(Issue("invalid_union", f"expected {expected}", path))
            continue
        issues.append(Issue(_code_of(kind), _message(finding), path))
    issues += [
        Issue("unrecognized_keys", f"unknown keys: {', '.join(names)[:200]}", path)
        for path, names in unknown.items()
    ]
    return issues


def _path(loc: tuple[int | str, ...], found: Any, kind: str) -> tuple[str, ...]:
    """Return a place without what pydantic adds: tags and types of a union's members, ``[key]``.

    Only names and numbers that lead somewhere in the value are kept, and the name of what is
    missing there.
    """
    path: list[str] = []
    for position, step in enumerate(loc):
        last = position + 1 == len(loc)
        if isinstance(found, dict) and isinstance(step, str):
            name = step if step in found else _same_but_case(step, found)
            if name is not None:
                found = found[name]
                path.append(name)
            elif last and (kind == "missing" or _is_missed(step, kind)):
                path.append(step)
        elif isinstance(found, list) and isinstance(step, int) and step < len(found):
            found = found[step]
            path.append(str(step))
    return tuple(path)


def _message(finding: ErrorDetails) -> str:
    """Return pydantic's sentence without names of our classes, and without its inner steps."""
    kind, context = finding["type"], finding.get("ctx", {})
    if kind in {"model_type", "model_attributes_type", "dict_type"}:
        return "Input should be an object"
    # Of a text that was cut first, pydantic says "items" and "after validation".
    if context.get("field_type") == "Value" and kind == "too_long":
        return f"Must have at most {context['max_length']} characters"
    if context.get("field_type") == "Value" and kind == "too_short":
        least = context["min_length"]
        return f"Must have at least {least} character{'' if least == 1 else 's'}"
    return finding["msg"].removeprefix("Value error, ")


def _is_missed(step: str, kind: str) -> bool:
    """Return whether a validator of ours misses this name; pydantic's own tags are types."""
    return kind != "value_error" and step.islower() and step.isidentifier() and step not in _TYPES


def _same_but_case(step: str, found: dict[str, Any]) -> str | None:
    """Return the name as it was received of one that a validator has put into lower case."""
    return next((name for name in found if name.lower() == step), None)


def _code_of(kind: str) -> str:
    if kind in _CODES:
        return _CODES[kind]
    if kind.endswith(("_type", "_parsing")) or kind.startswith(("date", "dict", "list", "model")):
        return "invalid_type"
    known = {
        "custom",
        "invalid_format",
        "invalid_key",
        "invalid_string",
        "invalid_type",
        "invalid_union",
        "invalid_value",
        "too_big",
        "too_small",
    }
    return kind if kind in known else "custom"


def body_of(request: Request, model: type[M]) -> M:
    """Return the validated body of a request.

    Raises:
        ApiError: as ``Request.json_object``, and 400 ``invalid_body`` with the issues.
    """
    return validated(model, request.json_object(), "invalid_body")


def validated(model: type[M], found: Any, code: str, prefix: tuple[str, ...] = ()) -> M:
    """Return a validated model of decoded JSON. Raises an ``invalid_*`` error with the issues."""
    try:
        return model.model_validate(found)
    except ValidationError as error:
        raise ApiError(code, issues=issues_of(error, prefix, found=found)) from None


def _end_user_email(value: str) -> str:
    if is_email(value):
        return value
    faults = [issue_error("invalid_format", "not an email address")]
    if len(value) < EMAIL_MIN:
        faults.append(issue_error("too_small", f"at least {EMAIL_MIN} characters"))
    lines = [InitErrorDetails(type=fault, input=None) for fault in faults]
    raise ValidationError.from_exception_data("email", lines, hide_input=True)


def is_email(text: str) -> bool:
    """Return whether a text looks like an email address; only its owner can tell for sure."""
    local, at, domain = text.rpartition("@")
    return bool(
        at
        and local
        and EMAIL_MIN <= len(text) <= 320  # noqa: PLR2004 - contract 3, RFC 5321 section 4.5.3.1
        and "." in domain
        and not domain.startswith((".", "-"))
        and not domain.endswith(".")
        and not any(character.isspace() for character in text)
        and "@" not in local
    )


Email = Annotated[str, AfterValidator(_end_user_email)]
