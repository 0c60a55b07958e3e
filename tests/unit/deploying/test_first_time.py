"""The first deployment of a stack: what is asked, of whom, and that answers are kept."""

import pytest

from tests.unit.deploying.standing import given, options


def test_it_asks_the_first_time_only(deploy, sam, typed):
    assert deploy.main(["keystow", "python3.13"]) == 0
    asked = len(typed.questions)
    assert deploy.main(["keystow", "python3.13"]) == 0
    assert asked > 10
    assert len(typed.questions) == asked


def test_enter_takes_every_default_and_sam_is_asked_nothing_more(deploy, sam, typed):
    deploy.main(["keystow", "python3.13"])
    assert options(deploy)["region"] == "eu-west-3"
    assert given(sam.calls[0], "--parameter-overrides") == ['Runtime="python3.13"']
    assert "--guided" not in sam.calls[0]


def test_answers_are_kept_before_anything_can_fail(deploy, sam, typed):
    typed.answers = {"Region": ["us-west-2"], "LogLevel": ["DEBUG"], "DomainName": ["k.example"]}
    sam.status = 1
    assert deploy.main(["keystow", "python3.13"]) == 1
    kept = options(deploy)
    assert kept["region"] == "us-west-2"
    assert 'LogLevel="DEBUG"' in kept["parameter_overrides"]
    assert 'DomainName="k.example"' in kept["parameter_overrides"]
    assert "MemorySize" not in kept["parameter_overrides"]


@pytest.mark.parametrize(
    ("name", "wrong", "right"),
    [
        ("LogLevel", "LOUD", "WARN"),
        ("MemorySize", "64", "512"),
        ("MemorySize", "much", "512"),
        ("CertificateArn", "certificate", "arn:aws:acm:us-east-1:1:certificate/x"),
        ("EnvironmentNames", "Dev", "dev"),
    ],
)
def test_an_answer_that_the_template_does_not_take_is_asked_again(
    deploy, sam, typed, name, wrong, right
):
    typed.answers = {name: [wrong, right]}
    deploy.main(["keystow", "python3.13"])
    assert len([question for question in typed.questions if question.startswith(name)]) == 2
    assert f'{name}="{right}"' in given(sam.calls[0], "--parameter-overrides")


def test_what_was_given_is_not_asked(deploy, sam, typed):
    deploy.main(["keystow", "python3.13", "--parameters", "LogLevel=DEBUG"])
    asked = {question.split()[0] for question in typed.questions}
    assert not asked & {"LogLevel", "Runtime"}
    assert 'LogLevel="DEBUG"' in given(sam.calls[0], "--parameter-overrides")


def test_without_a_terminal_the_defaults_count(deploy, sam, monkeypatch):
    monkeypatch.setattr(deploy.sys.stdin, "isatty", lambda: False, raising=False)
    assert deploy.main(["keystow", "python3.13"]) == 0
    assert options(deploy)["region"] == "eu-west-3"


def test_without_a_terminal_a_region_is_needed(deploy, sam, monkeypatch, tmp_path):
    monkeypatch.setattr(deploy.sys.stdin, "isatty", lambda: False, raising=False)
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(SystemExit, match="AWS_REGION"):
        deploy.main(["keystow", "python3.13"])
    assert sam.calls == []
    assert not deploy.config_of("keystow").exists()


def test_an_unknown_profile_is_said_in_words(deploy, sam, monkeypatch, tmp_path):
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(SystemExit, match="nobody"):
        deploy.main(["keystow", "python3.13"])


def test_nobody_is_asked_for_existing_tables(deploy, sam, typed):
    deploy.main(["keystow", "python3.13"])
    assert not any("TableName" in question for question in typed.questions)


def test_each_stack_is_asked_for_itself(deploy, sam, typed):
    deploy.main(["keystow", "python3.13"])
    asked = len(typed.questions)
    deploy.main(["staging", "python3.13"])
    assert len(typed.questions) == 2 * asked
    assert given(sam.calls[1], "--stack-name") == ["staging"]
