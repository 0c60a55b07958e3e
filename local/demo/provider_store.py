"""What the demo provider remembers: one SQLite file in which every secret is a SHA-256 hash."""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from authlib.oauth2.rfc6749 import AuthorizationCodeMixin, ClientMixin, TokenMixin

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = """
CREATE TABLE IF NOT EXISTS clients (
  id TEXT PRIMARY KEY, secret_hash TEXT NOT NULL, name TEXT NOT NULL, redirect_uris TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS codes (
  hash TEXT PRIMARY KEY, client_id TEXT NOT NULL, redirect_uri TEXT, scope TEXT NOT NULL,
  account TEXT NOT NULL, challenge TEXT NOT NULL, method TEXT NOT NULL, expires_at REAL NOT NULL,
  family TEXT);
CREATE TABLE IF NOT EXISTS tokens (
  hash TEXT PRIMARY KEY, kind TEXT NOT NULL, family TEXT NOT NULL, client_id TEXT NOT NULL,
  account TEXT NOT NULL, scope TEXT NOT NULL, issued_at REAL NOT NULL, expires_at REAL,
  used INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS tokens_by_family ON tokens (family);
CREATE TABLE IF NOT EXISTS families (id TEXT PRIMARY KEY, revoked_because TEXT);
CREATE TABLE IF NOT EXISTS log (
  id INTEGER PRIMARY KEY, time REAL NOT NULL, ended REAL, grant_type TEXT, outcome TEXT,
  status INTEGER, family TEXT, account TEXT, fault TEXT, fingerprint TEXT);
"""

CODE_LIFE_S = 60.0
LOG_KEPT = 5000


def digest(secret: str) -> str:
    """Return the hash under which a secret is kept."""
    return hashlib.sha256(secret.encode()).hexdigest()


def fingerprint(token: str) -> str:
    """Return a short name of a token that tells tokens apart and gives nothing away."""
    return digest(token)[:12]


@dataclass(frozen=True)
class Client(ClientMixin):  # type: ignore[misc]  # authlib has no types
    """A confidential client (RFC 6749 §2.1)."""

    client_id: str
    secret_hash: str
    name: str
    redirect_uris: tuple[str, ...]

    def get_client_id(self) -> str:
        """Return the client's id."""
        return self.client_id

    def get_default_redirect_uri(self) -> str | None:
        """Return the address to use when none is named: only if there is just one."""
        return self.redirect_uris[0] if len(self.redirect_uris) == 1 else None

    def get_allowed_scope(self, scope: str | None) -> str:
        """Return the scopes that a request may have."""
        return scope or "profile"

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """Compare whole addresses (RFC 9700 §4.1.3)."""
        return redirect_uri in self.redirect_uris

    def check_client_secret(self, client_secret: str) -> bool:
        """Compare hashes in constant time."""
        return secrets.compare_digest(self.secret_hash, digest(client_secret))

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        """Allow both ways of sending the secret (RFC 6749 §2.3.1)."""
        del endpoint
        return method in {"client_secret_basic", "client_secret_post"}

    def check_response_type(self, response_type: str) -> bool:
        """Allow the code flow only."""
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        """Allow codes and refresh tokens."""
        return grant_type in {"authorization_code", "refresh_token"}


@dataclass(frozen=True)
class Code(AuthorizationCodeMixin):  # type: ignore[misc]  # authlib has no types
    """An authorization code that was found by its hash."""

    hash: str
    client_id: str
    redirect_uri: str | None
    scope: str
    account: str
    code_challenge: str
    code_challenge_method: str

    def get_redirect_uri(self) -> str | None:
        """Return the address the code was sent to."""
        return self.redirect_uri

    def get_scope(self) -> str:
        """Return the approved scopes."""
        return self.scope


@dataclass(frozen=True)
class Token(TokenMixin):  # type: ignore[misc]  # authlib has no types
    """A token that was found by its hash."""

    hash: str
    kind: str
    family: str
    client_id: str
    account: str
    scope: str
    expires_at: float | None
    used: bool
    revoked_because: str | None

    def check_client(self, client: Client) -> bool:
        """Tell whether the token was given to this client."""
        return self.client_id == client.client_id

    def get_scope(self) -> str:
        """Return the approved scopes."""
        return self.scope


