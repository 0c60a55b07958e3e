"""The tables, their indexes and every key in them: the one place where keys are spelled.

Environments and integrations stand in keys by their immutable ids, so that a rename moves nothing.
``template.yaml`` creates the tables; a test holds it against this module.
"""

from __future__ import annotations

from keystow.store.operations import Key
from keystow.value import Value, field

CONNECTIONS = "connections"
REGISTRY = "registry"
KEYS = "keys"
SESSIONS = "sessions"
EVENTS = "events"
ACTIVITY = "activity"


class Index(Value):
    """A global secondary index: its two keys; sparse, since items without them are not in it."""

    hash: str
    range: str
    range_type: str = "S"
    projection: tuple[str, ...] | None = None  # None: every attribute; (): only the keys


class Table(Value):
    """A table with string keys ``pk`` and ``sk``, and TTL in ``ttl`` where rows expire."""

    indexes: dict[str, Index] = field(default_factory=dict)
    expires: bool = False


TABLES: dict[str, Table] = {
    CONNECTIONS: Table(
        {
            "by_environment": Index("environment", "created"),
            "by_integration": Index("integration", "created"),
            "by_end_user": Index("end_user", "created"),
            "by_due": Index("due_shard", "due_at", "N", ("host", "generation", "version")),
        },
        expires=True,
    ),
    REGISTRY: Table(expires=True),
    KEYS: Table(),
    SESSIONS: Table(expires=True),
    EVENTS: Table(
        {
            "by_due": Index("due_shard", "due_at", "N", ()),
            "by_environment": Index("environment", "created"),
        },
        expires=True,
    ),
    ACTIVITY: Table({"by_environment": Index("environment", "created")}, expires=True),
}

DUE_SHARDS = 16

# What DynamoDB takes as a key, in bytes of UTF-8 ("Quotas": partition key, sort key).
MOST_PARTITION_BYTES = 2048
MOST_SORT_BYTES = 1024

CONNECTION = "connection"
CONNECTION_SECRET = "connection#secret"  # noqa: S105 - the name of an item
# What waits for confirmation; it begins like the others, so that a read of them sees it.
CONNECTION_PENDING = "connection#pending"
SETTINGS = "settings"
TRACE = "trace#"
INCIDENT = "incident"
TAKEN = "token#"
TAKEN_COUNT = "count#"
OPEN_INCIDENTS = "incident#open"
QUOTA = "quota#"
EVENT = "event"


def is_partition(value: str) -> bool:
    """Return whether a text can be a partition key, of a table or of an index."""
    return 0 < _size(value) <= MOST_PARTITION_BYTES


def is_sort(value: str) -> bool:
    """Return whether a text can be a sort key, of a table or of an index."""
    return 0 < _size(value) <= MOST_SORT_BYTES


def _size(text: str) -> int:
    # Longer than any key, whatever it is made of: not worth encoding.
    if len(text) > MOST_PARTITION_BYTES:
        return len(text)
    return len(text.encode("utf-8", "surrogatepass"))


def connection_pk(environment: str, integration: str, connection_id: str) -> str:
    """Return the partition of a connection; ids of ours hold no ``#``, so it splits in three."""
    return f"{environment}#{integration}#{connection_id}"


def split_connection_pk(pk: str) -> tuple[str, str, str]:
    """Return (environment, integration, connection_id) of a connection's partition."""
    environment, integration, connection_id = pk.split("#", 2)
    return environment, integration, connection_id


def connection(environment: str, integration: str, connection_id: str) -> Key:
    """Return the key of a connection's description."""
    return Key(CONNECTIONS, connection_pk(environment, integration, connection_id), CONNECTION)


def connection_secret(environment: str, integration: str, connection_id: str) -> Key:
    """Return the key of a connection's sealed credential."""
    pk = connection_pk(environment, integration, connection_id)
    return Key(CONNECTIONS, pk, CONNECTION_SECRET)


