"""What `make deploy` remembers of a stack: no choice is lost by a later call."""

import pytest

from tests.unit.deploying.standing import ROOT, SAVED, given, options


def test_the_profile_is_kept(deploy, sam, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "work")
    deploy.main(["keystow", "python3.13"])
    assert options(deploy)["profile"] == "work"


def test_a_deployment_that_changes_nothing_is_a_success(deploy, sam):
    deploy.main(["keystow", "python3.13"])
    assert "--no-fail-on-empty-changeset" in sam.calls[0]


def test_another_runtime_keeps_the_other_parameters(deploy, sam):
    deploy.config_of("keystow").write_text(SAVED)
    deploy.main(["keystow", "python3.11", "--parameters", "LogLevel=DEBUG"])
    assert given(sam.calls[0], "--parameter-overrides") == [
        'EnvironmentNames="dev,prod"',
        'DomainName=""',
        'Runtime="python3.11"',
        'LogLevel="DEBUG"',
    ]


def test_what_is_given_once_is_given_again_and_the_rest_of_the_file_stays(deploy, sam):
    deploy.config_of("keystow").write_text(SAVED)
    before = options(deploy)
    deploy.main(["keystow", "python3.12", "--parameters", "LogLevel=DEBUG", "--tags", "a=b c=42"])
    assert options(deploy) == {
        **before,
        "parameter_overrides": before["parameter_overrides"] + ' LogLevel="DEBUG"',
        "tags": "a=b c=42",
    }
    assert deploy.saved(deploy.config_of("keystow"))["region"] == "eu-central-1"
    deploy.main(["keystow", "python3.12"])
    assert 'LogLevel="DEBUG"' in given(sam.calls[1], "--parameter-overrides")


def test_tags_of_the_first_deployment_are_kept(deploy, sam):
    deploy.main(["keystow", "python3.13", "--tags", "team=crm"])
    assert given(sam.calls[0], "--tags") == ["team=crm"]
    assert options(deploy)["tags"] == "team=crm"


def test_a_deployment_that_fails_changes_no_saved_answer(deploy, sam):
    deploy.config_of("keystow").write_text(SAVED)
    sam.status = 1
    assert deploy.main(["keystow", "python3.11", "--tags", "a=b"]) == 1
    assert deploy.config_of("keystow").read_text() == SAVED


def test_a_file_that_holds_something_else_is_left_alone(deploy, sam):
    text = '[staging.deploy.parameters]\nstack_name = "x"\n'
    deploy.config_of("keystow").write_text(text)
    with pytest.raises(SystemExit, match=r"samconfig-keystow\.toml"):
        deploy.main(["keystow", "python3.13"])
    assert deploy.config_of("keystow").read_text() == text
    assert sam.calls == []


def test_a_remark_behind_the_tables_name_is_no_harm(deploy, sam, capsys):
    text = '[default.deploy.parameters] # ours\nparameter_overrides = "LogLevel=INFO"\n'
    deploy.config_of("keystow").write_text(text)
    assert deploy.main(["keystow", "python3.12"]) == 0
    assert deploy.config_of("keystow").read_text() == text
    assert "Not saved" in capsys.readouterr().err


def test_a_file_written_by_hand_is_not_broken(deploy, sam, capsys):
    text = '[default.deploy.parameters]\nparameter_overrides = [\n  "LogLevel=INFO",\n]\n'
    deploy.config_of("keystow").write_text(text)
    deploy.main(["keystow", "python3.12"])
    assert given(sam.calls[0], "--parameter-overrides") == [
        'LogLevel="INFO"',
        'Runtime="python3.12"',
    ]
    assert deploy.config_of("keystow").read_text() == text
    assert "Not saved" in capsys.readouterr().err


def test_a_parameter_without_a_value_is_refused(deploy, sam):
    with pytest.raises(SystemExit, match="LogLevel"):
        deploy.main(["keystow", "python3.13", "--parameters", "LogLevel"])
    assert sam.calls == []


@pytest.mark.parametrize(
    ("config", "environment", "region"),
    [
        (SAVED, {}, "eu-central-1"),
        (SAVED, {"AWS_REGION": "us-east-2"}, "eu-central-1"),
        (None, {"AWS_REGION": "us-east-2"}, "us-east-2"),
        (None, {"AWS_DEFAULT_REGION": "us-west-2"}, "us-west-2"),
    ],
)
def test_the_first_keys_are_asked_for_where_the_stack_is(
    deploy, monkeypatch, config, environment, region
):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if config:
        deploy.config_of("keystow").write_text(config)
    assert deploy.really_account_of("keystow").region_name == region


def test_a_stack_whose_region_nobody_knows_is_asked_for(deploy, monkeypatch, tmp_path):
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(SystemExit, match=r"(?s)samconfig-keystow\.toml.*AWS_REGION=.*STACK="):
        deploy.really_account_of("keystow")


@pytest.mark.parametrize("name", ["", "two words", "../elsewhere"])
def test_no_command_looks_for_a_stack_that_cannot_be(deploy, name):
    with pytest.raises(SystemExit, match="begins with a letter"):
        deploy.really_account_of(name)


def test_the_saved_answers_are_never_committed():
    assert "samconfig*.toml" in (ROOT / ".gitignore").read_text().splitlines()
