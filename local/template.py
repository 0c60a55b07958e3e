"""Reads ``template.yaml``: its routes, and the form of it that the emulator can deploy."""

from __future__ import annotations

import copy
import platform
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FUNCTION = "AWS::Serverless::Function"
LAYER = "AWS::Serverless::LayerVersion"
HTTP_API = "AWS::Serverless::HttpApi"
DEFAULT_ROUTE = "$default"


@dataclass(frozen=True)
class RouteDefinition:
    """A route of the HTTP API: API Gateway's route key and the function's logical id."""

    key: str
    function: str


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms (``!Ref``, ``!GetAtt``, ``!Sub`` …)."""


def _short_form(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short_form)


def load(path: Path) -> dict[str, Any]:
    """Return a template as CloudFormation's JSON would say it."""
    with path.open(encoding="utf-8") as file:
        template: dict[str, Any] = yaml.load(file, Loader=_Loader)  # noqa: S506 - a SafeLoader
    return template


def functions(template: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the properties of every function by its logical id."""
    return {
        name: resource["Properties"]
        for name, resource in template["Resources"].items()
        if resource["Type"] == FUNCTION
    }


def routes(template: Mapping[str, Any]) -> list[RouteDefinition]:
    """Return every route of the HTTP API, in the order of the template."""
    found = []
    for name, properties in functions(template).items():
        for event in (properties.get("Events") or {}).values():
            if event["Type"] != "HttpApi":
                continue
            where = event["Properties"]
            key = f"{where['Method']} {where['Path']}" if "Path" in where else DEFAULT_ROUTE
            found.append(RouteDefinition(key, name))
    return found


def references(value: Any) -> Iterator[str]:
    """Yield the logical ids (and parameters) that a part of a template refers to."""
    if isinstance(value, list):
        for item in value:
            yield from references(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key == "Ref":
                yield item.split(".", 1)[0]
            elif key == "Fn::GetAtt":
                yield item[0]
            elif key == "Fn::Sub":
                text = item if isinstance(item, str) else item[0]
                yield from (part.split("}")[0].split(".")[0] for part in text.split("${")[1:])
                yield from references(item if isinstance(item, list) else [])
            else:
                yield from references(item)


def for_emulator(
    template: Mapping[str, Any], code: Mapping[str, str], variables: Mapping[str, str]
) -> dict[str, Any]:
    """Return the template as the emulator can deploy it on this machine.

    What changes: Runtime and Architectures are the host's, code comes from where it was uploaded,
    the functions get a few variables more, and the HTTP API with all that refers to it is left
    out, since the emulator cannot import the OpenAPI body that SAM makes of routes; the gateway
    serves them.

    Args:
        template: what :func:`load` returned; it is not changed.
        code: logical id of a function or layer → ``s3://…`` of its archive.
        variables: environment variables that replace or join the template's.
    """
    local: dict[str, Any] = _with_numbers(copy.deepcopy(dict(template)), _numbers(template))
    defaults = local["Globals"]["Function"]
    defaults["Runtime"] = f"python{sys.version_info.major}.{sys.version_info.minor}"
    defaults["Architectures"] = [_architecture()]
    defaults["Environment"]["Variables"].update(variables)
    resources = local["Resources"]
    for name, resource in resources.items():
        properties = resource["Properties"]
        if resource["Type"] == FUNCTION:
            properties["CodeUri"] = code[name]
            events = properties.get("Events") or {}
            properties["Events"] = {k: e for k, e in events.items() if e["Type"] != "HttpApi"}
        elif resource["Type"] == LAYER:
            properties["ContentUri"] = code[name]
            properties.pop("CompatibleArchitectures", None)
            properties.pop("CompatibleRuntimes", None)
    _leave_out(local, {n for n, r in resources.items() if r["Type"] == HTTP_API})
    return local


def _numbers(template: Mapping[str, Any]) -> dict[str, int]:
    return {
        name: int(parameter["Default"])
        for name, parameter in template["Parameters"].items()
        if parameter["Type"] == "Number"
    }


def _with_numbers(value: Any, numbers: Mapping[str, int]) -> Any:
    """Put numbers in place of references to numeric parameters, which the emulator makes text.

    Environment variables are text anyway.
    """
    if isinstance(value, list):
        return [_with_numbers(item, numbers) for item in value]
    if isinstance(value, dict):
        if value.keys() == {"Ref"} and value["Ref"] in numbers:
            return numbers[value["Ref"]]
        texts = {name: str(number) for name, number in numbers.items()}
        return {
            key: _with_texts(item, texts) if key == "Variables" else _with_numbers(item, numbers)
            for key, item in value.items()
        }
    return value


def _with_texts(variables: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, Any]:
    return {
        name: texts[value["Ref"]]
        if isinstance(value, dict) and value.get("Ref") in texts
        else value
        for name, value in variables.items()
    }


def _leave_out(template: dict[str, Any], names: set[str]) -> None:
    """Remove resources, and then whatever refers to something that is no longer there."""
    resources = template["Resources"]
    while names:
        for name in names:
            del resources[name]
        template["Outputs"] = {
            key: output
            for key, output in template.get("Outputs", {}).items()
            if not names.intersection(references(output))
        }
        names = {n for n, r in resources.items() if names.intersection(references(r))}


def _architecture() -> str:
    return "arm64" if platform.machine().lower() in {"arm64", "aarch64"} else "x86_64"
