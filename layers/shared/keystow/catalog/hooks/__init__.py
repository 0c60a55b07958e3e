"""Named hooks: what a new connection must learn and data alone can't say.

An entry names one in `post_connection.hook` and hands it `post_connection.options`. A hook knows
no provider by name. It calls through `fetch`, which sends the connection's credentials, and
returns what to write into the connection's config; it may raise `HookError`. What was learnt goes
into a URL as a value, never as a part of a template: it may look like a placeholder.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

# (method, template of a URL or path, further config values) -> (status, decoded answer or None)
Fetch = Callable[[str, str, Mapping[str, Any]], tuple[int, Any]]
Hook = Callable[[Fetch, Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]

_OK = range(200, 300)


class HookError(Exception):
    """A hook could not learn what it should; its message holds no secret."""


def choose_site(
    fetch: Fetch, config: Mapping[str, Any], options: Mapping[str, Any]
) -> dict[str, Any]:
    """Picks the site a token is meant for, when one token opens several.

    The end user may have named the site by its subdomain, in any case of letters, alone or as a
    whole host name. A named site that the token does not open is an error, never replaced by
    another one: data of the wrong site is worse than none. Without a name the first site is taken.

    Options: `sites_path` answers a list of `{id, url}`; `suffix` is what follows the subdomain in
    a host name; `sets` maps `id` and `url` to config names; `account_paths` (templates over the
    config) are asked in turn for the caller's own account, whose `account_field` is written to
    `account_sets`; an account that can't be read is left out.

    Raises:
        HookError: the list can't be read, is empty, or lacks the named site.
    """
    status, sites = fetch("GET", str(options["sites_path"]), {})
    if status not in _OK or not isinstance(sites, list):
        raise HookError(f"the list of sites was answered with status {status}")
    suffix = str(options["suffix"]).lower()
    wanted = str(config.get("subdomain") or "").strip().lower().removesuffix(suffix)
    usable = [site for site in sites if isinstance(site, Mapping) and site.get("id")]
    chosen = next(
        (site for site in usable if not wanted or _host(site) == f"{wanted}{suffix}"), None
    )
    if chosen is None:
        raise HookError("the token opens no site" if not usable else "the site is not among them")
    updates = {name: chosen.get(key) for key, name in options["sets"].items() if chosen.get(key)}
    for path in options.get("account_paths", ()):
        status, account = fetch("GET", str(path), updates)
        found = account.get(options["account_field"]) if isinstance(account, Mapping) else None
        if status in _OK and found:
            return {**updates, str(options["account_sets"]): found}
    return updates


def _host(site: Mapping[str, Any]) -> str:
    url = str(site.get("url") or "").lower()
    return url.removeprefix("https://").partition("/")[0]


HOOKS: Final[Mapping[str, Hook]] = {"choose_site": choose_site}
