"""The one logger: structured lines, with nothing in them that a request's text could put there."""

from __future__ import annotations

import os

from aws_lambda_powertools import Logger

logger = Logger(
    service="keystow",
    level=os.environ.get("KEYSTOW_LOG_LEVEL", "INFO"),
    utc=True,
    location=None,  # the message says it, and every byte of a line is paid for
)
