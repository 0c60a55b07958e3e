"""The page an authorization popup ends on: tells its opener how it went, then closes or explains.

The page is static but for one inert JSON block, so its Content-Security-Policy can name the
script and the style by hash: nothing that a provider put into the callback's query can ever run.
"""

import base64
import hashlib
import html
import json
from collections.abc import Mapping
from typing import Final

PROVIDER_ERROR_KEYS: Final = (
    "error",
    "error_description",
    "error_reason",
    "error_uri",
    "status_code",
    "error_message",
)
"""Query parameters of a callback in which providers say what went wrong (RFC 6749 §4.1.2.1)."""

DEFAULT_ERROR_TYPE: Final = "connection_validation_failed"

_STYLE: Final = """
:root { color-scheme: light dark; --back: #f4f5f7; --card: #fff; --text: #16181d; --soft: #5b616e;
  --line: #e2e4e9; --good: #0a7d4b; --goodback: #e3f5ec; --bad: #b3261e; --badback: #fce8e6; }
@media (prefers-color-scheme: dark) {
  :root { --back: #101216; --card: #1a1d23; --text: #f1f2f4; --soft: #a4aab6; --line: #2c3038;
    --good: #5fd6a0; --goodback: #12352a; --bad: #ff9b92; --badback: #421d1b; }
}
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 24px;
  background: var(--back); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { width: 100%; max-width: 400px; padding: 32px 28px; text-align: center;
  background: var(--card); border: 1px solid var(--line); border-radius: 16px; }
.mark { width: 56px; height: 56px; margin: 0 auto 20px; border-radius: 50%; display: grid;
  place-items: center; background: var(--goodback); color: var(--good); }
.mark svg { width: 28px; height: 28px; fill: none; stroke: currentColor; stroke-width: 2.5;
  stroke-linecap: round; stroke-linejoin: round; }
.failed .mark { background: var(--badback); color: var(--bad); }
h1 { margin: 0 0 8px; font-size: 20px; line-height: 1.3; }
p { margin: 0 0 8px; color: var(--soft); overflow-wrap: anywhere; }
.reason { color: var(--text); }
.code { font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
button { margin-top: 16px; min-height: 44px; padding: 0 20px; font: inherit; font-weight: 600;
  color: var(--text); background: transparent; border: 1px solid var(--line);
  border-radius: 10px; cursor: pointer; }
button:hover { border-color: var(--soft); }
button:focus-visible { outline: 3px solid var(--good); outline-offset: 2px; }
.failed .tick, .done .cross, .done .reason, .done .code { display: none; }
"""

_SCRIPT: Final = """
(function () {
  'use strict';
  var keys = ['error', 'error_description', 'error_reason', 'error_uri', 'status_code',
    'error_message'];
  var error = JSON.parse(document.getElementById('result').textContent).error;
  var query = new URLSearchParams(window.location.search);
  var told = {};
  keys.forEach(function (key) { if (query.get(key)) { told[key] = query.get(key); } });
  if (!error && Object.keys(told).length) {
    error = { message: JSON.stringify(told), errorType: 'connection_validation_failed' };
    document.body.className = 'failed';
    document.title = document.getElementById('title').textContent = 'The connection was not made';
    document.getElementById('reason').textContent =
      told.error_description || told.error_message || told.error_reason || '';
    document.getElementById('code').textContent = told.error || '';
    document.getElementById('hint').textContent = 'You can close this window and try again.';
    document.getElementById('status').setAttribute('role', 'alert');
  }
  // The code and the state are used up; they need not stay in the window's address or history.
  try { history.replaceState(null, '', window.location.pathname); } catch (e) { /* no matter */ }
  window.__nangoOAuthError = error;
  var message = error
    ? { type: 'nango_oauth_callback_error',
        payload: { message: error.message, errorType: error.errorType } }
    : { type: 'nango_oauth_callback_success' };
  var channel = null;
  function close() { window.close(); }
  function onAck(event) {
    if (event.data && event.data.type === 'nango_oauth_callback_ack') { close(); }
  }
  window.addEventListener('message', onAck);
  document.getElementById('close').addEventListener('click', close);
  try { if (window.opener) { window.opener.postMessage(message, '*'); } } catch (e) { /* gone */ }
  try {
    channel = new BroadcastChannel('nango-oauth-callback');
    channel.onmessage = onAck;
    channel.postMessage(message);
  } catch (e) { /* a browser without it has the opener */ }
  if (!error) { setTimeout(close, 500); }
})();
"""

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{title}</title>
<style>{style}</style>
</head>
<body class="{state}">
<main>
<div class="mark" aria-hidden="true"><svg viewBox="0 0 24 24"><path class="tick"
 d="M5 12.5l4.5 4.5L19 7.5"/><path class="cross" d="M7 7l10 10M17 7L7 17"/></svg></div>
