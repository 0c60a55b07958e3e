"""The reference pages say what the code does: a change of one without the other fails here."""

from __future__ import annotations

import ast
import re

import pytest

from benchmarks import cost
from keystow.environments import keys
from keystow.errors import CODES
from keystow.modes import ROOMS
from keystow.settings import PREFIX, Settings
from local import template as templates
from tests.unit.docs.reading import ROOT, TEMPLATE, constant, names, rows, sections, text

API = text("docs/api.md")
ROUTES = sections(API, 3)
SCOPE = re.compile(r"\b(?:environment|account):[a-z_]+(?::[a-z_]+)*\b")


def normal(route: str) -> str:
    """A route as people write it: greedy parameters without the plus.

    Metadata's older path, and a confirmation's, end in a word that a greedy parameter takes along.
    """
    if route in {"POST /connection/{connectionId+}", "PATCH /connection/{connectionId+}"}:
        return route.replace("+}", "}/metadata")
    if route == "POST /connections/{connectionId+}":
        return route.replace("+}", "}/confirm")
    return route.replace("+}", "}")


def documented_routes() -> dict[str, str]:
    """Route → its section."""
    return {route: body for head, body in ROUTES.items() for route in names(head)}


def functions_of_routes() -> dict[str, str]:
    """Route → the folder of its function."""
    functions = templates.functions(TEMPLATE)
    return {
        normal(each.key): functions[each.function]["CodeUri"] for each in templates.routes(TEMPLATE)
    }


def test_every_route_of_the_template_is_documented_and_no_other():
    assert set(documented_routes()) == set(functions_of_routes())


@pytest.mark.parametrize("mode", ROOMS)
def test_a_page_says_what_each_mode_asks_of_whom(mode):
    """TBA and its like say "you register", the others "the operator"."""
    (body,) = (
        body for head, body in sections(text("docs/modes.md"), 2).items() if mode in head.split()
    )
    assert "**The operator**" in body or "**You register**" in body
    assert "**The end user**" in body
    assert "**Your backend" in body


@pytest.mark.parametrize("heading", ROUTES)
def test_a_route_says_who_may_call_it_and_shows_a_call(heading):
    body = ROUTES[heading]
    assert "**Auth:**" in body
    assert re.search(r"^curl ", body, re.MULTILINE)
    if names(heading) != ["$default"]:
        assert "**Answer:**" in body


@pytest.mark.parametrize("heading", ROUTES)
def test_a_route_names_only_errors_that_there_are(heading):
    for line in ROUTES[heading].splitlines():
        if line.startswith("**Errors:**"):
            found = [name for name in names(line) if re.fullmatch(r"[a-z_]+", name)]
            assert found, "an Errors line without a code"
            assert set(found) <= set(CODES)


@pytest.mark.parametrize("folder", sorted(set(functions_of_routes().values())))
def test_the_scopes_of_a_function_stand_with_its_routes(folder):
    wanted = set(SCOPE.findall(text(f"{folder}/app.py")))
    documented = documented_routes()
    stated: set[str] = set()
    for route, owner in functions_of_routes().items():
        if owner == folder:
            stated |= set(SCOPE.findall(documented[route]))
    assert stated == wanted


def test_every_scope_is_explained_and_no_other():
    table = sections(API, 2)["Scopes"]
    explained = [scope for row in rows(table) for scope in names(row[0])]
    assert sorted(explained) == sorted(keys.SCOPES)


def test_every_error_code_is_explained_with_its_statuses():
    table = sections(text("docs/errors.md"), 2)["Codes"]
    explained = {}
    for code, statuses, meaning, remedy in rows(table):
        explained[names(code)[0]] = tuple(int(each) for each in statuses.split(","))
        assert meaning
        assert remedy
    assert explained == CODES


def raised_popup_errors() -> set[str]:
    """The first argument of every AuthorizationFailed in the code."""
    found = {"unknown_err"}  # what any other failure is told as
    for path in (ROOT / "layers/shared/keystow").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
                "AuthorizationFailed"
            ):
                assert isinstance(node.args[0], ast.Constant)
                found.add(str(node.args[0].value))
    return found


def test_every_error_of_the_popup_is_explained():
    table = sections(text("docs/errors.md"), 2)["Errors of the popup"]
    explained = [names(row[0])[0] for row in rows(table)]
    assert sorted(explained) == sorted(raised_popup_errors())


def variables_of_the_template() -> set[str]:
    """Every environment variable that the template gives to some function."""
    found = set(TEMPLATE["Globals"]["Function"]["Environment"]["Variables"])
    for properties in templates.functions(TEMPLATE).values():
        found |= set(properties.get("Environment", {}).get("Variables", {}))
    return found


