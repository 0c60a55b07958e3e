"""Checks a provider's definition, built in or handed in by `PUT /providers/{id}`.

This is the border: pydantic lives here and nowhere else in the catalogue. What comes out is plain
data in the shape that `GET /providers/{id}` answers. Every field is explained in
docs/catalogue.md, and a test fails when one is not.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    model_validator,
)

from keystow.catalog import honoured, hosts, loader, patterns, retry_text, rules, stepwise
from keystow.catalog.field_types import (
    AcceptedStatus,
    AuthMode,
    BodyFormat,
    Category,
    ClientAuth,
    FieldName,
    HeaderName,
    Headers,
    Host,
    Json,
    Link,
    Loose,
    Method,
    Milliseconds,
    Param,
    Params,
    Path,
    Pattern,
    Seconds,
    Template,
    Text,
    Url,
)


class Strict(BaseModel):
    """Unknown keys are refused, types are not bent."""

    model_config = ConfigDict(extra="forbid", strict=True)


class VisibleWhen(Strict):
    """Shows a field only while another one has a value."""

    field: FieldName
    equals: Loose


class InputField(Strict):
    """One input of a form (contract 14.3)."""

    type: Literal["string"] = "string"
    title: Text | None = None
    description: Text | None = None
    example: Loose | None = None
    pattern: Pattern | None = None
    format: Literal["hostname", "uri", "uuid", "email"] | None = None
    enum: list[Loose] | None = None
    order: int | float | None = None
    secret: bool | None = None
    prefix: Loose | None = None
    suffix: Loose | None = None
    optional: bool | None = None
    doc_section: Annotated[str, StringConstraints(pattern=r"^#[a-z0-9-]+$")] | None = None
    automated: bool | None = None
    default_value: Loose | None = None
    hidden: bool | None = None
    warnings: dict[Text, Text] | None = None
    visible_when: VisibleWhen | None = None

    @model_validator(mode="after")
    def _type_is_always_answered(self) -> Self:
        self.__pydantic_fields_set__.add("type")
        return self


Fields = Annotated[dict[FieldName, InputField], BeforeValidator(rules.check_inputs)]


class RetryInBody(Strict):
    """Where an error body says when to try again."""

    path: Path
    strategy: Literal["at", "after"]
    value: Annotated[Template, AfterValidator(retry_text.check)]


class Retry(Strict):
    """How a provider announces its limits."""

    after: list[HeaderName] | None = None
    at: list[HeaderName] | None = None
    remaining: HeaderName | None = None
    error_code: list[Annotated[str, StringConstraints(pattern=r"^[1-5](\d\d|xx)$")]] | None = None
    in_body: RetryInBody | None = None


class Verification(Strict):
    """The call that shows whether typed credentials work; any endpoint that answers 2xx will do.

    So does a status of `accepted_statuses`, which shows that the provider knows the credential. The
    call is made again each day, so it should change nothing.
    """

    method: Literal["GET", "HEAD", "POST"] | None = None
    endpoints: Annotated[list[Template], Field(min_length=1, max_length=10)]
    headers: Headers | None = None
    data: Json = None
    base_url_override: Url | None = None
    accepted_statuses: list[AcceptedStatus] | None = None


class Proxy(Strict):
    """How the provider's API is called (contract 14.2)."""

    base_url: Url
    headers: Headers | None = None
    query: dict[Text, Template] | None = None
    body: Json = None
    connection_config: dict[FieldName, Template] | None = None
    retry: Retry | None = None
    paginate: dict[Text, Json] | None = None
    decompress: bool | None = None
    forward_headers_on_redirect: bool | None = None
    verification: Verification | None = None


class TokenResponse(Strict):
    """Where the answer of a token request (TWO_STEP) holds what."""

    token: Path | None = None
    refresh_token: Path | None = None
    token_expiration: Path | None = None
    token_expiration_strategy: Literal["expireAt", "expireIn"] | None = None


