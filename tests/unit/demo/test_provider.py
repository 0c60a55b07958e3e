"""The demo provider: PKCE, rotation, reuse detection, hashed storage, faults."""

import base64
import hashlib
import json
import re
import stat
import threading
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from local.demo.provider import Faults, create_provider, start

BASE = "http://127.0.0.1:4599"
BACK = "http://127.0.0.1:4500/oauth/callback"
VERIFIER = "v" * 64
CHALLENGE = (
    base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
)


class Visitor:
    """A registered client and the person who approves, over Flask's test client."""

    def __init__(self, state_dir, **options):
        self.state_dir = state_dir
        self.app = create_provider(state_dir, base_url=BASE, **options)
        self.http = self.app.test_client()
        answer = self.post("/register", json={"redirect_uris": [BACK], "client_name": "Shop"})
        self.client_id = answer.json["client_id"]
        self.secret = answer.json["client_secret"]

    def get(self, path, **options):
        return self.http.get(path, base_url=BASE, **options)

    def post(self, path, **options):
        return self.http.post(path, base_url=BASE, **options)

    def question(self, **changes):
        query = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": BACK,
            "scope": "profile",
            "state": "xyz",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            **changes,
        }
        return {name: value for name, value in query.items() if value is not None}

    def approve(self, account="ada", answer="approve", **changes):
        response = self.post(
            "/authorize",
            query_string=self.question(**changes),
            data={"account": account, "answer": answer},
        )
        assert response.status_code == 302, response.text
        return {k: v[0] for k, v in parse_qs(urlsplit(response.location).query).items()}

    def token(self, auth="basic", **form):
        headers = {}
        if auth == "basic":
            pair = base64.b64encode(f"{self.client_id}:{self.secret}".encode()).decode()
            headers["Authorization"] = f"Basic {pair}"
        elif auth == "post":
            form |= {"client_id": self.client_id, "client_secret": self.secret}
        return self.post("/token", data=form, headers=headers)

    def exchange(self, code, **changes):
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": BACK,
            "code_verifier": VERIFIER,
            **changes,
        }
        return self.token(**{name: value for name, value in form.items() if value is not None})

    def connect(self):
        return self.exchange(self.approve()["code"]).json

    def refresh(self, refresh_token, **changes):
        return self.token(grant_type="refresh_token", refresh_token=refresh_token, **changes)

    def me(self, access_token):
        return self.get("/api/me", headers={"Authorization": f"Bearer {access_token}"})

    def log(self):
        return self.get("/log").json["entries"]

    def close(self):
        self.app.extensions["demo_store"].close()


@pytest.fixture
def visitor(tmp_path):
    found = Visitor(tmp_path / "provider")
    yield found
    found.close()


def test_an_approved_account_gets_a_working_token_that_lives_two_minutes(visitor):
    token = visitor.connect()
    assert token["expires_in"] == 120
    assert token["token_type"] == "Bearer"
    assert visitor.me(token["access_token"]).json["email"] == "ada@demo.example"


def test_the_answer_to_the_browser_names_the_issuer_and_keeps_the_state(visitor):
    answer = visitor.approve()
    assert answer["iss"] == BASE
    assert answer["state"] == "xyz"


def test_a_denied_request_says_so_and_names_the_issuer(visitor):
    answer = visitor.approve(answer="deny")
    assert answer["error"] == "access_denied"
    assert answer["iss"] == BASE
    assert "code" not in answer


@pytest.mark.parametrize(
    "change",
    [
        {"code_challenge": None},
        {"code_challenge": None, "code_challenge_method": None},
        {"code_challenge_method": "plain"},
        {"code_challenge_method": None},
    ],
)
def test_pkce_with_s256_is_required(visitor, change):
    assert visitor.approve(**change)["error"] == "invalid_request"


def test_a_wrong_verifier_is_refused(visitor):
    answer = visitor.exchange(visitor.approve()["code"], code_verifier="w" * 64)
    assert (answer.status_code, answer.json["error"]) == (400, "invalid_grant")


