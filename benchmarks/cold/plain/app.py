"""The plain handler: what anyone would write who reads an item and logs a line."""

from typing import Any

import boto3
from aws_lambda_powertools import Logger
from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: F401 - part of the start

log = Logger(service="plain")
table, kms = boto3.client("dynamodb"), boto3.client("kms")


def handler(_event: Any, _context: Any) -> dict[str, Any]:
    """Read one item, log one line, answer."""
    key = {"pk": {"S": "a"}, "sk": {"S": "b"}}
    table.get_item(TableName="registry", Key=key, ConsistentRead=True)
    log.info("request", extra={"status": 401})
    return {"statusCode": 401, "body": "{}"}