class AdditionalStep(Strict):
    """One more request of TWO_STEP; `${stepN.path}` reads step N's answer."""

    token_url: Url
    token_request_method: Method | None = None
    token_params: dict[Text, Json] | None = None
    token_headers: Headers | None = None
    body_format: BodyFormat | None = None


class Assertion(Strict):
    """A signed assertion (JWT or SAML) sent in a token request."""

    type: Literal["jwt", "saml"]
    key: Template
    issuer: Template | None = None
    lifetimeInSeconds: Seconds | None = None  # noqa: N815 (the contract's name)
    audiences: Template | None = None
    attributes: dict[Text, Param] | None = None
    sessionIndex: Template | None = None  # noqa: N815 (the contract's name)
    nameIdentifier: Template | None = None  # noqa: N815 (the contract's name)
    recipient: Template | None = None
    header: dict[Text, Param] | None = None
    payload: dict[Text, Json] | None = None
    singleUse: bool | None = None  # noqa: N815 (the contract's name)


class Signature(Strict):
    """How a token is signed here."""

    protocol: Literal["WSSE", "RSA", "HMAC", "EC"]
    hmac_secret_encoding: Literal["utf8", "hex", "base64"] | None = None


class SelfSignedToken(Strict):
    """The token that JWT, SIGNATURE and some TWO_STEP providers want signed here."""

    signing_key: Template | None = None
    expires_in_ms: Milliseconds | None = None
    header: dict[Text, Json] | None = None
    payload: dict[Text, Json] | None = None


class ResponsePaths(Strict):
    """Where a token answer departs from RFC 6749 section 5.1."""

    root: Path | None = None
    access_token: Path | None = None
    refresh_token: Path | None = None
    expires_in: Path | None = None
    expires_at: Path | None = None


class TokenRequest(Strict):
    """Where a code exchange or a refresh departs from RFC 6749 sections 4.1.3 and 6."""

    method: Literal["GET", "POST"] | None = None
    params_in: Literal["body", "query"] | None = None
    redirect_uri_in: Literal["body", "query", "both"] | None = None
    body_format: BodyFormat | None = None
    client_auth: ClientAuth | None = None
    basic_username: Template | None = None
    basic_password: Loose | None = None
    client_id_param: Text | None = None
    client_secret_param: Text | None = None
    code_param: Text | None = None
    grant_type: Text | None = None
    omit: list[Text] | None = None
    params: dict[Text, Json] | None = None
    headers: Headers | None = None
    response: ResponsePaths | None = None
    keeps_access_token: bool | None = None
    same_as_exchange: bool | None = None


class Success(Strict):
    """A field that tells success apart in an answer of status 200."""

    path: Path
    equals: str | int | bool


class Introspection(Strict):
    """Asks for a token's remaining life (RFC 7662) where `expires_in` is not given."""

    url: Url
    params: Params | None = None
    active_path: Path = "active"
    exp_path: Path = "exp"


class ValueSource(Strict):
    """Where a config value comes from; the first path that leads somewhere wins."""

    source: Literal["answer", "token_response", "access_token_claims", "credentials", "ok"] = (
        "answer"
    )
    paths: Annotated[list[Path], Field(max_length=5)] = []
    transform: Literal["last_path_segment", "lower", "sha256_hex", "json"] | None = None
    strip_prefix: Text | None = None


class Call(Strict):
    """One call made with a connection's credentials."""

    method: Method = "GET"
    url: Template
    headers: Headers | None = None
    body: Json = None
    body_format: Literal["json", "form"] | None = None
    auth: Literal["connection", "client_basic", "none"] = "connection"
    optional: bool | None = None

    @model_validator(mode="after")
    def _url_is_absolute_or_a_path(self, info: ValidationInfo) -> Self:
        if not self.url.startswith("/"):
            rules.check_url(self.url, info)
        return self


class PostConnectionCall(Call):
    """A call after a connection was made, and what its answer sets."""

    sets: dict[FieldName, Path | ValueSource] | None = None