def test_every_setting_is_documented_with_its_variable_and_default():
    table = sections(text("docs/settings.md"), 2)["Environment variables of the functions"]
    documented = {names(row[0])[0]: names(row[1]) for row in rows(table)}
    expected = {}
    for name in Settings.names():
        value = getattr(Settings, name)
        default = str(int(value)) if isinstance(value, int) else value
        expected[PREFIX + name.upper()] = [default] if default else []
    assert documented == expected


def test_every_variable_of_aws_that_functions_read_is_documented_and_no_other():
    table = sections(text("docs/settings.md"), 2)["Variables of AWS that functions read"]
    documented = {name.replace("<SERVICE>", "") for row in rows(table) for name in names(row[0])}
    read: set[str] = set()
    for path in (ROOT / "layers/shared/keystow").rglob("*.py"):
        found = re.findall(
            r'"(_?(?:AWS_|X_AMZN_)[A-Z_]+)(?=["{])', path.read_text(encoding="utf-8")
        )
        read |= set(found)
    assert documented == read


def test_the_settings_said_to_come_from_the_template_do():
    table = sections(text("docs/settings.md"), 2)["Environment variables of the functions"]
    said = {names(row[0])[0] for row in rows(table) if row[2].startswith("template")}
    assert said == variables_of_the_template()


def test_every_parameter_of_the_template_is_documented_with_its_default():
    table = sections(text("docs/settings.md"), 2)["Parameters of the template"]
    documented = {names(row[0])[0]: "".join(names(row[1])) for row in rows(table)}
    expected = {
        name: str(parameter.get("Default", ""))
        for name, parameter in TEMPLATE["Parameters"].items()
    }
    assert documented == expected


LIMITS = [row for row in rows(text("docs/limits.md")) if len(row) == 3 and ":" in row[2]]
SECONDS = {"s": 1, "min": 60, "h": 3600, "days": 86_400}
BYTES = {"KB": 1_000, "MB": 1_000_000, "MiB": 1_048_576}


def quantity(value: str) -> float:
    """The number that a cell begins with; times in seconds, sizes in bytes."""
    matched = re.match(r"([0-9][0-9,.]*) ?([A-Za-z%]*)", value)
    assert matched, f"no number in {value!r}"
    number = float(matched[1].replace(",", "").rstrip("."))
    unit = matched[2]
    return number * SECONDS.get(unit, 1) * BYTES.get(unit, 1)


@pytest.mark.parametrize("row", LIMITS, ids=lambda row: row[0])
def test_a_documented_limit_is_the_one_that_is_enforced(row):
    _, value, place = row
    (source,) = names(place)
    enforced = constant(source)
    scale = 1000 if source.endswith("_MS") else 1
    if source.endswith("Days.Default"):
        scale = 1 / SECONDS["days"]
    assert quantity(value) == pytest.approx(float(enforced) / scale)


def test_the_limits_are_not_forgotten():
    assert len(LIMITS) > 40


@pytest.mark.parametrize(
    "name",
    [
        "layers/shared/requirements.in",
        *(f"requirements/{n}.in" for n in ("local", "dev", "sam", "cold", "mutate")),
    ],
)
def test_every_dependency_has_its_reason_and_no_other_is_listed(name):
    wanted = {
        re.split(r"[=<>\[ ]", line)[0]
        for line in text(name).splitlines()
        if line.strip() and not line.startswith(("#", "-"))
    }
    table = sections(text("docs/dependencies.md"), 2)[f"`{name}`"]
    explained = {names(row[0])[0]: row[1] for row in rows(table)}
    assert set(explained) == wanted
    assert all(len(reason) > 20 for reason in explained.values())


def test_costs_are_told_with_the_budgets_that_hold_them_and_their_parts_make_their_sums():
    page = " ".join(text("docs/deploy.md").split())
    budgets = [cost.BUDGET_IDLE, cost.BUDGET_READS, cost.BUDGET_REFRESHES]
    told = re.search(r"idling would cost over (\S+) .*?reads over (\S+), .*?over (\S+)\.", page)
    assert told is not None
    assert [float(each) for each in told.groups()] == budgets
    row = next(cells for cells in rows(text("docs/benchmarks.md")) if cells[0] == "cost")
    assert [float(each) for each in re.findall(r"≤ \$([\d.]+)", row[2])] == budgets

    parts: list[float] = []
    sums = []
    for what, dollars in rows(sections(text("docs/deploy.md"), 2)["Cost"]):
        if what == "**together**":
            sums.append(float(dollars.strip("*").removeprefix("about ")))
            assert abs(sum(parts) - sums[-1]) < 0.03, what
            parts = []
        else:
            parts.append(float(dollars))
    assert len(sums) == len(budgets)
    assert all(each <= most for each, most in zip(sums, budgets, strict=True))