def test_a_missing_verifier_is_refused(visitor):
    assert visitor.exchange(visitor.approve()["code"], code_verifier=None).status_code == 400


def test_an_unknown_redirect_uri_is_shown_to_the_person_and_not_followed(visitor):
    answer = visitor.get(
        "/authorize", query_string=visitor.question(redirect_uri="http://127.0.0.1:1/evil")
    )
    assert answer.status_code == 400
    assert "Location" not in answer.headers


def test_a_consent_form_sent_from_another_site_is_refused(visitor):
    answer = visitor.post(
        "/authorize",
        query_string=visitor.question(),
        data={"account": "ada", "answer": "approve"},
        headers={"Origin": "http://127.0.0.1:6666"},
    )
    assert answer.status_code == 403


def test_the_client_may_authenticate_in_the_header_or_in_the_body(visitor):
    first = visitor.connect()
    second = visitor.refresh(first["refresh_token"], auth="post")
    assert second.status_code == 200
    assert visitor.refresh(second.json["refresh_token"], auth="basic").status_code == 200


def test_a_client_without_its_secret_is_refused(visitor):
    token = visitor.connect()
    visitor.secret = "guess"
    assert visitor.refresh(token["refresh_token"]).json["error"] == "invalid_client"
    assert visitor.refresh(token["refresh_token"], auth="none").status_code in {400, 401}


def test_each_refresh_gives_a_new_pair(visitor):
    first = visitor.connect()
    second = visitor.refresh(first["refresh_token"]).json
    assert second["refresh_token"] != first["refresh_token"]
    assert second["access_token"] != first["access_token"]
    assert visitor.me(second["access_token"]).status_code == 200


def test_an_old_refresh_token_that_comes_back_revokes_the_whole_family(visitor):
    first = visitor.connect()
    second = visitor.refresh(first["refresh_token"]).json
    assert visitor.refresh(first["refresh_token"]).json["error"] == "invalid_grant"
    assert visitor.refresh(second["refresh_token"]).json["error"] == "invalid_grant"
    assert visitor.me(second["access_token"]).status_code == 401


def test_reuse_in_one_family_leaves_another_alone(visitor):
    stolen, other = visitor.connect(), visitor.connect()
    visitor.refresh(stolen["refresh_token"])
    visitor.refresh(stolen["refresh_token"])
    assert visitor.refresh(other["refresh_token"]).status_code == 200


def test_a_code_used_twice_ends_the_tokens_it_gave(visitor):
    code = visitor.approve()["code"]
    token = visitor.exchange(code).json
    assert visitor.exchange(code).json["error"] == "invalid_grant"
    assert visitor.me(token["access_token"]).status_code == 401


def test_without_rotation_the_refresh_token_stays(tmp_path):
    visitor = Visitor(tmp_path, rotate=False)
    token = visitor.connect()
    for _ in range(2):
        answer = visitor.refresh(token["refresh_token"]).json
        assert "refresh_token" not in answer
    visitor.close()


def test_a_revoked_token_works_no_longer(visitor):
    token = visitor.connect()
    pair = base64.b64encode(f"{visitor.client_id}:{visitor.secret}".encode()).decode()
    answer = visitor.post(
        "/revoke",
        data={"token": token["refresh_token"]},
        headers={"Authorization": f"Basic {pair}"},
    )
    assert answer.status_code == 200
    assert visitor.me(token["access_token"]).status_code == 401
    assert visitor.refresh(token["refresh_token"]).json["error"] == "invalid_grant"


def test_an_expired_access_token_is_refused(tmp_path):
    visitor = Visitor(tmp_path, access_life_s=0)
    assert visitor.me(visitor.connect()["access_token"]).status_code == 401
    visitor.close()


def test_the_metadata_describes_the_server(visitor):
    told = visitor.get("/.well-known/oauth-authorization-server").json
    assert told["issuer"] == BASE
    assert told["code_challenge_methods_supported"] == ["S256"]
    assert told["authorization_response_iss_parameter_supported"] is True