class PostConnection(Strict):
    """What is learnt about a connection once it is made."""

    calls: Annotated[list[PostConnectionCall], Field(max_length=5)] | None = None
    sets: dict[FieldName, ValueSource] | None = None
    unsets: list[FieldName] | None = None
    hook: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")] | None = None
    options: dict[Text, Json] | None = None
    hook_sets: list[FieldName] | None = None


class ProviderDefinition(Strict):
    """One entry of the catalogue: contract section 14 and the extras of docs/catalogue.md."""

    display_name: Text
    categories: Annotated[list[Category], Field(max_length=10)] | None = None
    auth_mode: AuthMode
    auth_type: Literal["BASIC"] | None = None
    installation: Literal["outbound"] | None = None
    docs: Link | None = None
    docs_connect: Link | None = None
    setup_guide_url: Link | None = None

    authorization_url: Url | None = None
    authorization_params: Params | None = None
    authorization_url_skip_encode: list[Literal["scopes", "base_url"]] | None = None
    authorization_url_skip_empty: bool | None = None
    authorization_url_fragment: Text | None = None
    authorization_url_replacements: dict[Text, Loose] | None = None
    authorization_code_param_in_callback: Text | None = None
    authorization_code_param_in_webhook: Path | None = None
    authorization_method: Literal["header", "body"] | None = None
    token_url: Url | dict[AuthMode, Url] | None = None
    token_url_skip_encode: list[Literal["base_url"]] | None = None
    token_params: dict[Text, Json] | None = None
    token_headers: Headers | None = None
    token_request_auth_method: Literal["basic", "custom", "private_key_jwt"] | None = None
    token_request_method: Literal["GET", "POST"] | None = None
    body_format: BodyFormat | None = None
    refresh_params: Params | None = None
    refresh_url: Url | None = None
    refresh_token_params: dict[Text, Json] | None = None
    refresh_token_headers: Headers | None = None
    default_scopes: list[Text] | None = None
    scope_separator: Annotated[str, StringConstraints(min_length=1, max_length=3)] | None = None
    disable_pkce: bool | None = None
    alternate_access_token_response_path: Path | None = None
    token_expiration_buffer: Seconds | None = None
    expires_in_unit: Literal["milliseconds"] | None = None
    require_client_certificate: bool | None = None
    redirect_uri_metadata: list[Path] | None = None
    token_response_metadata: list[Path] | None = None
    refresh_token_response_metadata: list[Path] | None = None
    webhook_response_metadata: list[Path] | None = None

    request_url: Url | None = None
    request_params: Params | None = None
    request_http_method: Literal["GET", "POST"] | None = None
    token_http_method: Literal["GET", "POST"] | None = None
    signature_method: Literal["HMAC-SHA1", "HMAC-SHA256", "RSA-SHA1", "PLAINTEXT"] | None = None

    token_response: TokenResponse | None = None
    token_response_headers: list[HeaderName] | None = None
    token_expires_in_ms: Milliseconds | None = None
    additional_steps: Annotated[list[AdditionalStep], Field(max_length=5)] | None = None
    assertion: Assertion | None = None
    signature: Signature | None = None
    token: SelfSignedToken | None = None

    client_registration: Literal["dynamic", "static", "cimd"] | None = None
    registration_url: Url | None = None
    registration_params: dict[Text, Json] | None = None

    proxy: Proxy | None = None
    connection_config: Fields | None = None
    credentials: Fields | None = None
    integration_config: Fields | None = None
    assertion_option: Fields | None = None

    post_connection_script: Text | None = None
    pre_connection_deletion_script: Text | None = None
    credentials_verification_script: Text | None = None
    webhook_routing_script: Loose | None = None
    webhook_user_defined_secret: bool | None = None
    webhook_allowed_query_params: list[Text] | None = None
    connection_configuration: list[Text] | None = None
    auth: dict[Text, Json] | None = None
    decode_url: bool | None = None

    # Beyond the contract: what other implementations hide in code, as data.
    client_per_connection: bool | None = None
    host_replacements: Annotated[dict[Host, Host], Field(max_length=20)] | None = None
    issuer: Url | None = None
    issuer_required: bool | None = None  # RFC 9207: the server announces that it always sends iss
    revocation_url: Url | None = None
    revocation_auth: Literal["body", "basic", "none"] | None = None
    device_authorization_url: Url | None = None
    pkce_off_reason: Text | None = None
    use_refresh_url: bool | None = None
    token_exchange: TokenRequest | None = None
    token_refresh: TokenRequest | None = None
    token_success: Success | None = None
    token_error_path: Path | None = None
    introspection: Introspection | None = None
    default_expires_in: Seconds | None = None
    no_refresh_token: bool | None = None
    refresh_token_override: bool | None = None  # a browser may bring one, with its own client
    refresh_token_life_days: Annotated[int, Field(ge=1, le=3_650)] | None = None
    dual_tokens: bool | None = None
    post_connection: PostConnection | None = None
    account: Annotated[list[Path], Field(min_length=1, max_length=5)] | None = None
    on_disconnect: Call | None = None
    corroborated: bool | None = None
    sources: list[Text] | None = None

    @model_validator(mode="after")
    def _fields_agree(self, info: ValidationInfo) -> Self:
        definition = self.model_dump(exclude_none=True)
        rules.check_auth_mode(definition)
        rules.check_placeholders(definition)
        rules.check_callback_values(definition)
        hosts.check(definition)
        rules.check_client_per_connection(definition)
        rules.check_authorization_params(definition)
        rules.check_protocol_params(definition)
        rules.check_signature(definition)
        rules.check_hooks(definition)
        rules.check_account(definition)
        honoured.check_honoured(definition)
        stepwise.check(definition)
        if (info.context or {}).get("builtin"):
            rules.check_built_in(definition)
        return self


