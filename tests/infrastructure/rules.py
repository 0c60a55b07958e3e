"""Rules of the template, decided as CloudFormation decides them before it changes anything."""

from __future__ import annotations

from typing import Any


def rule_lets(template: dict[str, Any], rule: str, given: dict[str, str]) -> bool:
    """Whether a rule of the template lets parameters through."""

    def holds(part: Any) -> Any:
        ((kind, inner),) = part.items()
        if kind == "Ref":
            return given.get(inner, str(template["Parameters"][inner]["Default"]))
        values = [holds(each) if isinstance(each, dict) else each for each in inner]
        kinds = {
            "Fn::Not": lambda v: not v[0],
            "Fn::And": all,
            "Fn::Equals": lambda v: v[0] == v[1],
        }
        return kinds[kind](values)

    found = template["Rules"][rule]
    asked = "RuleCondition" not in found or holds(found["RuleCondition"])
    return not asked or all(holds(each["Assert"]) for each in found["Assertions"])
