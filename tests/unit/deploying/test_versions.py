"""`make deploy` with SnapStart or provisioned concurrency: which template SAM gets."""

import json

import pytest

from tests.unit.deploying.standing import ROOT, given


@pytest.fixture
def built(deploy):
    """A build as far as this needs one: the template, and code beside it."""
    import versions

    folder = deploy.PROJECT / ".aws-sam" / "build"
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "app.py").write_text("handler = None\n")
    from local import template as templates

    whole = templates.load(ROOT / "template.yaml")
    for name in (*versions.FUNCTIONS, versions.LAYER):
        properties = whole["Resources"][name]["Properties"]
        properties["ContentUri" if name == versions.LAYER else "CodeUri"] = "code"
    (folder / "template.yaml").write_text(json.dumps(whole))
    return folder


def test_without_either_sam_takes_what_was_built(deploy, sam, stands):
    assert deploy.main(["keystow", "python3.13"]) == 0
    assert "--template-file" not in sam.calls[0]


@pytest.mark.parametrize("choice", ["SnapStart=Enabled", "ProvisionedConcurrency=2"])
def test_what_is_chosen_once_counts_for_later_deployments_too(deploy, sam, stands, built, choice):
    deploy.main(["keystow", "python3.13", "--parameters", choice])
    deploy.main(["keystow", "python3.13"])
    first, second = (given(call, "--template-file") for call in sam.calls)
    assert first == second == [str(built / "template-with-versions.json")]


def test_what_the_stack_has_counts_where_nothing_was_saved(deploy, sam, stands, built):
    stands({"SnapStart": "Enabled"})
    deploy.main(["keystow", "python3.13"])
    assert "--template-file" in sam.calls[0]
    deploy.main(["keystow", "python3.13", "--parameters", "SnapStart=Disabled"])
    assert "--template-file" not in sam.calls[1]


def test_both_steps_of_a_first_deployment_publish_one_version(
    deploy, sam, stands, built, monkeypatch
):
    stands(None)
    published = []

    def look(call, **kwargs):
        published.append(json.loads((built / "template-with-versions.json").read_text()))
        return run(call, **kwargs)

    run = deploy.subprocess.run
    monkeypatch.setattr(deploy.subprocess, "run", look)
    deploy.main(["keystow", "python3.13", "--parameters", "SnapStart=Enabled"])
    assert len(published) == 2
    assert published[0] == published[1]


def test_another_template_of_ones_own_is_taken_with_its_versions(deploy, sam, stands, built):
    (built / "template.yaml").rename(built / "mine.yaml")
    mine = "--sam=--template-file .aws-sam/build/mine.yaml"
    deploy.main(["keystow", "python3.13", "--parameters", "SnapStart=Enabled", mine])
    words = [word for word in sam.calls[0] if word.endswith(("mine.yaml", "versions.json"))]
    assert words == [".aws-sam/build/mine.yaml", str(built / "template-with-versions.json")]
