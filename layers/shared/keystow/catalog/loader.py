"""Reads the built-in entries, one small file each, and gives flows typed access to a definition.

No pydantic here: reading a connection imports this module, and start-up time counts. Built-in
entries are checked by the tests, custom ones when they are written.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from keystow.catalog.errors import CatalogueError, InterpolationError
from keystow.catalog.inputs import fields_as_used, fits
from keystow.catalog.interpolate import as_text, make_url, value_of

_ENTRIES: Final = Path(__file__).parent / "entries"
_ID = re.compile(r"[a-z0-9-]{1,100}")
_NOTHING: Final[Mapping[str, Any]] = {}
_MAX_ALIASES = 5
# What forms are made of, here and in the compatible product's (contract 2.5).
_OF_FORMS: Final = (
    *("display_name", "categories", "docs", "docs_connect", "setup_guide_url"),
    *("auth_mode", "auth_type", "installation", "client_registration"),
    *("require_client_certificate", "token_request_auth_method"),
    *("credentials", "connection_config", "assertion_option", "integration_config"),
)
_ASKED: Final = ("connection_config", "credentials", "assertion_option")


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider's definition with its defaults applied.

    Attributes:
        id: the provider's key, `github`.
        definition: the fields of contract section 14 and docs/catalogue.md, aliases resolved.
    """

    id: str
    definition: Mapping[str, Any]

    def public(self, base_url: str) -> dict[str, Any]:
        """What `GET /providers/{id}` answers as `data`; `base_url` without a trailing slash."""
        return {**self.definition, **self._shown_name(base_url)}

    def _shown_name(self, base_url: str) -> dict[str, str]:
        return {"name": self.id, "logo_url": f"{base_url}/ui/logos/{self.id}.svg"}

    def url(
        self, template: str, config: Mapping[str, Any], skip_encode: Collection[str] = ()
    ) -> str:
        """A URL of the entry for a connection; what stands in its host keeps to its field's form.

        Raises:
            InterpolationError: as `make_url`.
        """
        url = make_url(template, config, skip_encode, self.connection_config)
        parts = urlsplit(url)
        other = self.host_replacements.get(parts.netloc.lower())
        return parts._replace(netloc=other).geturl() if other else url

    def for_form(self, base_url: str) -> dict[str, Any]:
        """What a browser that connects an account is answered: only what its form is made of."""
        shown = {name: self.definition[name] for name in _OF_FORMS if name in self.definition}
        if "connection_config" in shown:
            shown["connection_config"] = fields_as_used(self.definition)
        for group in _ASKED:
            if group in shown:
                shown[group] = {
                    name: field
                    for name, field in shown[group].items()
                    if not field.get("automated")
                }
        if self.auth_mode != "TWO_STEP":
            shown.pop("integration_config", None)
        return {**shown, **self._shown_name(base_url)}

    @property
    def secret_inputs(self) -> frozenset[str]:
        """The names of all inputs that are marked as secret, wherever they are asked for."""
        return frozenset(
            name
            for group in (*_ASKED, "integration_config")
            for name, field in self._mapping(group).items()
            if field.get("secret")
        )

    # What it is

    @property
    def auth_mode(self) -> str:
        """One of contract 8.1."""
        return str(self.definition["auth_mode"])

    @property
    def display_name(self) -> str:
        """The name people know it by."""
        return self._text("display_name") or self.id

    @property
    def proxy(self) -> Mapping[str, Any]:
        """How its API is called."""
        return self._mapping("proxy")

    @property
    def connection_config(self) -> Mapping[str, Mapping[str, Any]]:
        """The inputs that are not secret."""
        return self._mapping("connection_config")

    @property
    def credentials(self) -> Mapping[str, Mapping[str, Any]]:
        """The secrets an end user types."""
        return self._mapping("credentials")

    @property
    def integration_config(self) -> Mapping[str, Mapping[str, Any]]:
        """The settings of the integration's owner."""
        return self._mapping("integration_config")

    def can_be_fixed(self, name: str) -> bool:
        """Whether a value that an integration's owner gives under a name fixes an input.

        A setting of the owner (`integration_config`) of the same name is meant first.
        """
        return name in self.connection_config and name not in self.integration_config

    # Authorization request

    @property
    def authorization_url(self) -> str:
        """Template; empty when there is none."""
        return self._text("authorization_url")

    @property
    def authorization_params(self) -> Mapping[str, Any]:
        """Templates of extra query parameters."""
        return self._mapping("authorization_params")

    @property
    def authorization_url_skip_encode(self) -> Sequence[str]:
        """`scopes` and `base_url`, where they must not be percent-encoded."""
        return self._list("authorization_url_skip_encode")

    @property
    def authorization_url_skip_empty(self) -> bool:
        """Whether empty parameters are left out."""
        return self._flag("authorization_url_skip_empty")

    @property
    def authorization_url_fragment(self) -> str:
        """The fragment that carries the query, for providers whose page is a client-side app."""
        return self._text("authorization_url_fragment")

    @property
    def authorization_url_replacements(self) -> Mapping[str, str]:
        """Text to replace in the finished URL."""
        return self._mapping("authorization_url_replacements")

    @property
    def authorization_code_param_in_callback(self) -> str:
        """The callback's parameter that holds the code."""
        return self._text("authorization_code_param_in_callback") or "code"

    @property
    def default_scopes(self) -> Sequence[str]:
        """Scopes of an integration that names none."""
        return self._list("default_scopes")

    @property
    def scope_separator(self) -> str:
        """What stands between two scopes; RFC 6749 section 3.3 says a space."""
        return self._text("scope_separator") or " "

    @property
    def disable_pkce(self) -> bool:
        """Whether RFC 7636 is left out, for the reason in `pkce_off_reason`."""
        return self._flag("disable_pkce")

    @property
    def issuer(self) -> str | None:
        """The issuer that a callback's `iss` must equal (RFC 9207)."""
        return self._text("issuer") or None

    @property
    def request_url(self) -> str:
        """OAuth 1.0a: where request tokens come from."""
        return self._text("request_url")

    # Token requests

    @property
    def token_url(self) -> str:
        """Template; of an entry with several modes the one of OAUTH2. Empty when there is none."""
        url = self.definition.get("token_url", "")
        return str(url.get("OAUTH2", "")) if isinstance(url, Mapping) else str(url)

    def token_url_for(self, mode: str) -> str:
        """The token URL template of one mode (`OAUTH2`, `APP`)."""
        url = self.definition.get("token_url", "")
        return str(url.get(mode, "")) if isinstance(url, Mapping) else str(url)

    @property
    def token_url_skip_encode(self) -> Sequence[str]:
        """As `authorization_url_skip_encode`."""
        return self._list("token_url_skip_encode")

    def token_host(self, config: Mapping[str, Any]) -> str | None:
        """The host (lower case, with its port) that token requests of a connection go to.

        None when the connection's config does not name one.
        """
        template = self.refresh_url if self.use_refresh_url else self.token_url
        if not template:
            return None
        try:
            url = self.url(template, config, self.token_url_skip_encode)
        except InterpolationError:
            return None
        return urlsplit(url).netloc.lower()

    @property
    def client_per_connection(self) -> bool:
        """Whether each connection brings an OAuth client; the integration's is never sent."""
        return self._flag("client_per_connection")

    @property
    def host_replacements(self) -> Mapping[str, str]:
        """Hosts that a template makes, and the one that is meant."""
        return self._mapping("host_replacements")

    @property
    def token_params(self) -> Mapping[str, Any]:
        """Templates of extra parameters of the token request."""
        return self._mapping("token_params")

    @property
    def token_headers(self) -> Mapping[str, str]:
        """Templates of extra headers of the token request."""
        return self._mapping("token_headers")

    @property
    def refresh_params(self) -> Mapping[str, Any] | None:
        """Extra parameters of a refresh; None: `token_params` are meant (contract 10.6)."""
        value = self.definition.get("refresh_params")
        return value if isinstance(value, Mapping) else None

    @property
    def refresh_url(self) -> str:
        """Where refreshes go when `use_refresh_url` (or the mode) says so."""
        return self._text("refresh_url")

    @property
    def use_refresh_url(self) -> bool:
        """Whether refreshes go to `refresh_url` instead of `token_url`."""
        return self._flag("use_refresh_url")

    @property
    def token_request_auth_method(self) -> str | None:
        """`basic`, `custom`, `private_key_jwt` or None: the client's id and secret in the body."""
        return self._text("token_request_auth_method") or None

    @property
    def authorization_method(self) -> str:
        """`header` (form-encoded Basic, RFC 6749 section 2.3.1) or `body`."""
        return self._text("authorization_method") or "body"

    @property
    def body_format(self) -> str | None:
        """`form`, `json`, `query`, `xml`; None: the mode's own default."""
        return self._text("body_format") or None

    @property
    def alternate_access_token_response_path(self) -> str | None:
        """Where the answer holds the token when it has no `access_token`."""
        return self._text("alternate_access_token_response_path") or None

    @property
    def token_exchange(self) -> Mapping[str, Any]:
        """How the code exchange departs from RFC 6749."""
        return self._mapping("token_exchange")

    @property
    def token_refresh(self) -> Mapping[str, Any]:
        """How the refresh departs from RFC 6749."""
        return self._mapping("token_refresh")

    @property
    def token_success(self) -> Mapping[str, Any]:
        """`{path, equals}`: what an answer must hold to be a success, whatever its status."""
        return self._mapping("token_success")

    @property
    def token_error_path(self) -> str | None:
        """Where an unsuccessful answer names its error code."""
        return self._text("token_error_path") or None

    @property
    def introspection(self) -> Mapping[str, Any]:
        """`{url, params?, active_path?, exp_path?}` where tokens carry no `expires_in`."""
        return self._mapping("introspection")

    @property
    def default_expires_in(self) -> int | None:
        """Seconds that a token lives when the answer does not say."""
        value = self.definition.get("default_expires_in")
        return value if isinstance(value, int) else None

    @property
    def no_refresh_token(self) -> bool:
        """Whether a missing refresh token is this provider's design, not a fault."""
        return self._flag("no_refresh_token")

    @property
    def refresh_token_life_days(self) -> int | None:
        """Days after which an unused refresh token dies; a keep-alive comes before."""
        value = self.definition.get("refresh_token_life_days")
        return value if isinstance(value, int) else None

    @property
    def dual_tokens(self) -> bool:
        """Whether the alternate path holds a second token with a refresh token of its own."""
        return self._flag("dual_tokens")

    @property
    def token_expiration_buffer(self) -> int:
        """Seconds by which a token is treated as older than it says."""
        value = self.definition.get("token_expiration_buffer")
        return value if isinstance(value, int) else 0

    @property
    def token_response_metadata(self) -> Sequence[str]:
        """Paths in the token answer that are copied to the connection's config."""
        return self._list("token_response_metadata")

    @property
    def redirect_uri_metadata(self) -> Sequence[str]:
        """Query keys of the callback that are copied to the connection's config."""
        return self._list("redirect_uri_metadata")

    # Afterwards

    @property
    def revocation_url(self) -> str | None:
        """RFC 7009 endpoint (template)."""
        return self._text("revocation_url") or None

    @property
    def revocation_auth(self) -> str:
        """How the client identifies itself there: `body`, `basic` or `none`."""
        return self._text("revocation_auth") or "body"

    @property
    def post_connection(self) -> Mapping[str, Any]:
        """What to learn about a new connection."""
        return self._mapping("post_connection")

    @property
    def account(self) -> Sequence[str]:
        """Names of what the provider tells that name the account, the most telling first."""
        return self._list("account")

    @property
    def on_disconnect(self) -> Mapping[str, Any]:
        """The call that ends the authorization where RFC 7009 is not spoken."""
        return self._mapping("on_disconnect")

    def _text(self, name: str) -> str:
        value = self.definition.get(name)
        return value if isinstance(value, str) else ""

    def _flag(self, name: str) -> bool:
        return self.definition.get(name) is True

    def _mapping(self, name: str) -> Mapping[str, Any]:
        value = self.definition.get(name)
        return value if isinstance(value, Mapping) else _NOTHING

    def _list(self, name: str) -> Sequence[str]:
        value = self.definition.get(name)
        return value if isinstance(value, list) else ()


