# ruff: noqa: INP001, T201 - a command that prints, not a package
"""Restores a stack's connections, registry and API keys to one moment, into new tables.

usage: python scripts/restore.py STACK MOMENT [--yes]

The tables in use stay as they are; at its end it says how a deployment takes the new ones.
Everything is read from AWS, so a call that was cut off is simply made again: what is there is not
made twice. docs/deploy.md says what a restore means.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, WaiterError
from deployed import Refused, Stack
from named_tables import DATA_KEYS, ENDING, TOGETHER, faults, parameters

# A large table takes hours.
PATIENCE = {"Delay": 20, "MaxAttempts": 24 * 180}
# Rows of the registry, as keystow.store.tables names them.
ENVIRONMENT_GATE = "closed#environment#"


def moment_of(text: str) -> datetime:
    """Return a moment, to the second.

    Raises:
        Refused: it is none, or does not say its zone.
    """
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            utc = moment.isoformat(timespec="seconds")
            raise Refused(f"MOMENT={text} has no zone; write MOMENT={utc}Z for UTC")
        return moment.astimezone(UTC).replace(microsecond=0)
    except (ValueError, OverflowError):  # the latter: a zone leads out of all years
        raise Refused(
            f"MOMENT={text} is no moment; write one such as MOMENT=2026-01-31T12:00:00Z"
        ) from None


def target_of(source: str, moment: datetime) -> str:
    """Return the name of the table that a table of that moment is restored into."""
    suffix = moment.strftime("-at-%Y%m%dT%H%M%SZ")
    return source[: 255 - len(suffix)] + suffix


class Restore:
    """A restore of the tables that belong together, to one moment.

    (The other tables hold what ends by itself, or what would be sent a second time.)
    """

    def __init__(self, dynamodb: Any, sources: dict[str, str], moment: datetime) -> None:
        self._dynamodb = dynamodb
        self._moment = moment
        self._sources = sources
        self.targets = {name: target_of(table, moment) for name, table in sources.items()}

    def check(self) -> None:
        """Look whether every table can be restored to the moment, before anything is made.

        Raises:
            Refused: one of them cannot.
        """
        for table in self._sources.values():
            found = self._dynamodb.describe_continuous_backups(TableName=table)
            described = found["ContinuousBackupsDescription"]
            window = described.get("PointInTimeRecoveryDescription", {})
            if window.get("PointInTimeRecoveryStatus") != "ENABLED":
                raise Refused(f"{table} has no point-in-time recovery")
            least, most = window["EarliestRestorableDateTime"], window["LatestRestorableDateTime"]
            if not least <= self._moment <= most:
                raise Refused(f"{table} can be restored to moments from {least} to {most}")

    def begin(self) -> None:
        """Ask for all tables first, so that they are restored at the same time."""
        for name, source in self._sources.items():
            if self._exists(self.targets[name]):
                print(f"{self.targets[name]} is there already")
                continue
            self._dynamodb.restore_table_to_point_in_time(
                SourceTableName=source,
                TargetTableName=self.targets[name],
                RestoreDateTime=self._moment,
            )
            print(f"{self.targets[name]} is being restored")

    def end(self) -> None:
        """Wait, keep destroyed what was erased, and give back what a restored table loses.

        Raises:
            Refused: a table is still not as a stack needs it.
        """
        for target in self.targets.values():
            self._wait(target)
        # Before point-in-time recovery begins, which would keep these data keys for 35 days more.
        self._erase_again()
        for name, source in self._sources.items():
            protected = self._give_back(source, self.targets[name])
            wanted = parameters()[f"{name}TableName"]
            wrong = faults(self._dynamodb, self.targets[name], wanted, protected=protected)
            if wrong:
                raise Refused(f"{self.targets[name]}: {', '.join(wrong)}")
            print(f"{self.targets[name]} is whole")

    def _exists(self, table: str) -> bool:
        try:
            self._dynamodb.describe_table(TableName=table)
        except self._dynamodb.exceptions.ResourceNotFoundException:
            return False
        return True

    def _wait(self, table: str) -> None:
        self._dynamodb.get_waiter("table_exists").wait(TableName=table, WaiterConfig=PATIENCE)

    def _erase_again(self) -> None:
        """Destroy the data keys of environments that were deleted since, and shut these.

        The gates of a deleted environment stay in the registry for ever, so the one in use tells
        which were deleted, and which rows were lost by mistake.
        """
        gates = self._rows(self._sources["Registry"], "sk", ENVIRONMENT_GATE)
        restored = self.targets["Registry"]
        for gate in gates:
            self._dynamodb.put_item(TableName=restored, Item=gate)
        shut = {gate["pk"]["S"] for gate in gates}
        destroyed = 0
        for row in self._rows(restored, "pk", DATA_KEYS):
            if row["pk"]["S"].removeprefix(DATA_KEYS) in shut:
                key = {"pk": row["pk"], "sk": row["sk"]}
                self._dynamodb.delete_item(TableName=restored, Key=key)
                destroyed += 1
        print(f"{destroyed} data keys of deleted environments stay destroyed")

    def _rows(self, table: str, key: str, prefix: str) -> list[dict[str, Any]]:
        pages = self._dynamodb.get_paginator("scan").paginate(
            TableName=table,
            ConsistentRead=True,
            FilterExpression="begins_with(#key, :prefix)",
            ExpressionAttributeNames={"#key": key},
            ExpressionAttributeValues={":prefix": {"S": prefix}},
        )
        return [row for page in pages for row in page["Items"]]

    def _give_back(self, source: str, target: str) -> bool:
        """Set what the table in use has; return whether nobody can delete that one."""
        used = self._dynamodb.describe_table(TableName=source)["Table"]
        restored = self._dynamodb.describe_table(TableName=target)["Table"]
        self._tag(used["TableArn"], restored["TableArn"])
        self._end_rows_by_time(source, target)
        self._dynamodb.update_continuous_backups(
            TableName=target,
            PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
        )
        protected = used.get("DeletionProtectionEnabled", False)
        if protected and not restored.get("DeletionProtectionEnabled", False):
            self._dynamodb.update_table(TableName=target, DeletionProtectionEnabled=True)
            self._wait(target)
        return bool(protected)

    def _tag(self, source: str, target: str) -> None:
        lister = self._dynamodb.get_paginator("list_tags_of_resource")
        used, restored = (
            [tag for page in lister.paginate(ResourceArn=table) for tag in page["Tags"]]
            for table in (source, target)
        )
        # Those of CloudFormation are AWS's own, and nobody else can set them.
        lost = [tag for tag in used if tag not in restored and not tag["Key"].startswith("aws:")]
        if lost:
            self._dynamodb.tag_resource(ResourceArn=target, Tags=lost)

    def _end_rows_by_time(self, source: str, target: str) -> None:
        used, restored = (
            self._dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
            for table in (source, target)
        )
        if used["TimeToLiveStatus"] in ENDING and restored["TimeToLiveStatus"] not in ENDING:
            self._dynamodb.update_time_to_live(
                TableName=target,
                TimeToLiveSpecification={"Enabled": True, "AttributeName": used["AttributeName"]},
            )


def agreed(restore: Restore, moment: datetime) -> bool:
    """Return whether somebody is there who wants this."""
    print(f"As of {moment.isoformat()}, these tables will be made beside those in use:\n")
    for target in restore.targets.values():
        print(f"  {target}")
    if not sys.stdin.isatty():
        print("\nNobody is there to agree: say YES=1")
        return False
    return input("\nRestoring costs by size. Go on? [y/N]: ").strip().lower() in {"y", "yes"}


def main(arguments: list[str]) -> int:
    """Restore, and print the new tables; return 1 if something was refused."""
    parser = argparse.ArgumentParser(description="Restores a stack's tables into new ones")
    parser.add_argument("stack")
    parser.add_argument("moment")
    parser.add_argument("--yes", action="store_true", help="ask nothing")
    chosen = parser.parse_args(arguments)
    try:
        moment = moment_of(chosen.moment)
        stack = Stack(chosen.stack)
        sources = {name: stack.output(f"{name}TableName") for name in TOGETHER}
        restore = Restore(stack.account.client("dynamodb"), sources, moment)
        restore.check()
    except (Refused, BotoCoreError, ClientError) as refusal:
        print(f"Nothing was restored: {refusal}", file=sys.stderr)
        return 1
    if not (chosen.yes or agreed(restore, moment)):
        return 1
    try:
        restore.begin()
        restore.end()
    except (Refused, BotoCoreError, ClientError, WaiterError) as refusal:
        print(f"Stopped: {refusal}\nThe same call goes on from here.", file=sys.stderr)
        return 1
    named = " ".join(f"{name}TableName={table}" for name, table in restore.targets.items())
    print("The tables in use were not changed. This lets the stack use the new ones; first read")
    print('"Backup and restore" in docs/deploy.md:\n')
    print(f"  make deploy STACK={chosen.stack} PARAMETERS='{named}'")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
