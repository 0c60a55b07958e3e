"""AWS as its own models describe it: shapes, pages, and how IAM reads a policy."""

from __future__ import annotations

import copy
import fnmatch
import functools
import json
import re
from typing import TYPE_CHECKING, Any

import boto3
import botocore.loaders
from botocore.validate import ParamValidator

from local import template as templates
from tests.unit.docs.reading import TEMPLATE

if TYPE_CHECKING:
    from collections.abc import Iterator

ARN = "arn:aws:{}:us-east-1:111122223333:{}"
VAULT_KEY = ARN.format("kms", "key/mrk-vault")
OWN_KEY = ARN.format("kms", "key/own")
_LOADER = botocore.loaders.Loader()


def table_arn(name: str) -> str:
    return ARN.format("dynamodb", f"table/keystow-{name}Table")


@functools.cache
def client(service: str) -> Any:
    """A client of boto3's; making one takes long."""
    return boto3.Session("test", "test", region_name="us-east-1").client(service)


def statements(function: str) -> Iterator[dict[str, Any]]:
    """The statements of a function's role, with resources as ARNs."""
    for policy in templates.functions(TEMPLATE)[function].get("Policies", ()):
        for one in policy["Statement"]:
            places = one["Resource"] if isinstance(one["Resource"], list) else [one["Resource"]]
            yield {**copy.deepcopy(one), "Resource": [_arn(place) for place in places]}


def _arn(place: Any) -> str:
    text = json.dumps(place)
    if "KmsKeyArn" in text:
        return OWN_KEY
    if "VaultKey" in text:
        return VAULT_KEY
    table = re.search(r"(\w+?)Table(Arn)?\b", text)
    if table:
        return table_arn(table[1]) + ("/index/x" if "/index/" in text else "")
    return "arn:aws:other"


def is_allowed(policy: list[dict[str, Any]], action: str, resource: str, context: Any) -> bool:
    """Whether statements allow an action ("Policy evaluation logic", without denials)."""
    return any(
        _any_fits(action, one["Action"])
        and _any_fits(resource, one["Resource"])
        and _holds(one.get("Condition") or {}, context)
        for one in policy
    )


def _any_fits(value: str, patterns: Any) -> bool:
    patterns = patterns if isinstance(patterns, list) else [patterns]
    return any(fnmatch.fnmatchcase(value, each) for each in patterns)


def _holds(condition: dict[str, Any], context: dict[str, Any]) -> bool:
    """Whether a condition holds ("IAM JSON policy elements: Condition operators")."""
    for operator, keys in condition.items():
        for key, wanted in keys.items():
            values = context[key]["ContextKeyValues"] if key in context else None
            if operator == "Null":
                fits = (values is None) == (wanted == "true")
            elif operator == "StringEquals":
                fits = values is not None and values[0] in wanted
            elif operator == "ForAnyValue:StringLike":
                fits = any(_any_fits(value, wanted) for value in values or ())
            else:
                assert operator == "ForAllValues:StringLike"
                fits = all(_any_fits(value, wanted) for value in values or ())
            if not fits:
                return False
    return True


def must_fit(value: Any, shape: Any) -> None:
    report = ParamValidator().validate(value, shape)
    assert not report.has_errors(), report.generate_report()


def page(service: str, operation: str, asked: dict[str, Any], answer: Any) -> Any:
    """Cut a list in two where AWS pages it, in the way of botocore's own paginators."""
    known = _LOADER.load_service_model(service, "paginators-1")["pagination"].get(operation)
    if known is None or operation in {"FilterLogEvents", "GetMetricStatistics"}:
        return answer
    key = known["result_key"]
    key = key[0] if isinstance(key, list) else key
    whole, token = answer.get(key, []), asked.get(known["input_token"])
    more = {known["more_results"]: True} if known.get("more_results") else {}
    if token is None and len(whole) > 1:
        return {**answer, key: whole[:1], known["output_token"]: "2", **more}
    return {**answer, key: whole[1:]} if token else answer
