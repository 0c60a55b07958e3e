"""The types that fields of a definition have: vocabularies, checked strings, checked JSON."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from keystow.catalog import rules

AuthMode = Literal[
    "OAUTH2",
    "OAUTH1",
    "OAUTH2_CC",
    "BASIC",
    "API_KEY",
    "APP",
    "CUSTOM",
    "NONE",
    "TBA",
    "JWT",
    "BILL",
    "TWO_STEP",
    "SIGNATURE",
    "MCP_OAUTH2",
    "MCP_OAUTH2_GENERIC",
    "INSTALL_PLUGIN",
    "AWS_SIGV4",
]
Category = Literal[
    "accounting",
    "analytics",
    "ats",
    "banking",
    "cms",
    "communication",
    "crm",
    "design",
    "dev-tools",
    "e-commerce",
    "erp",
    "gaming",
    "hr",
    "iam",
    "invoicing",
    "knowledge-base",
    "legal",
    "marketing",
    "mcp",
    "other",
    "payment",
    "popular",
    "productivity",
    "search",
    "social",
    "sports",
    "storage",
    "support",
    "surveys",
    "ticketing",
    "video",
]

Text = Annotated[str, StringConstraints(min_length=1, max_length=2_000)]
Template = Annotated[str, StringConstraints(min_length=1, max_length=4_000)]
Loose = Annotated[str, StringConstraints(max_length=4_000)]
Url = Annotated[Template, AfterValidator(rules.check_url)]
Link = Annotated[Template, AfterValidator(rules.check_link)]
Path = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Pattern = Annotated[str, StringConstraints(max_length=1_000), AfterValidator(rules.check_pattern)]
Json = Annotated[Any, AfterValidator(rules.check_json)]
HeaderName = Annotated[
    str,
    BeforeValidator(lambda name: name.lower() if isinstance(name, str) else name),
    StringConstraints(pattern=r"^[a-z0-9!#$%&'*+.^_`|~-]{1,100}$"),
]
HeaderValue = Annotated[
    str, StringConstraints(max_length=4_000), AfterValidator(rules.check_header)
]
Headers = dict[HeaderName, HeaderValue]
Param = str | int | float | bool
Params = dict[Text, Param]
Host = Annotated[str, StringConstraints(max_length=253), AfterValidator(rules.check_host)]
# Not among them: 400 and 401, with which keys are refused, and what says nothing about a key.
AcceptedStatus = Literal[402, 403, 404, 405, 409, 422]
FieldName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,100}$")]
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
BodyFormat = Literal["form", "json", "query", "xml"]
Seconds = Annotated[int, Field(ge=0, le=10 * 365 * 86_400)]
Milliseconds = Annotated[int, Field(ge=0, le=10 * 365 * 86_400_000)]
ClientAuth = Literal["body", "basic", "custom", "private_key_jwt", "none"]
