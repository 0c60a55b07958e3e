"""What a check comes to, in words; and what an answer that did not come means."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from verify_aws.stack import Deployed

OK: Final = "ok"
FAILED: Final = "failed"
NOT_SEEN: Final = "not seen"  # AWS did not answer this caller
NOT_YET: Final = "not yet"  # nothing has happened that could show it
NOT_USED: Final = "not used"  # the stack was deployed without it
EMULATED: Final = "emulated"  # an emulator has it so; AWS was not asked
NOT_SHOWN: Final = "not shown"  # no emulator can show it
# In the order in which a table shows them.
OUTCOMES: Final = (FAILED, NOT_SEEN, OK, EMULATED, NOT_YET, NOT_USED, NOT_SHOWN)

# What an API answers that the caller may not ask.
_REFUSED: Final = (
    "AccessDenied",
    "AuthorizationError",
    "ExpiredToken",
    "InvalidClientTokenId",
    "OptInRequired",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "Unauthorized",
    "UnrecognizedClient",
)
# What it answers that has no answer for anybody now.
_BUSY: Final = ("Throttling", "TooManyRequests", "RequestLimitExceeded", "ServiceUnavailable")
_UNKNOWN_TO_AN_EMULATOR: Final = 501
_OWN_FAULT: Final = 500


class NotServed(Exception):  # noqa: N818 - an outcome, not a fault
    """An emulator made up an address that on AWS is somebody's; nothing was sent there."""


@dataclass(frozen=True)
class Finding:
    """One condition that was looked at.

    ``text`` never holds what a request, a line of a log or an answer of the API said.
    """

    outcome: str
    text: str = ""
    # Why no emulator can show it, whatever it answers.
    aws_only: str = ""


Look = Callable[["Deployed"], Iterator[Finding]]


@dataclass(frozen=True)
class Check:
    """A line of the table.

    ``aws_only`` says why no emulator can show it: it is not looked at there.
    """

    name: str
    look: Look
    aws_only: str = ""


def expect(fits: bool, wrong: str, *, aws_only: str = "") -> Finding:  # noqa: FBT001
    """Return whether a condition holds, and what to say when it does not."""
    return Finding(OK, "", aws_only) if fits else Finding(FAILED, wrong, aws_only)


def told(text: str) -> Finding:
    """Return what the table says about a check when nothing is wrong."""
    return Finding(OK, text)


def findings_of(check: Check, deployed: Deployed) -> list[Finding]:
    """Make a check; what is refused or breaks off becomes a finding, never an exception."""
    if deployed.emulated and check.aws_only:
        return [Finding(NOT_SHOWN, check.aws_only)]
    found: list[Finding] = []
    try:
        found.extend(check.look(deployed))  # what came before an exception stays
    except NotServed as reason:
        found.append(Finding(NOT_SHOWN, str(reason)))
    except ClientError as error:
        found.append(_refusal(error, emulated=deployed.emulated))
    except BotoCoreError as error:
        found.append(Finding(NOT_SEEN, f"could not look: {error}"))
    except (OSError, http.client.HTTPException) as error:
        found.append(Finding(FAILED, f"no answer: {error or type(error).__name__}"))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        # An answer of another shape. (Its text could hold anything, so its kind must do.)
        found.append(Finding(FAILED, f"an answer lacks {_lack(error)}"))
    return [_as_seen(each, emulated=deployed.emulated) for each in found]


def _lack(error: Exception) -> str:
    return str(error) if isinstance(error, KeyError) else f"sense ({type(error).__name__})"


def _refusal(error: ClientError, *, emulated: bool) -> Finding:
    """Return what an error of AWS means for a check."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    unknown = ("UnknownOperation", "NotImplemented", "InvalidAction", "UnsupportedOperation")
    if emulated and (status == _UNKNOWN_TO_AN_EMULATOR or code.startswith(unknown)):
        return Finding(NOT_SHOWN, f"the emulator has no {error.operation_name}")
    if code.startswith((*_REFUSED, *_BUSY)) or status >= _OWN_FAULT:
        return Finding(NOT_SEEN, f"could not look: {error}")
    return Finding(FAILED, str(error))


def _as_seen(finding: Finding, *, emulated: bool) -> Finding:
    """Return a finding as an emulator's word counts: never as AWS's."""
    if not emulated:
        return finding
    if finding.aws_only:
        return Finding(NOT_SHOWN, finding.aws_only)
    return replace(finding, outcome=EMULATED) if finding.outcome == OK else finding
