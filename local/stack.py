"""The local stack as a whole: brings it up in order, serves it, takes it down in order."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from local import package, template
from local.emulator import HOST, Emulator, child_environment, free_port
from local.errors import LocalStackError
from local.invoker import Invoker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

PROJECT = Path(__file__).resolve().parent.parent
DEFAULT_FOLDER = PROJECT / ".local"
DEFAULT_PORT = 4500
LAST_BASE_PORT = 65_000
BOOTSTRAP = "BootstrapKeysFunction"
_LOCK_SECONDS = 40
_LISTEN_SECONDS = 15
_KEYS = ("environment", "secret_key", "account_key", "public_key", "webhook_signing_key")


@dataclass(frozen=True)
class StackInfo:
    """Where everything is, and the keys of the first environment. URLs end without a slash."""

    version: int
    environment: str
    api_url: str
    websocket_url: str
    connect_ui_url: str
    callback_url: str
    demo_url: str
    secret_key: str
    account_key: str
    public_key: str
    webhook_signing_key: str
    # Not in stack.json, which tells what a user of Keystow needs:
    demo_provider_url: str
    emulator_url: str
    state_dir: Path

    def as_json(self) -> dict[str, Any]:
        """Return what ``stack.json`` says."""
        return {k: v for k, v in asdict(self).items() if k not in _INSIDE}


_INSIDE = ("demo_provider_url", "emulator_url", "state_dir")


class LocalStack:
    """One local stack; use it as a context, so that whatever was started is stopped.

    Args:
        folder: holds its state, keys and logs; nothing else uses it.
        port: the public port on loopback; 0 takes a free one.
    """

    def __init__(self, folder: Path = DEFAULT_FOLDER, port: int = DEFAULT_PORT) -> None:
        self.folder = folder.resolve()
        self._wanted_port = port
        self._closing = contextlib.ExitStack()
        self._template = template.load(PROJECT / "template.yaml")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def up(self) -> StackInfo:
        """Start the emulator, deploy the template, make sure that there are keys.

        Raises:
            LocalStackError: the port or the folder is taken, or something did not start.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._closing.enter_context(_alone(self.folder, self._wanted_port))
        self._socket = self._closing.enter_context(_listener(self._wanted_port))
        port = int(self._socket.getsockname()[1])
        url = f"http://{HOST}:{port}"
        lock = self._closing.enter_context(_lock(self.folder / "lock"))
        self._emulator = self._closing.enter_context(Emulator(self.folder, PROJECT, lock))
        created = self._deploy(url)
        names = self._emulator.physical_names()
        log = self.folder / "functions.log"
        log.touch(mode=0o600)
        os.truncate(log, 0)
        self._invoker = Invoker(self._emulator.client("lambda"), names, log)
        provider = self._closing.enter_context(_provider(port + 1, self.folder))
        self.info = StackInfo(
            version=1,
            api_url=url,
            websocket_url=f"ws://{HOST}:{port}",
            connect_ui_url=f"{url}/ui/connect",
            callback_url=f"{url}/oauth/callback",
            demo_url=f"{url}/demo",
            demo_provider_url=provider,
            emulator_url=self._emulator.url,
            state_dir=self.folder,
            **self._keys(created=created),
        )
        inside = {name: str(getattr(self.info, name)) for name in _INSIDE}
        _write_private(self.folder / "inside.json", inside)
        _write_private(self.folder / "stack.json", self.info.as_json())
        return self.info

    def serve(self, on_ready: Callable[[], None]) -> None:
        """Serve the gateway until SIGINT or SIGTERM.

        Args:
            on_ready: called, in a thread of its own, once the API and the demo can be used.
        """
        import uvicorn

        from local import demo
        from local.gateway import Gateway
        from local.routing import Router

        shown = demo.create_app(self.info)

        class Server(uvicorn.Server):
            """Ends the demo's open event streams first, which would hold up the shutdown."""

            def handle_exit(self, sig: int, frame: FrameType | None) -> None:
                shown.stop()
                super().handle_exit(sig, frame)

        def finish() -> None:
            _wait_for(self.info.api_url)
            _wait_for(self.info.demo_provider_url)
            try:
                demo.register(self.info)
            except Exception as error:  # noqa: BLE001 - the API is of use without the demo
                print(f"The demo could not be set up: {error}", file=sys.stderr)
            on_ready()
            settled.set()

        def note(line: str) -> None:
            """Show a request; those of the start itself go to the log file."""
            if settled.is_set():
                print(line, flush=True)
                return
            with (self.folder / "functions.log").open("a", encoding="utf-8") as log:
                log.write(f"{line}\n")

        settled = threading.Event()
        router = Router(template.routes(self._template))
        finisher = threading.Thread(target=finish, daemon=True, name="finish")
        gateway = Gateway(router, self._invoker, finisher.start, shown, note)
        config = uvicorn.Config(
            gateway,
            access_log=False,
            log_level="warning",
            lifespan="on",
            ws_max_size=128 * 1024,
            timeout_graceful_shutdown=5,
            proxy_headers=False,
            server_header=False,
        )
        Server(config).run(sockets=[self._socket])

    def _deploy(self, url: str) -> bool:
        archives = {
            name: package.function_archive(PROJECT / properties["CodeUri"])
            for name, properties in template.functions(self._template).items()
        }
        for name, resource in self._template["Resources"].items():
            if resource["Type"] == template.LAYER:
                folder = PROJECT / resource["Properties"]["ContentUri"]
                archives[name] = package.layer_archive(folder / "keystow")
        code = {name: f"s3://keystow-local/{archive.key}" for name, archive in archives.items()}
        variables = {
            "AWS_ENDPOINT_URL": self._emulator.url,
            "KEYSTOW_PUBLIC_URL": url,
            "KEYSTOW_WEBSOCKET_URL": url.replace("http://", "ws://"),
            "KEYSTOW_WEBSOCKET_ENDPOINT": url,
            # The demo provider and webhook receivers on this machine have http addresses.
            "KEYSTOW_LOOPBACK_ALLOWED": "1",
        }
        local = template.for_emulator(self._template, code, variables)
        return self._emulator.deploy(local, archives.values())

    def _keys(self, *, created: bool) -> dict[str, str]:
        """Return the keys of this stack: new ones with a new stack, else those of its state.

        They lie in the folder of the state, since without it they open nothing.
        """
        place = self.folder / "state" / "keystow-keys.json"
        if created:
            outcome = self._invoker.call(BOOTSTRAP, {})
            if outcome.failed:
                raise LocalStackError(f"No keys could be made: {outcome.result}")
            keys = _first_keys(outcome.result)
            _write_private(place, keys)
            return keys
        # Brings what an earlier version stored to where this one looks for it.
        self._invoker.call(BOOTSTRAP, {})
        try:
            found: dict[str, str] = json.loads(place.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise LocalStackError(
                f"The keys of this local stack are lost ({place} cannot be read), and they are "
                "given out only once.\n`make clean` forgets the stack; the next `make run` "
                "starts an empty one."
            ) from None
        return found


def _first_keys(answer: Any) -> dict[str, str]:
    """Return the keys of the first environment, and the account's, out of bootstrap's answer."""
    try:
        return {name: str(answer[name]) for name in _KEYS}
    except (KeyError, TypeError):
        raise LocalStackError(f"No keys were made: {answer}") from None


def _wait_for(url: str) -> None:
    """Wait until somebody listens."""
    where = urlsplit(url)
    deadline = time.monotonic() + _LISTEN_SECONDS
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex((where.hostname, where.port)) == 0:
                return
        time.sleep(0.05)


def _listener(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError:
        listener.close()
        raise LocalStackError(
            f"Port {port} of {HOST} is taken, perhaps by another `make run`.\n"
            f"Choose another: KEYSTOW_PORT={port + 100} make run"
        ) from None
    return listener


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError):
            return False
    return True


@contextlib.contextmanager
def _alone(folder: Path, port: int) -> Iterator[None]:
    """Hold the folder as its running stack, which no child inherits; refuse at once otherwise."""
    with (folder / "running").open("w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            other = port + 200 if 0 < port < LAST_BASE_PORT else 0
            raise LocalStackError(
                f"Another local stack runs in the folder {folder}.\n"
                "Stop it with Ctrl-C where it runs, or start one beside it, in a folder and on a "
                f"port of its own:\n  .venv/bin/python -m local run --folder /tmp/other --port "
                f"{other}"
            ) from None
        yield


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[int]:
    """Hold the folder; wait while the emulator of an earlier run still writes its state."""
    with path.open("w", encoding="utf-8") as file:
        deadline = time.monotonic() + _LOCK_SECONDS
        waiting = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise LocalStackError(
                        f"The emulator of an earlier run still uses {path.parent}; try again "
                        "when it has ended."
                    ) from None
                if not waiting:
                    print(f"Waiting for an earlier run to write its state in {path.parent} ...")
                waiting = True
                time.sleep(0.2)
        yield file.fileno()


@contextlib.contextmanager
def _provider(wanted_port: int, folder: Path) -> Iterator[str]:
    """Run the demo provider and yield its URL; it keeps its port, which connections remember."""
    port = wanted_port
    if not _is_free(wanted_port):
        port = free_port()
        print(f"Port {wanted_port} is taken: the demo provider takes {port}.", flush=True)
    state = folder / "provider"
    state.mkdir(mode=0o700, exist_ok=True)
    with (folder / "provider.log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "local.child", "provider", str(port), str(state)],
            cwd=PROJECT,
            env=child_environment(folder),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield f"http://{HOST}:{port}"
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _write_private(path: Path, content: dict[str, Any]) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    scratch = path.with_suffix(".new")
    scratch.unlink(missing_ok=True)
    with os.fdopen(os.open(scratch, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "w") as file:
        json.dump(content, file, indent=2)
        file.write("\n")
    scratch.replace(path)
