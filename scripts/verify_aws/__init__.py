"""Looks at a deployed stack: what is as it should be, what is not, and what nobody saw.

usage: PYTHONPATH=scripts python -m verify_aws [STACK]

It only reads, but for a few requests that anybody may send: docs/aws.md names them, and what IAM
must allow. The modules lie by what they look at; `checks.py` has the list.
"""
