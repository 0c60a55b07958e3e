"""Keystow's domain: everything that the Lambda functions share."""
