"""Starting the local stack: what it says when it cannot, and where its bare address leads."""

import asyncio
import socket

import httpx
import pytest

from local.__main__ import main
from local.errors import LocalStackError
from local.gateway import Gateway
from local.routing import Router
from local.stack import LocalStack, _alone, _provider


@pytest.mark.parametrize("port", ["abc", "70000", "-5", "4500.5", "٤٥٠٠"])
def test_what_is_no_port_gets_one_clear_line(monkeypatch, capsys, port):
    monkeypatch.setenv("KEYSTOW_PORT", port)
    monkeypatch.setattr("sys.argv", ["local", "run"])
    assert main() == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [f"KEYSTOW_PORT must be a port from 0 to 65535, not {port!r}."]


def test_a_second_stack_in_the_same_folder_is_refused_at_once_with_a_way_out(tmp_path):
    with (
        _alone(tmp_path, 4500),
        LocalStack(tmp_path, 0) as second,
        pytest.raises(LocalStackError) as refusal,
    ):
        second.up()
    assert str(tmp_path) in str(refusal.value)
    assert "--folder /tmp/other --port" in str(refusal.value)


def test_a_folder_whose_stack_has_ended_is_free_again(tmp_path):
    for _ in range(2):
        with _alone(tmp_path, 4500):
            pass


def test_a_taken_port_of_the_demo_provider_is_told_with_the_one_it_took(tmp_path, capsys):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        taken = other.getsockname()[1]
        with _provider(taken, tmp_path) as url:
            took = url.rpartition(":")[2]
    assert took != str(taken)
    said = f"Port {taken} is taken: the demo provider takes {took}.\n"
    assert capsys.readouterr().out == said


def ask(path, **headers):
    lines = []

    async def demo(_scope, _receive, _send):
        raise AssertionError("not asked")

    async def send():
        gateway = Gateway(Router([]), None, lambda: None, demo, lines.append)
        transport = httpx.ASGITransport(gateway)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            return await http.get(path, headers=headers)

    return asyncio.run(send()), lines


def test_a_browser_at_the_bare_address_is_led_to_the_demo():
    answer, lines = ask("/", accept="text/html,*/*;q=0.8")
    assert (answer.status_code, answer.headers["location"]) == (307, "/demo/")
    assert lines == []


@pytest.mark.parametrize(("path", "accept"), [("/", "*/*"), ("/x", "text/html")])
def test_a_program_or_another_address_gets_the_apis_own_answer(path, accept):
    answer, lines = ask(path, accept=accept)
    assert answer.status_code == 404
    assert answer.json() == {"message": "Not Found"}
    assert len(lines) == 1  # told to whoever keeps the log, and to nobody else
