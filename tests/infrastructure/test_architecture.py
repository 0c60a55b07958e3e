"""The shape of the code: which package may import which, and what must not be anywhere."""

from __future__ import annotations

import ast
import functools
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from keystow.catalog import loader

ROOT = Path(__file__).resolve().parents[2]
LAYER = ROOT / "layers/shared"
SOURCES = sorted((LAYER / "keystow").rglob("*.py"))
HANDLERS = sorted((ROOT / "functions").glob("*/app.py"))

# Imports point from a line to the lines below it, or stay in the line.
LEVELS = (
    {"http"},
    {"end_users", "incidents"},
    {"sessions", "connections", "authorization", "integrations", "environments", "proxy"},
    {"modes", "refresh", "events", "activity"},
    {"oauth", "catalog", "vault", "egress", "records", "registry", "pages"},
    {
        "store",
        "settings",
        "text",
        "errors",
        "clock",
        "ids",
        "secret",
        "value",
        "queues",
        "sockets",
        "aws",
        "log",
        "metrics",
        "tracing",
    }
    | {"paging", "validation", "context", "needs", "slow_hosts"},
)
LEVEL = {name: number for number, names in enumerate(LEVELS) for name in names}
# Puts the parts together, each when it is first asked for; it may import any part, but lazily.
COMPOSITION_ROOT = "context"


@dataclass(frozen=True)
class Import:
    """One import that happens at run time; ``lazy``: only when a function runs."""

    source: str
    target: str
    line: int
    lazy: bool

    def __str__(self) -> str:
        return f"{self.source}:{self.line} imports {self.target}"


def module_name(path: Path) -> str:
    parts = path.relative_to(LAYER).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in SOURCES}


def package(module: str) -> str:
    """The part of the domain a module belongs to: the name after ``keystow``."""
    return module.split(".")[1] if "." in module else ""


def run_time_imports(tree: ast.AST, *, lazy: bool = False):
    """Yield (name, line, lazy) of every import outside ``if TYPE_CHECKING``."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for other in node.orelse:
                yield from run_time_imports(ast.Module([other], []), lazy=lazy)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno, lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"a relative import in line {node.lineno}"
            yield from ((f"{node.module}.{alias.name}", node.lineno, lazy) for alias in node.names)
        else:
            inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from run_time_imports(node, lazy=lazy or inside)


@functools.cache
def imports() -> tuple[Import, ...]:
    """Every import of one module of the layer by another."""
    found: dict[tuple[str, str, int], Import] = {}
    for source, path in MODULES.items():
        for name, line, lazy in run_time_imports(ast.parse(path.read_text(encoding="utf-8"))):
            target = name if name in MODULES else name.rpartition(".")[0]
            if target in MODULES and target != source:
                found[source, target, line] = Import(source, target, line, lazy)
    return tuple(found.values())


def test_every_package_has_its_place_in_the_map():
    assert {package(module) for module in MODULES} - {""} == set(LEVEL)


def test_imports_point_one_way():
    wrong = []
    for each in imports():
        source, target = package(each.source), package(each.target)
        if not source or not target or LEVEL.get(source, 0) <= LEVEL.get(target, 99):
            continue
        if source == COMPOSITION_ROOT and each.lazy:
            continue
        wrong.append(str(each))
    assert wrong == []


def test_there_are_no_circles_between_packages():
    edges: dict[str, set[str]] = {}
    for each in imports():
        source, target = package(each.source), package(each.target)
        if source and target and source != target:
            edges.setdefault(source, set()).add(target)
    assert circle(edges) is None


def test_there_are_no_circles_between_modules():
    edges: dict[str, set[str]] = {}
    for each in imports():
        # A package's __init__ gathers its own modules; they may name the package by its parts.
        if not each.target.startswith(f"{each.source}."):
            edges.setdefault(each.source, set()).add(each.target)
    assert circle(edges) is None


def circle(edges: dict[str, set[str]]) -> list[str] | None:
    """Return some circle, or None."""
    done: set[str] = set()
    path: list[str] = []

    def visit(node: str) -> list[str] | None:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return None
        path.append(node)
        for target in sorted(edges.get(node, ())):
            found = visit(target)
            if found is not None:
                return found
        path.pop()
        done.add(node)
        return None

    for start in sorted(edges):
        found = visit(start)
        if found is not None:
            return found
    return None


def test_the_search_for_circles_finds_one():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}}) is None


def test_the_domain_never_imports_a_handler():
    names = {path.parent.name for path in HANDLERS}
    for path in SOURCES:
        for name, line, _ in run_time_imports(ast.parse(path.read_text(encoding="utf-8"))):
            head = name.partition(".")[0]
            assert head not in {"app", "functions", "local", "tests", *names}, f"{path}:{line}"


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda path: path.parent.name)
def test_a_handler_only_translates(handler):
    for name, line, _ in run_time_imports(ast.parse(handler.read_text(encoding="utf-8"))):
        head = name.partition(".")[0]
        assert head not in {"boto3", "botocore", "httpx", "httpcore", "cryptography"}, (
            f"line {line} imports {name}"
        )


# A provider's id that is also a word of the protocol or of the code.
WORDS = {"unauthenticated", "bill"}


def string_constants(tree: ast.AST):
    """Yield (text, line) of string constants; docstrings are prose."""
    prose = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.value, node.lineno


@pytest.mark.parametrize("path", [*SOURCES, *HANDLERS], ids=lambda p: str(p.relative_to(ROOT)))
def test_no_provider_is_named_in_code(path):
    providers = {provider.id for provider in loader.all_built_in()} - WORDS
    assert len(providers) > 30
    tree = ast.parse(path.read_text(encoding="utf-8"))
    named = [(line, text) for text, line in string_constants(tree) if text.lower() in providers]
    assert named == []


HEAVY = {"boto3", "httpx", "httpcore", "pydantic", "authlib", "requests", "flask"}


def test_reading_a_connection_starts_without_what_only_other_calls_need():
    program = (
        "import json, sys; import app; "
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": f"{ROOT / 'functions/get_connection'}:{LAYER}", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout))
    assert "keystow" in loaded
    assert loaded & HEAVY == set()


def test_nothing_of_the_layer_imports_an_aws_sdk():
    for path in SOURCES:
        for name, line, _ in run_time_imports(ast.parse(path.read_text(encoding="utf-8"))):
            assert name.partition(".")[0] not in {"boto3", "botocore"}, f"{path}:{line}"


def test_only_two_packages_open_connections():
    # The guarded way out, and the way to AWS, of which no caller decides where it leads; traces go
    # to Lambda's own daemon.
    opening = set()
    for source, path in MODULES.items():
        for name, _line, _ in run_time_imports(ast.parse(path.read_text(encoding="utf-8"))):
            if name.partition(".")[0] in {"socket", "ssl", "http", "urllib3", "httpcore", "httpx"}:
                opening.add(package(source))
    assert opening == {"egress", "aws", "tracing"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(LAYER)))
def test_a_module_says_what_it_is_for_and_stays_readable(path):
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text))
    assert len(text.splitlines()) < 500