def test_no_secret_lies_readable_in_the_state_folder(visitor):
    code = visitor.approve()["code"]
    token = visitor.exchange(code).json
    second = visitor.refresh(token["refresh_token"]).json
    visitor.close()
    kept = b"".join(path.read_bytes() for path in visitor.state_dir.iterdir())
    assert visitor.client_id.encode() in kept  # the search does see what is there
    for secret in (
        code,
        visitor.secret,
        token["access_token"],
        token["refresh_token"],
        second["refresh_token"],
    ):
        assert secret.encode() not in kept


def test_only_its_owner_can_open_the_state_folder(visitor):
    assert stat.S_IMODE(visitor.state_dir.stat().st_mode) == 0o700
    for path in visitor.state_dir.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def test_tokens_and_log_survive_a_restart(visitor):
    token = visitor.connect()
    visitor.close()
    again = Visitor(visitor.state_dir)
    assert again.me(token["access_token"]).status_code == 200
    assert [entry["grant_type"] for entry in again.log()] == ["authorization_code"]
    again.close()


def test_the_log_counts_requests_and_never_shows_a_token(visitor):
    token = visitor.connect()
    second = visitor.refresh(token["refresh_token"]).json
    visitor.refresh(token["refresh_token"])
    entries = visitor.log()
    assert [(entry["grant_type"], entry["outcome"]) for entry in entries] == [
        ("authorization_code", "ok"),
        ("refresh_token", "ok"),
        ("refresh_token", "invalid_grant"),
    ]
    assert len({entry["family"] for entry in entries}) == 1
    assert all(entry["ended"] >= entry["time"] for entry in entries)
    told = json.dumps(entries)
    for secret in (token["access_token"], token["refresh_token"], second["access_token"]):
        assert secret not in told
    assert visitor.get("/log?after=2").json["entries"] == entries[2:]


def test_api_keys_open_their_own_account_only(visitor):
    right = visitor.get("/api/keys/me", headers={"X-Api-Key": "demo-key-grace-0002"})
    assert right.json["id"] == "grace"
    assert visitor.get("/api/keys/me", headers={"X-Api-Key": "nope"}).status_code == 401
    assert visitor.get("/api/keys/me").status_code == 401
    assert visitor.get("/api/keys/me", auth=("x", "demo-key-ada-0001")).json["id"] == "ada"


def test_both_keys_stand_on_its_page(visitor):
    page = visitor.get("/").text
    assert "demo-key-ada-0001" in page
    assert "demo-key-grace-0002" in page


def test_the_consent_page_lets_the_form_lead_to_the_client_and_nowhere_else(visitor):
    page = visitor.get("/authorize", query_string=visitor.question())
    assert "Shop asks for access" in page.text
    policy = page.headers["Content-Security-Policy"]
    assert re.search(r"form-action 'self' http://127\.0\.0\.1:4500$", policy)
    assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize("path", ["/faults", "/log", "/register"])
def test_pages_for_tests_are_for_this_machine_only(visitor, path):
    method = "GET" if path == "/log" else "POST"
    for options in (
        {"environ_overrides": {"REMOTE_ADDR": "192.0.2.7"}},
        {"headers": {"Origin": "https://elsewhere.example"}},
        {"headers": {"Sec-Fetch-Site": "cross-site"}},
    ):
        answer = visitor.http.open(path, method=method, base_url=BASE, json={}, **options)
        assert answer.status_code == 403


def test_a_rebound_host_name_is_refused(visitor):
    assert visitor.http.get("/log", base_url="http://evil.example").status_code == 421


def test_an_unknown_fault_is_named(visitor):
    answer = visitor.post("/faults", json={"meteor": 1})
    assert answer.status_code == 400
    assert "meteor" in answer.json["error"]


