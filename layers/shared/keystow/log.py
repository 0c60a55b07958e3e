"""The one logger: structured lines, with nothing in them that a request's text could put there.

What other packages log at DEBUG is what they send and receive: httpcore the headers to providers.
Lambda opens the root logger to them with the level of a function's LoggingConfig, so it is closed
here again. Whatever speaks to the internet imports this module first.

Lambda filters what a function prints by the line's `level`, which must be one of its own names, and
believes it only beside a `timestamp` of RFC 3339; else it takes the line for INFO ("Log-level
filtering", Lambda developer guide). Its filter is never stricter than INFO here (template.yaml),
since the lines that carry metrics have no level: the setting `log_level` is applied by this logger.
"""

from __future__ import annotations

import logging
import os
from typing import Any, Final

from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter

# Python's names of levels that Lambda calls otherwise.
_LAMBDA_LEVELS: Final = {"WARNING": "WARN", "CRITICAL": "FATAL"}

for _name in (None, "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class _Lines(LambdaPowertoolsFormatter):
    """Powertools' lines, as Lambda's filter reads them."""

    def serialize(self, log: Any) -> str:
        """Return a line as JSON."""
        level = log.get("level")
        return super().serialize({**log, "level": _LAMBDA_LEVELS.get(level, level)})


logger = Logger(
    service="keystow",
    # location: the message says it, and every byte of a line is paid for
    logger_formatter=_Lines(utc=True, use_rfc3339=True, service="keystow", location=None),
)
# Powertools would take Lambda's level before ours.
logging.getLogger("keystow").setLevel(os.environ.get("KEYSTOW_LOG_LEVEL", "INFO"))