def unfit_inputs(provider: Provider, config: Mapping[str, Any]) -> list[str]:
    """The names in a connection's config whose values break their field's pattern or enum.

    Clients may send anything. Where such a value stands in a host, the client's secret would
    follow it there, so flows refuse it before they send anything. A value is looked for as a
    template looks for it: one for `a.b` may stand below `a`.
    """
    unfit = []
    for name, field in provider.connection_config.items():
        text = as_text(value_of(config, name))
        if text and not fits(text, field):
            unfit.append(name)
    return unfit


def built_in(id: str) -> Provider | None:  # noqa: A002 (the field's own word)
    """The built-in entry of that key, or None.

    Raises:
        CatalogueError: the entry exists and can't be used.
    """
    # Checked before the file system is touched, and before the cache is filled with noise.
    return _read(id) if _ID.fullmatch(id) and id in _ids() else None


def built_in_ids() -> tuple[str, ...]:
    """The keys of all built-in entries, sorted."""
    return tuple(sorted(_ids()))


def all_built_in(search: str | None = None) -> list[Provider]:
    """All built-in entries, sorted by key; those that `search` finds (see `matches`)."""
    return [entry for id_ in built_in_ids() if matches(search, entry := _read(id_))]


def matches(search: str | None, provider: Provider) -> bool:
    """Whether a search finds a provider by its key or its display name, in any case of letters.

    `search` is plain text with `|` between alternatives and `^`, `$` at their ends. It is never
    run as a regular expression: a caller's expression could take for ever.
    """
    if not search:
        return True
    names = (provider.id, provider.display_name.casefold())
    parts = search.casefold().split("|")
    return any(_alternative(part, name) for part in parts for name in names)


def _alternative(part: str, name: str) -> bool:
    start, end = part.startswith("^"), part.endswith("$")
    text = part[start : len(part) - end]
    if start and end:
        return name == text
    if start:
        return name.startswith(text)
    return name.endswith(text) if end else text in name


@lru_cache(maxsize=1)
def _ids() -> Collection[str]:
    return frozenset(path.stem for path in _ENTRIES.glob("*.json"))


@cache
def _read(id_: str) -> Provider:
    definition = _resolve(id_, _MAX_ALIASES)
    return Provider(id_, definition)


def _resolve(id_: str, left: int) -> dict[str, Any]:
    try:
        entry = json.loads((_ENTRIES / f"{id_}.json").read_bytes())
    except (OSError, ValueError) as error:
        raise CatalogueError(f"the entry {id_} can't be read") from error
    alias = entry.pop("alias", None)
    if alias is None:
        return dict(entry)
    if not left or alias not in _ids():
        raise CatalogueError(f"the entry {id_} is an alias of nothing")
    return {**_resolve(alias, left - 1), **entry}
