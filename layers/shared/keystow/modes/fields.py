"""The fields of a credential: what a form asks for, and what the body of an import holds.

A mode names them; bodies, forms and the documentation are made from that. No pydantic here: whoever
reads a credential imports this.
"""

from __future__ import annotations

from typing import Literal

from keystow.value import Value

Kind = Literal[
    "key", "user_name", "password", "token", "text", "client_id", "client_secret", "client", "date"
]


class Field(Value):
    """One field.

    Attributes:
        name: as the contract spells it.
        kind: what it takes. ``key``, ``token``, ``client_id``: a text that is not empty.
            ``user_name``, ``password``, ``client_secret``, ``text``: one that may be. ``client``:
            an OAuth client of the connection's own. ``date``: ISO 8601 or epoch milliseconds.
            A password is kept as it was typed; from every other text outer white space is cut.
        required: whether it may be left out.
    """

    name: str
    kind: Kind
    required: bool = True
