"""The page that a browser gets in place of an error's JSON: no script, no text from the request."""

from __future__ import annotations

import html
from typing import Final

from keystow.pages import layout
from keystow.pages.sentences import sentence_of

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
<body class="failed">
<main>
{mark}
<h1>{title}</h1>
<p>{text}</p>
{details}
</main>
</body>
</html>
"""
POLICY: Final = f"default-src 'none'; img-src data:; style-src {layout.source(layout.STYLE)}"


def page(code: str, reference: str = "") -> str:
    """Return the page of an error.

    Args:
        code: the API's own.
        reference: under which a fault was logged.
    """
    sentence = sentence_of(code)
    return _PAGE.format(
        title=html.escape(sentence.title),
        text=html.escape(sentence.text),
        style=layout.STYLE,
        mark=layout.MARK,
        details=layout.details((("Code", code), ("Reference", reference))),
    )


def headers() -> dict[str, str]:
    """Return the response headers of the page."""
    return layout.headers(POLICY)
