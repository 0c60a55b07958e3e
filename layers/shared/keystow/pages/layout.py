"""The look that the pages of our own Lambdas share, and how text gets into them."""

from __future__ import annotations

import base64
import hashlib
import html
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

STYLE: Final = """
:root { color-scheme: light dark; --back: #f4f5f7; --card: #fff; --text: #16181d; --soft: #5b616e;
  --line: #e2e4e9; --edge: #8b919d; --good: #0a7d4b; --goodback: #e3f5ec; --bad: #b3261e;
  --badback: #fce8e6; --calmback: #eceef1; }
@media (prefers-color-scheme: dark) {
  :root { --back: #101216; --card: #1a1d23; --text: #f1f2f4; --soft: #a9afbb; --line: #2d323b;
    --edge: #737a87; --good: #5fd6a0; --goodback: #12352a; --bad: #ffa199; --badback: #43211f;
    --calmback: #2a2f38; }
}
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 24px;
  background: var(--back); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { width: 100%; max-width: 440px; min-width: 0; padding: 32px 28px; text-align: center;
  background: var(--card); border: 1px solid var(--line); border-radius: 16px; }
.mark { width: 56px; height: 56px; margin: 0 auto 20px; border-radius: 50%; display: grid;
  place-items: center; background: var(--goodback); color: var(--good); }
.mark svg { width: 28px; height: 28px; fill: none; stroke: currentColor; stroke-width: 2.5;
  stroke-linecap: round; stroke-linejoin: round; }
.failed .mark { background: var(--badback); color: var(--bad); }
.calm .mark { background: var(--calmback); color: var(--soft); }
h1 { margin: 0 0 8px; font-size: 21px; line-height: 1.3; text-wrap: balance;
  overflow-wrap: anywhere; }
p { margin: 0 0 8px; color: var(--soft); overflow-wrap: anywhere; }
details { margin-top: 16px; font-size: 14px; text-align: start; }
summary { display: table; margin: 0 auto; padding: 6px 10px; color: var(--soft); cursor: pointer;
  border-radius: 8px; text-decoration: underline; text-underline-offset: 3px; }
summary:hover { color: var(--text); }
dl { margin: 8px 0 0; padding: 12px 14px; border: 1px solid var(--line); border-radius: 10px; }
dt { color: var(--soft); }
dd { margin: 0 0 8px; overflow-wrap: anywhere; }
dd:last-child { margin: 0; }
button { margin-top: 20px; min-height: 44px; padding: 0 20px; font: inherit; font-weight: 600;
  color: var(--text); background: transparent; border: 1px solid var(--edge);
  border-radius: 10px; cursor: pointer; }
button:hover { background: var(--calmback); }
button:focus-visible, summary:focus-visible { outline: 3px solid var(--text); outline-offset: 2px; }
.failed .tick, .failed .dash, .calm .tick, .calm .cross, .done .cross, .done .dash,
.done details { display: none; }
@media (max-width: 420px) {
  body { padding: 12px; }
  main { padding: 28px 18px; }
}
"""

MARK: Final = """<div class="mark" aria-hidden="true"><svg viewBox="0 0 24 24"><path class="tick"
 d="M5 12.5l4.5 4.5L19 7.5"/><path class="cross" d="M7 7l10 10M17 7L7 17"/><path class="dash"
 d="M6 12h12"/></svg></div>"""


def details(rows: Sequence[tuple[str, str]]) -> str:
    """Return "Show details" as markup.

    Args:
        rows: label and value. A value may hold any text; its element has the label, in lower case,
            for its id, so that a support tool can find it.
    """
    shown = "".join(
        f"<dt>{html.escape(label)}</dt>"
        f'<dd id="{html.escape(label.lower())}" dir="auto">{html.escape(value)}</dd>'
        for label, value in rows
        if value
    )
    return f"<details><summary>Show details</summary><dl>{shown}</dl></details>" if shown else ""


def source(text: str) -> str:
    """Return the hash by which a Content-Security-Policy allows a script or a style."""
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def headers(policy: str) -> dict[str, str]:
    """Return the response headers of a page of ours, with its own Content-Security-Policy."""
    return {
        "content-type": "text/html; charset=utf-8",
        "cache-control": "no-store",
        "content-security-policy": f"{policy}; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
    }
