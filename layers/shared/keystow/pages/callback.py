"""The page an authorization popup ends on: tells its opener how it went, then closes or explains.

The page is static but for one inert JSON block, so its Content-Security-Policy can name the
script and the style by hash: nothing that a provider put into the callback's query can ever run.
What strangers say stands in the details only, and only as far as it is handed in.
"""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING, Final

from keystow.pages import layout
from keystow.pages.sentences import DECLINED, UNKNOWN, Sentence, is_declined, sentence_of

if TYPE_CHECKING:
    from collections.abc import Mapping

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

_SCRIPT: Final = """
(function () {
  'use strict';
  var error = JSON.parse(document.getElementById('result').textContent).error;
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
  document.getElementById('close').addEventListener('click', function () {
    close();
    // A window that no script opened stays; its person is told to close it.
    document.getElementById('hint').hidden = false;
  });
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
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body class="{state}">
<main>
{mark}
<div id="status" role="{role}">
<h1 id="title">{title}</h1>
<p id="text">{text}</p>
</div>
{details}
<button id="close" type="button">Close window</button>
<p id="hint" role="status" hidden>This window stays open. You can close it yourself.</p>
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
    done = Sentence("Connected", "You can close this window.")
    if pending:
        done = Sentence(
            "Almost connected",
            "Whoever asked you to connect has to confirm it now. If that is not done within 15 "
            "minutes, the access is withdrawn. You can close this window.",
        )
    return _render(done, "done", error=None)


def error_page(
    message: str,
    error_type: str = DEFAULT_ERROR_TYPE,
    provider_error: Mapping[str, str] | None = None,
    log_id: str = "",
    sentence: Sentence | None = None,
) -> str:
    """Return the page for a connection that was not made; it stays open until acknowledged.

    Args:
        message: what went wrong, for the details.
        error_type: the machine-readable kind, as in the WebSocket's ``error_type``; chooses the
            sentence that people read.
        provider_error: what the provider said, of an attempt of this browser; of it only
            ``PROVIDER_ERROR_KEYS`` are shown and told to the opener (as a JSON string in place of
            ``message``).
        log_id: operation of the activity log that tells more; empty: none is known.
        sentence: what people read; None: that of the kind.
    """
    told = {
        key: str((provider_error or {})[key])
        for key in PROVIDER_ERROR_KEYS
        if (provider_error or {}).get(key)
    }
    kind = error_type or DEFAULT_ERROR_TYPE
    announced = json.dumps(told, separators=(",", ":"), ensure_ascii=False) if told else message
    declined = is_declined(kind, told.get("error", "") if told else message)
    said = told.get("error_description") or told.get("error_message") or told.get("error_reason")
    return _render(
        sentence or (DECLINED if declined else (sentence_of(kind) if error_type else UNKNOWN)),
        "calm" if declined else "failed",
        error={"message": announced, "errorType": kind},
        details=layout.details(
            (
                ("Code", told.get("error") or kind),
                ("Reason", said or message),
                ("Log", log_id),
            )
        ),
    )


def headers() -> dict[str, str]:
    """Return the response headers both pages need.

    No ``Cross-Origin-Opener-Policy: same-origin``: it would cut the popup off from the window
    that waits for it.
    """
    return {**layout.headers(_POLICY), "cross-origin-opener-policy": "unsafe-none"}


def _render(
    sentence: Sentence, state: str, *, error: Mapping[str, str] | None, details: str = ""
) -> str:
    return _PAGE.format(
        title=html.escape(sentence.title),
        text=html.escape(sentence.text),
        mark=layout.MARK,
        details=details,
        role="alert" if state == "failed" else "status",
        state=state,
        style=layout.STYLE,
        script=_SCRIPT,
        result=_embed({"error": error}),
    )


def _embed(value: object) -> str:
    """Encode JSON so that it cannot end the element it stands in (HTML, script data states)."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


_POLICY: Final = (
    f"default-src 'none'; img-src data:; script-src {layout.source(_SCRIPT)}; "
    f"style-src {layout.source(layout.STYLE)}"
)
