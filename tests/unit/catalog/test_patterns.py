"""Patterns that end: what is refused, what is taken, and that it means what JavaScript means."""

import itertools
import json
import random
import re
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keystow.catalog import loader, pattern_syntax, patterns
from keystow.catalog.inputs import fits
from keystow.catalog.pattern_syntax import PatternError
from tests.node import node

PLAIN = (
    r"^[a-z0-9_-]+$",
    r"^([a-zA-Z0-9-]+\.)+(salesforce\.com|salesforce\.mil|force\.com)$",
    r"^(www\.)?[a-z0-9.-]+$",
    r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
    r"^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,}$",
    r"^[\w.-]+@[\w.-]+\.\w+$",
    r"^https:\/\/(?<dc>eu|us)\.example\.com$",
    r"^.*\.example\.com$",
    r"^(\d{1,3}\.){3}\d{1,3}$",
    r"^[A-Z0-9]{8}-([A-Z0-9]{4}-){3}[A-Z0-9]{12}$",
    r"^(eu|us|eu1|eu2)?$",
    r"^a.{2,4}?z$",
    r"^[^\s\/]+$|^-$",
    r"^\x41\u0042[\]\-\\a-c]$",
    r"[a-z]\d",
    r"^a|b$",
    r"",
)
ENDLESS = (
    r"^([a-z0-9]+-?)+$",
    r"^(\w+\.?)+\.example\.com$",
    r"^(a+)+$",
    r"^(a|a)*$",
    r"^(a|aa)+$",
    r"^(a*)*$",
    r"^(?:a?)*?b",
    r"^(a?){30}a{30}$",
    r"(a?|b?){30}c",
    r"^a(b?|c?){30}$",
    r"^(a|b|ab)*c$",
    r"^(.*)a(.*)b(.*)c$",
    r"^\s*\w*\s*\w*\s*\w*$",
    r"^\S+@\S+\.\S+$",
    r"^https?://[^\s/]+(\.[a-z]+)+$",
    r"(x+x+)+y",
    r"^[a-z]{1,500}[a-z]{1,500}$",
    r"^(a{1,90}){1,90}$",
    r"^((){999}){999}$",
    r"[a-z]+[a-z]+",
)
NOT_UNDERSTOOD = (
    "(",
    ")",
    "a)",
    "[a",
    "[]",
    "[^]",
    "[z-a]",
    "a**",
    "a++",
    "*",
    "a{2,1}",
    "a{,2}",
    "a{x}",
    "a{0}",
    "{",
    "]",
    "a\\",
    r"(a)\1",
    r"\bfoo\b",
    r"\p{L}",
    r"\q",
    r"\xZZ",
    r"(?=a)b",
    r"(?!a)b",
    r"(?<=a)b",
    r"(?<!a)b",
    r"(?i)a",
    r"(?>a)",
    r"(?P<n>a)",
    r"(?<n>a)\k<n>",
    "a^b",
    "a$b",
    "(^a$)",
    "\U0001f600",
    "\ud800",
    "(" * 300 + ")" * 300,
)


@pytest.mark.parametrize("pattern", PLAIN)
def test_a_pattern_with_few_ways_is_taken(pattern):
    patterns.check(pattern)


@pytest.mark.parametrize("pattern", ENDLESS)
def test_a_pattern_that_can_be_matched_in_ever_more_ways_is_refused(pattern):
    with pytest.raises(PatternError, match=r"ways|repe"):
        patterns.check(pattern)


@pytest.mark.parametrize("pattern", NOT_UNDERSTOOD)
def test_what_engines_understand_differently_is_refused_and_matches_nothing(pattern):
    with pytest.raises(PatternError):
        patterns.check(pattern)
    assert not patterns.matches(pattern, "a")


def test_a_refused_pattern_keeps_nobody_busy_here_either():
    # Stored before the rule, say. Backtracking would take longer than the universe has existed.
    for pattern in (r"^([a-z0-9]+-?)+$", r"^(\w+\.?)+\.example\.com$", r"^(a|a)*$"):
        assert not patterns.matches(pattern, "a" * 1_900 + "!")


@pytest.mark.parametrize("pattern", [r"^[a-z]+$", r"[a-z]"])
def test_a_text_is_measured_before_it_is_held_against_a_pattern(pattern):
    assert fits("a" * patterns.MAX_TEXT, {"pattern": pattern})
    assert not fits("a" * (patterns.MAX_TEXT + 1), {"pattern": pattern})


def test_a_line_break_at_the_end_is_part_of_the_text():
    assert not patterns.matches("^a$", "a\n")
    assert patterns.matches("^a\n$", "a\n")


@pytest.mark.parametrize("id_", loader.built_in_ids())
def test_no_built_in_entry_has_a_pattern_that_could_take_for_ever(id_):
    definition = loader.built_in(id_).definition
    for group in ("connection_config", "credentials", "integration_config"):
        for field in definition.get(group, {}).values():
            if "pattern" in field:
                patterns.check(field["pattern"])


