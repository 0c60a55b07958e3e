"""Which of a definition's URLs get a secret, and who decides about their hosts.

A secret of the app (its client's secret, and the tokens it is given for it) may go to the
provider's own domain only. Where a placeholder stands in a host, the pattern or list of its field
must keep every value there; this is proven on the pattern's automaton, when a definition is
written. What a value looks like is checked again when a URL is made (`interpolate.make_url`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from keystow.catalog.authority import authority_of, field_name, sides, url_templates
from keystow.catalog.pattern_syntax import Choice, PatternError, Sequence, literal, parse
from keystow.catalog.patterns import Automaton

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from keystow.catalog.authority import Part
    from keystow.catalog.pattern_syntax import Node, Ranges

# What is sent in these modes is the end user's own: it may go where the end user says.
OWN_SECRETS: Final = frozenset(
    {"API_KEY", "BASIC", "NONE", "OAUTH2_CC", "TWO_STEP", "JWT", "SIGNATURE", "BILL"}
    | {"MCP_OAUTH2_GENERIC"}
)
# What is the app's in these signs requests and is never sent.
_ONLY_SIGNS: Final = frozenset({"AWS_SIGV4"})
# Below a country's ending people register third labels.
_SECOND_LEVELS: Final = frozenset(
    {"ac", "co", "com", "edu", "firm", "gen", "go", "gob", "gouv", "gov", "id", "in", "ind"}
    | {"info", "ltd", "me", "mil", "ne", "net", "nom", "or", "org", "plc", "sch"}
)
# Domains under which anybody may have a name, or a server.
_SHARED: Final = frozenset(
    {"amplifyapp.com", "appspot.com", "azureedge.net", "azurefd.net", "blogspot.com"}
    | {"cloudapp.net", "cloudfront.net", "cloudfunctions.net", "ddns.net", "deno.dev", "deno.net"}
    | {"duckdns.org", "firebaseapp.com", "fly.dev", "github.io", "gitlab.io", "glitch.me"}
    | {"herokuapp.com", "hf.space", "loca.lt", "netlify.app", "ngrok-free.app", "ngrok-free.dev"}
    | {"ngrok.app", "ngrok.dev", "ngrok.io", "onrender.com", "pages.dev", "railway.app", "repl.co"}
    | {"replit.app", "replit.dev", "supabase.co", "surge.sh", "translate.goog", "vercel.app"}
    | {"trycloudflare.com", "web.app", "workers.dev"}
)
# In these, names of services, regions or addresses stand between anybody's name and the domain.
_SHARED_AT_ANY_DEPTH: Final = (
    *(".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu", ".on.aws"),
    *(".elasticbeanstalk.com", ".awsapprunner.com"),
    *(".digitaloceanspaces.com", ".ondigitalocean.app"),
    *(".windows.net", ".azure.com", ".azure-api.net", ".azurewebsites.net"),
    *(".azurestaticapps.net", ".storage.googleapis.com", ".run.app", ".nip.io", ".sslip.io"),
)
_FEW: Final = 16
_LONGEST_HOST: Final = 253
_MAX_STEPS: Final = 20_000
_DIGITS: Final = "0123456789"
_PORT: Final = "#"  # stands for a digit that is only known to be one


def sends_app_secrets(definition: Mapping[str, Any]) -> bool:
    """Return whether the secrets at stake are the app's, not those of each connection."""
    if definition.get("client_per_connection") or definition.get("auth_mode") in _ONLY_SIGNS:
        return False
    own = definition.get("auth_mode") in OWN_SECRETS
    return not own or bool(definition.get("integration_config"))


def is_fixed(definition: Mapping[str, Any], template: str) -> bool:
    """Return whether a URL leads into a domain that the definition itself decides about.

    False: a value of a connection chooses the host.
    """
    return not _fault_of(definition, template)


def check(definition: Mapping[str, Any]) -> None:
    """Refuse a definition that lets a value lead the app's secrets out of the provider's domain.

    Raises:
        ValueError: names the URL, the input, and what it needs.
    """
    if not sends_app_secrets(definition):
        return
    for name, template in url_templates(definition, secret=True):
        fault = _fault_of(definition, template)
        if fault:
            raise ValueError(f"{name} gets a secret, and {fault}")


def chosen_by_connections(definition: Mapping[str, Any], settled: Collection[str]) -> str:
    """Return which inputs choose a host that gets secrets, beside those that are settled.

    "": none does; whatever a connection says, secrets stay in domains that are written out.
    """
    free: dict[str, None] = {}
    for _, template in url_templates(definition, secret=True):
        if _fault_of(definition, template):
            parts = [part for side in sides(template) for part in authority_of(side).parts]
            names = [field_name(part.text) for part in parts if part.is_placeholder]
            free |= dict.fromkeys(name for name in names if name not in settled)
    return ", ".join(free)


