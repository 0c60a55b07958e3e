"""The body of ``POST /incidents``."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import StringConstraints, model_validator

from keystow.validation import Body, ProviderConfigKey, issue_error


class IncidentBody(Body):
    """What is to be revoked, one of three; and why, for whoever reads it later."""

    environment: Literal[True] | None = None
    provider_config_key: ProviderConfigKey | None = None
    end_user_id: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = None
    reason: Annotated[str, StringConstraints(min_length=1, max_length=500)]

    @model_validator(mode="after")
    def _one_scope(self) -> Self:
        given = (self.environment, self.provider_config_key, self.end_user_id)
        if sum(each is not None for each in given) != 1:
            message = "name one of environment (true), provider_config_key and end_user_id"
            raise issue_error("custom", message)
        return self
