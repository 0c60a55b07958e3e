"""The one logger: structured lines, with nothing in them that a request's text could put there.

What other packages log at DEBUG is what they send and receive: botocore the answers of KMS, with
data keys in plain, and the items of the tables; httpcore the headers to providers. Lambda opens the
root logger to them with the level of a function's LoggingConfig, so it is closed here again.
Whatever speaks to AWS or to the internet imports this module first.
"""

from __future__ import annotations

import logging
import os

from aws_lambda_powertools import Logger

for _name in (None, "botocore", "urllib3", "httpcore", "authlib"):
    logging.getLogger(_name).setLevel(logging.WARNING)

logger = Logger(
    service="keystow",
    level=os.environ.get("KEYSTOW_LOG_LEVEL", "INFO"),
    utc=True,
    location=None,  # the message says it, and every byte of a line is paid for
)
