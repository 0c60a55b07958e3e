"""The demo: a stand-in for a customer's application, and the provider it connects to."""

from local.demo.app import create_app
from local.demo.registration import Stack, register

__all__ = ["Stack", "create_app", "register"]
