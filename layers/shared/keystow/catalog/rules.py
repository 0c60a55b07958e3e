"""What a definition must hold beyond the types of its fields; plain data in, ValueError out."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from keystow.catalog import patterns
from keystow.catalog.authority import HOST_NAME, sides
from keystow.catalog.interpolate import own_query_names, placeholders

if TYPE_CHECKING:
    from pydantic import ValidationInfo

MAX_INPUTS: Final = 50
MAX_BYTES: Final = 100_000  # a definition is one item of the store, which ends at 400 KB
_MAX_DEPTH = 10
_LARGEST = 2**53
_LOOPBACK = frozenset({"127.0.0.1", "localhost"})
_RESERVED = frozenset(
    {"redirect_uri", "state", "client_id", "code_challenge", "code_challenge_method", "request_uri"}
)
_CONFIG = "connectionConfig."
_SECRET_URLS = ("token_url", "refresh_url", "revocation_url")
_INPUT_GROUPS: Final = (
    "connection_config",
    "credentials",
    "assertion_option",
    "integration_config",
)
# Names that flows put into connection_config themselves (contract 8.3).
_GIVEN = frozenset({"oauth_scopes", "mcp_server_url"})
_NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "OAUTH2": ("authorization_url", "token_url"),
    "MCP_OAUTH2": ("authorization_url", "token_url"),
    "OAUTH1": ("authorization_url", "token_url", "request_url", "signature_method"),
    "OAUTH2_CC": ("token_url",),
    "TWO_STEP": ("token_url", "token_response"),
    "JWT": ("token", "signature"),
    "SIGNATURE": ("token", "signature"),
    "BILL": ("token_url",),
    "APP": ("authorization_url", "token_url"),
    "CUSTOM": ("authorization_url", "token_url"),
}


def check_size(body: dict[str, Any]) -> dict[str, Any]:
    """Refuses a definition that is too large or nested too deeply."""
    check_json(body)
    if len(json.dumps(body)) > MAX_BYTES:
        raise ValueError(f"the definition is larger than {MAX_BYTES} bytes")
    return body


def check_json(value: Any) -> Any:
    """Takes JSON values up to ten levels deep."""
    stack = [(value, 0)]
    while stack:
        item, depth = stack.pop()
        if depth > _MAX_DEPTH:
            raise ValueError("nested too deeply")
        if isinstance(item, Mapping):
            if not all(isinstance(key, str) for key in item):
                raise ValueError("keys must be strings")
            stack += [(inner, depth + 1) for inner in item.values()]
        elif isinstance(item, list):
            stack += [(inner, depth + 1) for inner in item]
        else:
            _check_scalar(item)
    return value


def _check_scalar(item: Any) -> None:
    if isinstance(item, str):
        if any("\ud800" <= character <= "\udfff" for character in item):
            raise ValueError("must be text that UTF-8 can carry")
    elif isinstance(item, int | float):
        if not -_LARGEST <= item <= _LARGEST:  # refuses NaN and infinity too
            raise ValueError("must be a number that JSON can carry")
    elif item is not None:
        raise ValueError("must be a JSON value")


def check_url(url: str, info: "ValidationInfo") -> str:
    """An https URL template, or one whose scheme comes from a placeholder; each side of `||`."""
    loopback = bool((info.context or {}).get("allow_http_loopback"))
    for side in sides(url):
        _check_one_url(side, loopback=loopback)
    return url


def _check_one_url(url: str, *, loopback: bool) -> None:
    if not url or re.search(r"[\s\\]", url):
        raise ValueError("must be a URL without spaces")
    if re.search(r"(?<!\$)\{", url):
        raise ValueError("a placeholder is written ${name}")
    if url.startswith("${"):
        return
    try:
        parts = urlsplit(re.sub(r"\$\{[^}]*\}", "1", url))
        host = parts.hostname
        _ = parts.port  # raises for a port that is no number
    except ValueError:
        raise ValueError("must be a URL") from None
    if not host:
        raise ValueError("must be an absolute URL")
    if "@" in parts.netloc:
        raise ValueError("must not carry a user name")
    if parts.scheme == "https" or (loopback and parts.scheme == "http" and host in _LOOPBACK):
        return
    raise ValueError("must start with https://")


def check_host(host: str) -> str:
    """A host as it stands in a URL: in lower case, with a dot in it, without port."""
    if host != host.lower() or "." not in host or not HOST_NAME.fullmatch(host):
        raise ValueError("must be a host name in lower case")
    return host


def check_link(url: str) -> str:
    """A link shown to people: http or https, nothing a browser would run."""
    if not re.match(r"https?://[^\s\"'<>]+$", url):
        raise ValueError("must be an http(s) link")
    return url


def check_pattern(pattern: str, info: "ValidationInfo") -> str:
    """A regular expression that is run on what people type; none that could take for ever."""
    patterns.check(pattern, (info.context or {}).get("effort"))
    return pattern


def check_inputs(fields: Any) -> Any:
    """A group of a form has a bounded number of inputs; counted before any of them is looked at."""
    if isinstance(fields, Mapping) and len(fields) > MAX_INPUTS:
        raise ValueError(f"at most {MAX_INPUTS} inputs")
    return fields


def check_header(value: str) -> str:
    """No line break outside a placeholder (inside, it is part of what gets signed)."""
    rest, level = [], 0
    for index, character in enumerate(value):
        if character == "{":
            level += 1 if level or value[index - 1 : index] == "$" else 0
        elif character == "}" and level:
            level -= 1
        elif not level:
            rest.append(character)
    if any(character in "\r\n\0" for character in rest):
        raise ValueError("must be one line")
    return value


def check_auth_mode(definition: Mapping[str, Any]) -> None:
    """Each auth mode has the fields it cannot work without."""
    mode = definition["auth_mode"]
    # An installation that starts at the provider sends its code by webhook: no URL to visit.
    needed = () if "installation" in definition else _NEEDS.get(mode, ())
    for name in needed:
        if name not in definition:
            raise ValueError(f"{mode} needs {name}")
    if mode == "API_KEY" and "apiKey" not in definition.get("credentials", {}):
        raise ValueError("API_KEY needs credentials.apiKey")
    if definition.get("use_refresh_url") and "refresh_url" not in definition:
        raise ValueError("use_refresh_url needs refresh_url")
    if "credentials_verification_script" in definition and "verification" in definition.get(
        "proxy", {}
    ):
        raise ValueError("credentials_verification_script and proxy.verification exclude another")


def check_placeholders(definition: Mapping[str, Any]) -> None:
    """Every `${connectionConfig.x}` is asked for or learnt somewhere."""
    known = set(_GIVEN)
    for name in ("connection_config", "integration_config"):
        known |= set(definition.get(name, {}))
    for name in (
        "token_response_metadata",
        "refresh_token_response_metadata",
        "redirect_uri_metadata",
        "webhook_response_metadata",
        "connection_configuration",
    ):
        known |= set(definition.get(name, ()))
    known |= learnt_names(definition)
    for text in strings(definition):
        for name in placeholders(text):
            if name.startswith(_CONFIG) and name.removeprefix(_CONFIG) not in known:
                raise ValueError(f"${{{name}}} is used but declared nowhere")


def check_callback_values(definition: Mapping[str, Any]) -> None:
    """What a browser brings back may name a host only within a pattern or a list."""
    urls: list[Any] = [definition.get(name) for name in _SECRET_URLS]
    urls.append(definition.get("proxy", {}).get("base_url"))
    urls.append(definition.get("introspection", {}).get("url"))
    used = {name for text in strings(urls) for name in placeholders(text)}
    for name in definition.get("redirect_uri_metadata", ()):
        field = definition.get("connection_config", {}).get(name, {})
        if _CONFIG + name in used and not (field.get("pattern") or field.get("enum")):
            raise ValueError(f"connection_config.{name} needs a pattern: it ends up in a URL")


def check_client_per_connection(definition: Mapping[str, Any]) -> None:
    """A client of its own is asked for, in the mode that has one."""
    if not definition.get("client_per_connection"):
        return
    if definition["auth_mode"] != "OAUTH2":
        raise ValueError("client_per_connection belongs to OAUTH2")
    asked = definition.get("credentials", {})
    for name in ("oauth_client_id_override", "oauth_client_secret_override"):
        if name not in asked:
            raise ValueError(f"client_per_connection needs credentials.{name}")


def learnt_names(definition: Mapping[str, Any]) -> set[str]:
    """The config names that post_connection sets."""
    post = definition.get("post_connection", {})
    names = set(post.get("sets", {})) | set(post.get("hook_sets", ()))
    for call in post.get("calls", ()):
        names |= set(call.get("sets", {}))
    return names


def check_account(definition: Mapping[str, Any]) -> None:
    """What names the account is learnt from the provider itself, and no secret.

    A callback's query comes from a browser, whose account is what a backend wants to know.
    """
    told = learnt_names(definition) | set(definition.get("token_response_metadata", ()))
    for name in definition.get("account", ()):
        if name not in told or name in definition.get("redirect_uri_metadata", ()):
            raise ValueError(f"account names {name}, which the provider does not tell")
        if any(definition.get(each, {}).get(name, {}).get("secret") for each in _INPUT_GROUPS):
            raise ValueError(f"account names {name}, which is a secret")


def check_authorization_params(definition: Mapping[str, Any]) -> None:
    """Parameters that tie an authorization to its browser and client are never replaced."""
    taken = _RESERVED & set(definition.get("authorization_params", {}))
    if taken:
        raise ValueError(f"authorization_params may not set {', '.join(sorted(taken))}")
    in_url = _RESERVED & own_query_names(definition)
    if in_url:
        raise ValueError(f"authorization_url may not set {', '.join(sorted(in_url))}")


def check_protocol_params(definition: Mapping[str, Any]) -> None:
    """What OAuth 1.0a signs requests with is never replaced (RFC 5849 §3.1)."""
    if definition["auth_mode"] != "OAUTH1":
        return
    for place in ("request_params", "token_params", "authorization_params"):
        taken = sorted(name for name in definition.get(place, {}) if name.startswith("oauth_"))
        if taken:
            raise ValueError(f"{place} may not set {', '.join(taken)}")
    in_url = sorted(name for name in own_query_names(definition) if name.startswith("oauth_"))
    if in_url:
        raise ValueError(f"authorization_url may not set {', '.join(in_url)}")


def check_signature(definition: Mapping[str, Any]) -> None:
    """A token that is made here is of a protocol that is spoken here."""
    if definition["auth_mode"] != "SIGNATURE":
        return
    if definition["signature"]["protocol"] != "WSSE":
        raise ValueError("signature.protocol of SIGNATURE is WSSE")
    if "hmac_secret_encoding" in definition["signature"]:
        raise ValueError("signature.hmac_secret_encoding has no effect in SIGNATURE")
    unused = sorted(set(definition["token"]) - {"expires_in_ms"})
    if unused:
        raise ValueError(f"token.{unused[0]} has no effect in SIGNATURE")


def check_hooks(definition: Mapping[str, Any]) -> None:
    """A hook is one of those that exist."""
    from keystow.catalog.hooks import HOOKS

    hook = definition.get("post_connection", {}).get("hook")
    if hook is not None and hook not in HOOKS:
        raise ValueError(f"unknown hook {hook}")
    for name, value in definition.get("post_connection", {}).get("options", {}).items():
        places = value if isinstance(value, list) else [value]
        is_place = name.endswith(("_path", "_paths"))
        if is_place and not all(str(place).startswith("/") for place in places):
            raise ValueError(f"post_connection.options.{name} must be paths below proxy.base_url")


def check_built_in(definition: Mapping[str, Any]) -> None:
    """The catalogue's own entries say why PKCE is off and where their facts come from."""
    if definition.get("disable_pkce") and "pkce_off_reason" not in definition:
        raise ValueError("disable_pkce needs pkce_off_reason")
    for name in ("categories", "corroborated", "sources"):
        if name not in definition:
            raise ValueError(f"a built-in entry needs {name}")
    for group in ("connection_config", "credentials"):
        for name, field in definition.get(group, {}).items():
            if not (field.get("title") or field.get("automated") or field.get("hidden")):
                raise ValueError(f"{group}.{name} needs a title")


def strings(value: Any) -> Iterator[str]:
    """Yield the texts of a definition or of a part of it, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