def _fault_of(definition: Mapping[str, Any], template: str) -> str:
    for side in sides(template):
        parts = authority_of(side).parts
        if not any(part.is_placeholder for part in parts):
            continue
        nodes: list[Node] = []
        for part in parts:
            found = _node_of(definition, part)
            if isinstance(found, str):
                return found
            nodes.append(found)
        if not _ends_in_a_domain(Automaton.of(Sequence(tuple(nodes)))):
            names = ", ".join(field_name(part.text) for part in parts if part.is_placeholder)
            return (
                f"the pattern or enum of {names} must keep its host within the provider's domain "
                "(its end written out, as in ^[a-z0-9-]+\\.example\\.com$)"
            )
    return ""


def _node_of(definition: Mapping[str, Any], part: Part) -> Node | str:
    """Return what a part of a host may be, or what is wrong with it."""
    if not part.is_placeholder:
        return literal(part.text)
    name = field_name(part.text)
    field = definition.get("connection_config", {}).get(name)
    if not isinstance(field, dict):
        return f"its host depends on {name[:80]}, which is no field of connection_config"
    allowed, pattern = field.get("enum"), field.get("pattern")
    if allowed:
        return Choice(tuple(literal(value) for value in allowed if value))
    needs = (
        f"connection_config.{name} needs a pattern with ^ and $, or an enum: it chooses the host"
    )
    if not pattern:
        return needs
    try:
        branches = parse(pattern)
    except PatternError:
        return needs
    if not all(branch.starts and branch.ends for branch in branches):
        return needs
    return Choice(tuple(branch.node for branch in branches))


class _Tail(NamedTuple):
    """What is known of a host, read from its end: the text, and whether a port came behind it."""

    text: str = ""
    over_port: bool = False

    @property
    def may_be_port(self) -> bool:
        """Whether a port may have been read so far."""
        return bool(self.text) and not self.over_port and set(self.text) <= {*_DIGITS, _PORT}

    def before(self, each: str) -> _Tail | bool:
        """Return what is known with one more character in front.

        True: the domain is written out, whatever stands before it. False: it is not, and nothing
        before it changes that.
        """
        if each == ":" and self.may_be_port:
            return _Tail("", over_port=True)
        if each == "/":  # of ://, so that all of the host is written out
            return bool(self.text) and _PORT not in self.text
        if each == "." and _is_domain(self.text):
            return True
        longer = _Tail(each + self.text, self.over_port)
        if _PORT in longer.text:
            return _Tail(_PORT) if longer.may_be_port else False
        legal = (each.isascii() and each.isalnum()) or each in ".-_"
        return longer if legal and len(longer.text) <= _LONGEST_HOST else False

    @property
    def may_be_all(self) -> bool:
        """Whether it may be a whole host."""
        return bool(self.text.strip(".")) and _PORT not in self.text


def _ends_in_a_domain(automaton: Automaton) -> bool:
    """Return whether everything an automaton matches ends in a domain that is written out.

    Walks from the ends backwards, over a port first where there is one. Each way must come to a
    dot with a domain behind it, or to the beginning of the host with nothing left open.
    """
    before: list[list[int]] = [[] for _ in automaton.after]
    for place, following in enumerate(automaton.after):
        for other in following:
            before[other].append(place)
    todo = [(place, _Tail()) for place in automaton.whole.last]
    seen = set(todo)
    while todo:
        place, tail = todo.pop()
        for each in _few(automaton.ranges[place]):
            known = tail.before(each)
            if known is True:
                continue
            if known is False or (place in automaton.whole.first and not known.may_be_all):
                return False
            fresh = {(other, known) for other in before[place]} - seen
            seen |= fresh
            todo += fresh
        if len(seen) > _MAX_STEPS:
            return False
    return True


def _few(ranges: Ranges) -> list[str]:
    """Return the characters of a set in lower case; `#` for any digit, a blank for too many."""
    if all(low >= ord("0") and high <= ord("9") for low, high in ranges) and (
        sum(high - low + 1 for low, high in ranges) > 1
    ):
        return [_PORT]
    if sum(high - low + 1 for low, high in ranges) > _FEW:
        return [" "]
    return sorted({chr(unit).lower() for low, high in ranges for unit in range(low, high + 1)})


def _is_domain(text: str) -> bool:
    """Return whether a text is a domain of somebody's own, not a public ending."""
    labels = text.split(".")
    if len(labels) < 2 or not all(labels) or not text.isascii():  # noqa: PLR2004 - example.com
        return False
    if _PORT in text or labels[-1].isdigit():
        return False
    if text in _SHARED or f".{text}".endswith(_SHARED_AT_ANY_DEPTH):
        return False
    country = len(labels[-1]) == 2  # noqa: PLR2004 - ISO 3166
    return not (len(labels) == 2 and country and labels[0] in _SECOND_LEVELS)  # noqa: PLR2004