class Store:
    """Clients, codes, tokens and the log. Safe to use from many threads.

    ``lock`` is public: whoever validates and then writes holds it for both.
    """

    def __init__(self, state_dir: Path) -> None:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        state_dir.chmod(0o700)
        path = state_dir / "provider.sqlite3"
        path.touch(mode=0o600)  # SQLite gives its side files the mode of this one
        path.chmod(0o600)
        self.lock = threading.RLock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(SCHEMA)

    def close(self) -> None:
        """Write everything to the one file and let go of it."""
        with self.lock:
            self._db.close()

    def _run(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        with self.lock:
            return self._db.execute(statement, values).fetchall()

    # ---- clients ------------------------------------------------------------------------

    def add_client(self, name: str, redirect_uris: list[str]) -> tuple[str, str]:
        """Make a client; return its id and its secret, which is not kept."""
        client_id, secret = "demo-" + secrets.token_hex(8), secrets.token_urlsafe(32)
        self._run(
            "INSERT INTO clients VALUES (?, ?, ?, ?)",
            *(client_id, digest(secret), name, "\n".join(redirect_uris)),
        )
        return client_id, secret

    def client(self, client_id: str) -> Client | None:
        """Return a client, or None."""
        for row in self._run("SELECT * FROM clients WHERE id = ?", client_id):
            uris = tuple(row["redirect_uris"].split("\n"))
            return Client(row["id"], row["secret_hash"], row["name"], uris)
        return None

    # ---- codes --------------------------------------------------------------------------

    def add_code(
        self,
        code: str,
        *,
        client_id: str,
        redirect_uri: str | None,
        scope: str,
        account: str,
        challenge: str,
        method: str,
    ) -> None:
        """Remember an authorization code for a minute."""
        self._run("DELETE FROM codes WHERE expires_at < ?", time.time() - 3600)
        self._run(
            "INSERT INTO codes VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL)",
            *(digest(code), client_id, redirect_uri, scope, account, challenge, method),
            time.time() + CODE_LIFE_S,
        )

    def code(self, code: str, client_id: str) -> Code | None:
        """Return a usable code; one that comes again ends its tokens (RFC 6749 §4.1.2)."""
        for row in self._run(
            "SELECT * FROM codes WHERE hash = ? AND client_id = ?", digest(code), client_id
        ):
            if row["family"]:
                self.revoke_family(row["family"], "code used twice")
                return None
            if row["expires_at"] < time.time():
                return None
            return Code(
                row["hash"],
                row["client_id"],
                row["redirect_uri"],
                row["scope"],
                row["account"],
                row["challenge"],
                row["method"],
            )
        return None

    def use_code(self, code: Code, family: str) -> None:
        """Mark a code as used by a family of tokens."""
        self._run("UPDATE codes SET family = ? WHERE hash = ?", family, code.hash)

    # ---- tokens -------------------------------------------------------------------------

    def new_family(self) -> str:
        """Begin a family: the tokens that descend from one approval."""
        family = secrets.token_hex(6)
        self._run("INSERT INTO families VALUES (?, NULL)", family)
        return family

    def add_token(
        self,
        token: str,
        kind: str,
        *,
        family: str,
        client_id: str,
        account: str,
        scope: str,
        life_s: float | None,
    ) -> None:
        """Remember the hash of a token."""
        now = time.time()
        self._run(
            "INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)",
            *(digest(token), kind, family, client_id, account, scope, now),
            None if life_s is None else now + life_s,
        )
        self._run("DELETE FROM tokens WHERE kind = 'access' AND expires_at < ?", now - 3600)

    def token(self, token: str) -> Token | None:
        """Return what is known of a token, whether it is good or not."""
        for row in self._run(
            "SELECT tokens.*, families.revoked_because FROM tokens "
            "JOIN families ON families.id = tokens.family WHERE hash = ?",
            digest(token),
        ):
            return Token(
                row["hash"],
                row["kind"],
                row["family"],
                row["client_id"],
                row["account"],
                row["scope"],
                row["expires_at"],
                bool(row["used"]),
                row["revoked_because"],
            )
        return None

    def use_token(self, token: Token) -> None:
        """Mark a refresh token as used; it is kept, so that its return is noticed."""
        self._run("UPDATE tokens SET used = 1 WHERE hash = ?", token.hash)

    def revoke_family(self, family: str, because: str) -> None:
        """End every token of a family."""
        self._run(
            "UPDATE families SET revoked_because = coalesce(revoked_because, ?) WHERE id = ?",
            *(because, family),
        )

    # ---- log ----------------------------------------------------------------------------

    def begin_entry(self, grant_type: str) -> int:
        """Note that a token request came in; return the entry's number."""
        with self.lock:
            cursor = self._db.execute(
                "INSERT INTO log (time, grant_type) VALUES (?, ?)", (time.time(), grant_type)
            )
            number = int(cursor.lastrowid or 0)
            self._db.execute("DELETE FROM log WHERE id <= ?", (number - LOG_KEPT,))
        return number

    def note(self, entry: int, **values: Any) -> None:
        """Add what became known to an entry."""
        columns = ", ".join(f"{name} = ?" for name in values)
        self._run(f"UPDATE log SET {columns} WHERE id = ?", *values.values(), entry)  # noqa: S608

    def entries(self, after: int = 0) -> list[dict[str, Any]]:
        """Return the log's entries with a number above ``after``, oldest first."""
        rows = self._run("SELECT * FROM log WHERE id > ? ORDER BY id", after)
        return [dict(row) for row in rows]