<div id="status" role="{role}">
<h1 id="title">{title}</h1>
<p id="reason" class="reason">{reason}</p>
<p id="code" class="code">{code}</p>
<p id="hint">{hint}</p>
</div>
<button id="close" type="button">Close window</button>
</main>
<script type="application/json" id="result">{result}</script>
<script>{script}</script>
</body>
</html>
"""


def success_page(*, pending: bool = False) -> str:
    """Return the page for a connection that was made; it closes itself after half a second.

    ``pending``: it waits for whoever asked for it to confirm it.
    """
    if pending:
        return _render(
            title="Almost connected",
            reason="Whoever asked you to connect has to confirm it now.",
            code="",
            hint="You can close this window. If it is not confirmed within 15 minutes, "
            "the access is withdrawn.",
            error=None,
        )
    return _render(
        title="Connected",
        reason="",
        code="",
        hint="You can close this window.",
        error=None,
    )


def error_page(
    message: str,
    error_type: str = DEFAULT_ERROR_TYPE,
    provider_error: Mapping[str, str] | None = None,
) -> str:
    """Return the page for a connection that was not made; it stays open until acknowledged.

    Args:
        message: what went wrong, in words for the person in front of the window.
        error_type: the machine-readable kind, as in the WebSocket's ``error_type``.
        provider_error: the callback's query; of it only ``PROVIDER_ERROR_KEYS`` are shown and
            told to the opener (as a JSON string in place of ``message``).
    """
    told = {
        key: str((provider_error or {})[key])
        for key in PROVIDER_ERROR_KEYS
        if (provider_error or {}).get(key)
    }
    reason = (
        told.get("error_description")
        or told.get("error_message")
        or told.get("error_reason")
        or message
    )
    announced = json.dumps(told, separators=(",", ":"), ensure_ascii=False) if told else message
    return _render(
        title="The connection was not made",
        reason=reason,
        code=told.get("error") or error_type,
        hint="You can close this window and try again.",
        error={"message": announced, "errorType": error_type or DEFAULT_ERROR_TYPE},
    )


def headers() -> dict[str, str]:
    """Return the response headers both pages need.

    No ``Cross-Origin-Opener-Policy: same-origin``: it would cut the popup off from the window
    that waits for it.
    """
    return {
        "content-type": "text/html; charset=utf-8",
        "cache-control": "no-store",
        "content-security-policy": _POLICY,
        "cross-origin-opener-policy": "unsafe-none",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
    }


def _render(
    *, title: str, reason: str, code: str, hint: str, error: Mapping[str, str] | None
) -> str:
    return _PAGE.format(
        title=html.escape(title),
        reason=html.escape(reason),
        code=html.escape(code),
        hint=html.escape(hint),
        role="alert" if error else "status",
        state="failed" if error else "done",
        style=_STYLE,
        script=_SCRIPT,
        result=_embed({"error": error}),
    )


def _embed(value: object) -> str:
    """Encode JSON so that it cannot end the element it stands in (HTML, script data states)."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _source(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


_POLICY: Final = (
    f"default-src 'none'; script-src {_source(_SCRIPT)}; style-src {_source(_STYLE)}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
