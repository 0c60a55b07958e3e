"""Errors of the catalogue; none of their messages carries a value that was filled in."""


class CatalogueError(Exception):
    """A built-in entry is missing or broken."""


class InterpolationError(CatalogueError):
    """A template could not be filled in.

    Attributes:
        reason: `missing_parameters`, `invalid_url`, `unsafe_value` or `function_failed`.
        template: the template as it stands in the catalogue, never a filled-in value.
    """

    def __init__(self, reason: str, message: str, template: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.template = template