@pytest.mark.parametrize("id_", loader.built_in_ids())
def test_the_example_of_a_field_fits_its_pattern(id_):
    definition = loader.built_in(id_).definition
    for group in ("connection_config", "credentials"):
        for name, field in definition.get(group, {}).items():
            example = field.get("example", "")
            if "*" not in example and example:
                assert fits(example, field), name


PIECES = st.sampled_from(
    ["a", "b", ".", "[ab]", "[^a]", "\\w", "a?", "b*", "a+", "(a|b)", "(ab)?", "(?:ba)+", "a{1,3}",
     "(a|)", "[a-b]{2}", "(a*b)*", "b*?", "(b|ab)"]
)  # fmt: skip
TEXTS = st.text(alphabet="ab c", max_size=8)


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES, max_size=5), st.booleans(), st.booleans(), st.lists(TEXTS, max_size=6))
def test_matching_agrees_with_an_independent_engine(pieces, starts, ends, texts):
    pattern = "^" * starts + "".join(pieces) + "$" * ends
    try:
        pattern_syntax.parse(pattern)
    except PatternError:
        return
    for text in texts:
        wanted = re.search(pattern.replace("$", r"\Z"), text, re.ASCII) is not None
        assert patterns.matches(pattern, text) is wanted


def in_javascript(cases: list[tuple[str, str]]) -> list[bool]:
    """Run the cases in the engine that browsers run patterns with; killed when it does not end."""
    script = (
        "let s='';process.stdin.on('data',d=>s+=d).on('end',()=>console.log(JSON.stringify("
        "JSON.parse(s).map(([p,t])=>new RegExp(p).test(t)))))"
    )
    ran = subprocess.run(
        [node(), "-e", script], input=json.dumps(cases), capture_output=True, text=True,
        timeout=60, check=True,
    )  # fmt: skip
    return json.loads(ran.stdout)


def test_a_pattern_means_here_what_it_means_to_a_browser():
    texts = ["", "a", "ab", "eu", "a1", "www.a-b.example.com", "x@y.z", "acme.my.salesforce.com",
             "1.2.3.4", "\u00e9", "\u0661", "a\u00a0b", "a\nb", "axyz", "\U0001f600", "AB-", "-",
             "https://eu.example.com", "ABCD1234-AB12-CD34-EF56-ABCDEF123456"]  # fmt: skip
    cases = list(itertools.product([*PLAIN, r"^\s$", r"^\S$", r"^\D\W$", "^..$", "^[^a]$"], texts))
    here = [patterns.matches(pattern, text) for pattern, text in cases]
    assert dict(zip(cases, here, strict=True)) == dict(
        zip(cases, in_javascript(cases), strict=True)
    )


def test_whatever_is_taken_ends_in_a_browser_too():
    chance = random.Random(6)
    pieces = ["a", "b", "[ab]", "\\w", "a?", "b*", "a+", "(a|b)", "(ab)?", "(?:ba)+",
              "a{1,9}", "(a|ab)", "(a+b)*", "(a?b)+", "(b|ab)*", "[a-c]*", "(?:a+)?",
              "(a|b|c){2,5}"]  # fmt: skip
    taken = [*PLAIN]
    while len(taken) < 300:
        body = "".join(chance.choices(pieces, k=chance.randint(1, 6)))
        if chance.random() < 0.3:
            body = f"({body})+"
        pattern = chance.choice(["^", "^", ""]) + body + "$"
        try:
            patterns.check(pattern)
        except PatternError:
            continue
        taken.append(pattern)
    attacks = ["a" * 2_000 + "!", "ab" * 1_000 + "!", "ba" * 1_000 + "!", "b" * 2_000 + "!"]
    assert len(in_javascript(list(itertools.product(taken, attacks)))) == len(taken) * 4


def test_the_patterns_of_a_definition_are_proven_with_one_effort():
    laborious = r"^(" + "|".join(f"{c}[a-z]{{1,60}}" for c in "abcdefgh") + ")$"
    patterns.check(laborious)
    alone = patterns.Effort()
    patterns.check(laborious, alone)
    effort = patterns.Effort(steps=3 * (patterns.MAX_EFFORT - alone.left) + 10)
    for _ in range(3):
        patterns.check(laborious, effort)
    with pytest.raises(PatternError, match="together"):
        patterns.check(laborious, effort)


def test_no_built_in_entry_comes_near_the_effort_there_is():
    for id_ in loader.built_in_ids():
        effort = patterns.Effort()
        definition = loader.built_in(id_).definition
        for field in definition.get("connection_config", {}).values():
            if "pattern" in field:
                patterns.check(field["pattern"], effort)
        assert effort.left > patterns.MAX_EFFORT * 0.9, id_
