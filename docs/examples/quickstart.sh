#!/usr/bin/env bash
# Stores a credential that you already have, and reads it back.
set -euo pipefail

stack() {
  python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' \
    "${KEYSTOW_STACK:-.local/stack.json}" "$1"
}
API=$(stack api_url)
KEY=$(stack secret_key)

call() {
  curl --silent --show-error --fail-with-body \
    -H "Authorization: Bearer $KEY" -H 'Content-Type: application/json' "$@"
  echo
}

# demo-key-ada-0001 is a key of the demo provider; it is tried there before it is stored.
call -X POST "$API/connections" -d '{
  "provider_config_key": "demo-api-key",
  "connection_id": "first",
  "end_user": {"id": "user-1", "email": "ada@example.com"},
  "credentials": {"type": "API_KEY", "apiKey": "demo-key-ada-0001"}
}'

call "$API/connections/first?provider_config_key=demo-api-key"
