"""The checks, in the order of the table; docs/aws.md explains each."""

from __future__ import annotations

from typing import Final

from verify_aws import doors, rights, storage, watching, workings
from verify_aws.findings import Check

_IAM: Final = "an emulator decides nothing as IAM does"
_LOGS: Final = "no emulator writes log lines as Lambda does"
_ROUTES: Final = "the emulator makes no routes of the template"
_ROWS: Final = "an emulator's own clock ends rows, and counts none"

CHECKS: Final = (
    Check("stack", watching.stack_stands),
    Check("stack's end", storage.stack_is_kept),
    Check("API", doors.api_answers),
    Check("CORS", doors.pages_may_call),
    Check("large bodies", doors.large_bodies_are_refused),
    Check("foreign hosts", doors.foreign_hosts_count_nothing),
    Check("WebSocket", doors.socket_greets),
    Check("routes", doors.routes_fit, _ROUTES),
    Check("domain", doors.own_address_is_the_only_one),
    Check("front door", doors.front_door_leads_here),
    Check("functions", workings.functions_fit),
    Check("versions", workings.functions_start_beforehand, _ROUTES),
    Check("network", workings.network_is_as_chosen),
    Check("queues", workings.queues_are_emptied),
    Check("schedules", workings.rules_run),
    Check("alarms", watching.alarms_are_quiet),
    Check("tables", storage.tables_are_kept),
    Check("rows that end", storage.rows_end, _ROWS),
    Check("KMS key", storage.key_is_usable),
    Check("roles", workings.roles_are_as_chosen),
    Check("KMS rights", rights.kms_takes_a_context, _IAM),
    Check("purposes", rights.purposes_are_apart, _IAM),
    Check("writers of keys", rights.keys_have_two_writers, _IAM),
    Check("retention", watching.logs_end),
    Check("log line", watching.a_line_is_as_it_should_be, _LOGS),
    Check("secrets in logs", watching.nothing_secret_is_logged, _LOGS),
    Check("Lambda's lines", watching.lambda_is_silent, _LOGS),
    Check("refusals", watching.nothing_was_refused, _LOGS),
)
