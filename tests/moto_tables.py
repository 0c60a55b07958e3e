"""The tables of the store on moto, as the template makes them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from keystow.store.dynamodb import DynamoStore
from keystow.store.tables import TABLES
from tests.aws_server import serving
from tests.support import TABLE_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator


def create_tables(client: Any) -> None:
    """Create every table of :mod:`keystow.store.tables`, named as in ``TABLE_NAMES``.

    Args:
        client: a botocore client of DynamoDB, inside moto's ``mock_aws``.
    """
    for name, table in TABLES.items():
        types = {"pk": "S", "sk": "S"}
        indexes = []
        for index_name, index in table.indexes.items():
            types[index.hash] = "S"
            types[index.range] = index.range_type
            projection: dict[str, Any] = {"ProjectionType": "ALL"}
            if index.projection == ():
                projection = {"ProjectionType": "KEYS_ONLY"}
            elif index.projection is not None:
                projection = {
                    "ProjectionType": "INCLUDE",
                    "NonKeyAttributes": list(index.projection),
                }
            indexes.append(
                {
                    "IndexName": index_name,
                    "KeySchema": [
                        {"AttributeName": index.hash, "KeyType": "HASH"},
                        {"AttributeName": index.range, "KeyType": "RANGE"},
                    ],
                    "Projection": projection,
                }
            )
        request: dict[str, Any] = {
            "TableName": TABLE_NAMES[name],
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [
                {"AttributeName": attribute, "AttributeType": kind}
                for attribute, kind in types.items()
            ],
            "KeySchema": [
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
        }
        if indexes:
            request["GlobalSecondaryIndexes"] = indexes
        client.create_table(**request)


@contextmanager
def moto_store() -> Iterator[tuple[DynamoStore, Any]]:
    """Yield a DynamoStore on moto's tables behind HTTP, and a botocore client to look at them."""
    with serving() as aws:
        looking = aws.botocore("dynamodb")
        create_tables(looking)
        client = aws.client("dynamodb")
        try:
            yield DynamoStore(client, TABLE_NAMES), looking
        finally:
            client.close()
            looking.close()