def connection_pending(environment: str, integration: str, connection_id: str) -> Key:
    """Return the key of what becomes a connection once it is confirmed."""
    pk = connection_pk(environment, integration, connection_id)
    return Key(CONNECTIONS, pk, CONNECTION_PENDING)


def pending_partition(partition: str) -> str:
    """Return where an index lists what waits, apart from the connections of a partition of it."""
    return f"pending#{partition}"


def journal(environment: str, integration: str, connection_id: str, entry: str) -> Key:
    """Return the key of a token that lost a race but may still be needed."""
    pk = connection_pk(environment, integration, connection_id)
    return Key(CONNECTIONS, pk, f"journal#{entry}")


def trace(pk: str, entry: str) -> Key:
    """Return the key, in a connection's partition, of what leads to an event or an operation."""
    return Key(CONNECTIONS, pk, f"{TRACE}{entry}")


def removed_connections(environment: str) -> str:
    """Return the partition of the marks of connections that are gone."""
    return f"{environment}#removed"


def removed_connection(environment: str, identity: str) -> Key:
    """Return the key of the mark that a connection is gone and traces of it may be left."""
    return Key(CONNECTIONS, removed_connections(environment), identity)


def incidents(environment: str) -> str:
    """Return where an index lists the incidents of an environment."""
    return f"incidents#{environment}"


def incident_pk(environment: str, incident: str) -> str:
    """Return the partition of an incident; apart by its first word, as data keys are."""
    return f"incident#{environment}#{incident}"


def split_incident(pk: str) -> tuple[str, str]:
    """Return (environment, incident) of an incident's partition."""
    _, environment, incident = pk.split("#", 2)
    return environment, incident


def incident_row(environment: str, incident: str, sk: str) -> Key:
    """Return the key of a row of an incident."""
    return Key(CONNECTIONS, incident_pk(environment, incident), sk)


def incident(environment: str, incident: str) -> Key:
    """Return the key of an incident."""
    return incident_row(environment, incident, INCIDENT)


def open_incident(environment: str, incident: str) -> Key:
    """Return the key of the mark that an incident has not taken everything yet."""
    return Key(CONNECTIONS, OPEN_INCIDENTS, f"{environment}#{incident}")


def environment_settings(environment: str) -> Key:
    """Return the key of an environment's own item."""
    return Key(REGISTRY, environment, SETTINGS)


def environment_variables(environment: str) -> Key:
    """Return the key of an environment's variables."""
    return Key(REGISTRY, environment, "variables")


def integration(environment: str, integration_id: str) -> Key:
    """Return the key of an integration."""
    return Key(REGISTRY, environment, f"integration#{integration_id}")


def integration_name(environment: str, unique_key: str) -> Key:
    """Return the key of the claim on an integration's unique key."""
    return Key(REGISTRY, environment, f"integration_key#{unique_key}")


def custom_provider(environment: str, provider: str) -> Key:
    """Return the key of a custom provider's definition."""
    return Key(REGISTRY, environment, f"provider#{provider}")


def data_keys(environment: str) -> str:
    """Return the partition of an environment's wrapped data keys.

    It is apart from what else an environment has, since whoever seals something may write here:
    a role can be held to partitions, not to kinds of rows in one.
    """
    return f"datakeys#{environment}"


def data_key(environment: str, data_key_id: str) -> Key:
    """Return the key of a wrapped data key."""
    return Key(REGISTRY, data_keys(environment), data_key_id)


def throttles(environment: str) -> str:
    """Return the partition that says which token hosts are left alone; apart, as data keys are."""
    return f"throttle#{environment}"


def disabled_webhooks(environment: str) -> Key:
    """Return the key of the list of URLs that are turned off; apart, as data keys are.

    It is all of the Registry that the function may write which calls receivers.
    """
    return Key(REGISTRY, f"webhooks#{environment}", "disabled")