def validate_definition(
    id: str,  # noqa: A002 (the field's own word)
    body: Any,
    *,
    builtin: bool,
    allow_http_loopback: bool = False,
) -> dict[str, Any]:
    """Checks a definition and gives it back in the shape of `GET /providers/{id}`.

    The result lacks `name` and `logo_url`, which are added where it is answered. `name` may be
    given and must equal `id`; `logo_url` is ignored; `alias` takes over a built-in entry's fields.

    Args:
        id: the provider's key.
        body: decoded JSON, of any type.
        builtin: True for entries of the catalogue itself, which must also say where their facts
            come from and why PKCE is off.
        allow_http_loopback: also takes `http://127.0.0.1` and `http://localhost` (the local
            stack, never a deployed one).

    Raises:
        pydantic.ValidationError: the definition is not acceptable; its errors name the fields.
    """
    context = {
        "builtin": builtin,
        "allow_http_loopback": allow_http_loopback,
        "effort": patterns.Effort(),
    }
    prepared = _Envelope.model_validate({"id": id, "body": body}, context=context).body
    definition = ProviderDefinition.model_validate(prepared, context=context)
    return definition.model_dump(exclude_unset=True, exclude_none=True)


class _Envelope(BaseModel):
    """What is checked before a definition's own fields: id, name, size, alias."""

    model_config = ConfigDict(strict=True)

    id: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,100}$")]
    body: Annotated[dict[str, Any], AfterValidator(rules.check_size)]

    @model_validator(mode="after")
    def _prepare(self) -> Self:
        if self.body.get("name", self.id) != self.id:
            raise ValueError("name must equal the provider's id")
        fields = {key: value for key, value in self.body.items() if key not in ("name", "logo_url")}
        if "alias" in fields:
            alias = fields["alias"]
            base = loader.built_in(alias) if isinstance(alias, str) else None
            if base is None:
                raise ValueError("alias must name a built-in provider")
            fields = {**base.definition, **fields}
        prepared = {key: value for key, value in fields.items() if key != "alias"}
        if prepared.get("auth_mode") == "API_KEY" and not prepared.get("credentials"):
            prepared["credentials"] = {
                "apiKey": {"type": "string", "title": "API key", "secret": True}
            }
        self.body = prepared
        return self