@pytest.mark.parametrize(
    ("fault", "status", "check"),
    [
        ({"status": 503, "retry_after": 7}, 503, lambda a: a.headers["Retry-After"] == "7"),
        ({"invalid_grant": True}, 400, lambda a: a.json == {"error": "invalid_grant"}),
        ({"not_json": True}, 200, lambda a: a.get_json(silent=True) is None),
        ({"no_expires_in": True}, 200, lambda a: "expires_in" not in a.json),
        ({"expires_in": "60"}, 200, lambda a: a.json["expires_in"] == "60"),
        ({"no_refresh_token": True}, 200, lambda a: "refresh_token" not in a.json),
        ({"empty_refresh_token": True}, 200, lambda a: a.json["refresh_token"] == ""),
        ({"redirect": True}, 302, lambda a: a.location == "/api/me"),
        ({"status_after_rotation": 500}, 500, lambda a: "access_token" not in a.json),
    ],
)
def test_a_fault_does_what_its_name_says_until_reset(visitor, fault, status, check):
    token = visitor.connect()
    visitor.post("/faults", json=fault)
    answer = visitor.refresh(token["refresh_token"])
    assert answer.status_code == status
    assert check(answer)
    assert visitor.post("/faults", json={"reset": True}).json["status"] == Faults().status
    assert visitor.connect()["expires_in"] == 120


def test_an_error_before_rotation_burns_nothing_and_after_it_does(visitor):
    token = visitor.connect()
    visitor.post("/faults", json={"status": 500, "remaining": 1})
    assert visitor.refresh(token["refresh_token"]).status_code == 500
    visitor.post("/faults", json={"reset": True, "status_after_rotation": 500, "remaining": 1})
    assert visitor.refresh(token["refresh_token"]).status_code == 500
    assert visitor.refresh(token["refresh_token"]).json["error"] == "invalid_grant"


def test_faults_can_be_kept_to_one_grant(visitor):
    visitor.post("/faults", json={"status": 503, "grant_type": "refresh_token"})
    token = visitor.connect()
    assert visitor.refresh(token["refresh_token"]).status_code == 503


@pytest.fixture
def running(tmp_path):
    provider = start(0, tmp_path / "running")
    yield provider
    provider.stop()


def _connected(http, url):
    client = http.post("/register", json={"redirect_uris": [BACK]}).json()
    auth = (client["client_id"], client["client_secret"])
    answer = http.post(
        "/authorize",
        params={
            "response_type": "code",
            "client_id": auth[0],
            "redirect_uri": BACK,
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        },
        data={"account": "ada", "answer": "approve"},
    )
    code = parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": BACK,
        "code_verifier": VERIFIER,
    }
    return auth, http.post("/token", data=form, auth=auth).json()


def test_a_dropped_answer_has_rotated_the_token(running):
    with httpx.Client(base_url=running.url, trust_env=False) as http:
        auth, token = _connected(http, running.url)
        form = {"grant_type": "refresh_token", "refresh_token": token["refresh_token"]}
        http.post("/faults", json={"drop_after_rotation": 1})
        with pytest.raises(httpx.TransportError):
            http.post("/token", data=form, auth=auth)
        assert http.get("/log").json()["entries"][-1]["outcome"] == "dropped"
        assert http.post("/token", data=form, auth=auth).json() == {"error": "invalid_grant"}


def test_fifty_refreshes_at_once_let_exactly_one_through(running):
    with httpx.Client(base_url=running.url, trust_env=False) as http:
        auth, token = _connected(http, running.url)
        form = {"grant_type": "refresh_token", "refresh_token": token["refresh_token"]}
        seen = []

        def ask():
            seen.append(http.post("/token", data=form, auth=auth).status_code)

        threads = [threading.Thread(target=ask) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(seen) == [200] + [400] * 49


def test_the_page_leaves_out_the_question_whether_a_client_is_still_known(visitor):
    secret = {"client_id": visitor.client_id, "client_secret": visitor.secret}
    assert visitor.post("/revoke", data={"token": "none", **secret}).status_code == 200
    assert "<td>revocation</td>" not in visitor.get("/").text
    entry = visitor.app.extensions["demo_store"].begin_entry("revocation")
    visitor.app.extensions["demo_store"].note(entry, outcome="ok", family="f")
    assert "<td>revocation</td>" in visitor.get("/").text
