"""The stores that are held to one contract: the in-memory twin, DynamoDB, and the reference.

The reference is the same store on botocore: what our client of AWS does otherwise, fails here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from keystow.store.dynamodb import DynamoStore
from keystow.store.memory import MemoryStore
from tests.aws_server import serving
from tests.moto_tables import create_tables
from tests.support import TABLE_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keystow.store import Store


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[tuple[dict[str, Store], Any]]:
    with serving() as aws:
        client = aws.botocore("dynamodb")
        create_tables(client)
        ours = aws.client("dynamodb")
        reference: Any = aws.reference("dynamodb")
        yield (
            {
                "dynamodb": DynamoStore(ours, TABLE_NAMES),
                "reference": DynamoStore(reference, TABLE_NAMES),
            },
            client,
        )
        ours.close()


@pytest.fixture(params=["memory", "dynamodb", "reference"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    stores, client = request.getfixturevalue("dynamodb")
    yield stores[request.param]
    for table in TABLE_NAMES.values():
        for item in client.scan(TableName=table)["Items"]:
            client.delete_item(TableName=table, Key={"pk": item["pk"], "sk": item["sk"]})