def gate(environment: str, what: str, number: int) -> Key:
    """Return the key of a gate's row (:mod:`keystow.store.gates`); while it is there, it is shut.

    Args:
        environment: whose.
        what: ``environment`` for all of it, else the id of an integration.
        number: which of its gates.
    """
    return Key(REGISTRY, environment, f"closed#{what}#{number:02d}")


def throttle(environment: str, host: str) -> Key:
    """Return the key under which it stands until when a token host is left alone."""
    return Key(REGISTRY, throttles(environment), host)


def api_key_lookup(key_hash: str) -> Key:
    """Return the key under which an API key is found by the hash of its text."""
    return Key(KEYS, f"key#{key_hash}", "key")


def api_keys(owner: str) -> str:
    """Return the partition with the list of an owner's API keys (an environment, ``account``)."""
    return f"owner#{owner}"


def api_key_entry(owner: str, uuid: str) -> Key:
    """Return the key of an API key's entry in its owner's list."""
    return Key(KEYS, api_keys(owner), uuid)


def api_key_uses(owner: str) -> str:
    """Return the partition that says when an owner's API keys were last used.

    It is all of this table that a function which only checks keys may write (``use#*`` in its
    role), so nothing in it may ever decide who gets in.
    """
    return f"use#{owner}"


def api_key_use(owner: str, uuid: str) -> Key:
    """Return the key of the note when an API key was last used."""
    return Key(KEYS, api_key_uses(owner), uuid)


def environment_name(name: str) -> Key:
    """Return the key of the claim on an environment's name."""
    return Key(REGISTRY, "account", f"environment#{name}")


def public_key(uuid: str) -> Key:
    """Return the key of what leads from a public key to its environment; there while it is on."""
    return Key(REGISTRY, "account", f"public_key#{uuid}")


def connect_session(token_hash: str) -> Key:
    """Return the key of a connect session."""
    return Key(SESSIONS, f"session#{token_hash}", "session")


def session_quota(token_hash: str, kind: str) -> Key:
    """Return the key of what a connect session has had of a quota."""
    return Key(SESSIONS, f"session#{token_hash}", f"{QUOTA}{kind}")


def end_user_quota(environment: str, name: str, kind: str) -> Key:
    """Return the key of what an end user (by the hash of the id) has had of a quota."""
    return Key(SESSIONS, f"end_user#{environment}#{name}", f"{QUOTA}{kind}")


def end_user_traces(environment: str, name: str) -> str:
    """Return the partition of what leads to an end user (by the hash of the id)."""
    return f"end_user#{environment}#{name}"


def end_user_trace(environment: str, name: str, entry: str) -> Key:
    """Return the key of what leads from an end user to something that tells of them."""
    return Key(SESSIONS, end_user_traces(environment, name), f"{TRACE}{entry}")


def oauth_state(state_hash: str) -> Key:
    """Return the key of an authorization attempt."""
    return Key(SESSIONS, f"state#{state_hash}", "state")


def registered_client(environment: str, integration_id: str, name: str) -> Key:
    """Return the key of a client that was registered for an integration; ``name`` is a hash."""
    return Key(SESSIONS, f"client#{environment}#{integration_id}", name)


def browser_socket(client_id: str) -> Key:
    """Return the key under which a browser's WebSocket is found by its public id."""
    return Key(SESSIONS, f"socket#{client_id}", "socket")


def event(event_id: str) -> Key:
    """Return the key of an event."""
    return Key(EVENTS, event_id, EVENT)


def delivery(event_id: str, endpoint: int) -> Key:
    """Return the key of an event's delivery to one of its endpoints."""
    return Key(EVENTS, event_id, f"delivery#{endpoint}")


def activity(environment: str, operation: str, moment: str) -> Key:
    """Return the key of one entry of an operation's log; ``operation`` is its header."""
    return Key(ACTIVITY, f"{environment}#{operation}", moment)
