"""Asking a site: what is tried again, how long is waited, and what the error says."""

from __future__ import annotations

import email.utils
import time

import pytest
from faulty_site import FaultySite, File, Handler, reset, status

from openpay_assets.cms.http import Http, Patience, SiteError, TransientError, _retry_after


@pytest.mark.parametrize(
    "fault", [status(403), status(429), status(500), status(503), status(200), reset]
)
def test_what_may_pass_is_tried_again(site: FaultySite, http: Http, fault: object) -> None:
    site.answer("/api", {"fine": True})
    site.faults += [fault, fault]  # type: ignore[list-item]
    assert http.json(f"{site.url}/api") == {"fine": True}
    assert site.asked["/api"] == 3


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (status(403), "status 403 Forbidden"),
        (status(429), "status 429"),
        (status(200), "answer is not JSON: '<html>no</html>'"),
        (reset, "RemoteProtocolError"),
    ],
)
def test_what_does_not_pass_is_an_error_with_url_cause_and_attempts(
    site: FaultySite, http: Http, fault: object, said: str
) -> None:
    site.faults += [fault] * 9  # type: ignore[list-item]
    with pytest.raises(SiteError) as failed:
        http.json(f"{site.url}/api")
    assert str(failed.value).startswith(f"{site.url}/api: {said}")
    assert "Gave up after 3 attempts" in str(failed.value)


def test_a_stalled_site_is_given_up(site: FaultySite) -> None:
    def stall(handler: Handler, _: File) -> bool:
        time.sleep(0.3)
        return True

    site.always = stall
    with pytest.raises(SiteError, match="ReadTimeout"):
        Http(Patience(timeout=0.1, attempts=2, first_wait=0)).json(f"{site.url}/api")


def test_a_site_that_is_not_there_is_an_error(http: Http) -> None:
    with pytest.raises(SiteError, match=r"ConnectError.*3 attempts"):
        http.json("http://127.0.0.1:9/api")


def test_a_wrong_question_is_not_asked_again(site: FaultySite, http: Http) -> None:
    site.faults.append(status(400))
    with pytest.raises(SiteError, match="status 400"):
        http.json(f"{site.url}/api")
    assert site.asked["/api"] == 1


def test_what_is_no_web_address_is_an_error(http: Http) -> None:
    with pytest.raises(SiteError, match="cannot be asked for"):
        http.json("gopher://127.0.0.1/api")


def test_retry_after_is_waited_for_up_to_the_longest_wait() -> None:
    waits: list[float] = []

    class Event:
        def wait(self, timeout: float) -> None:
            waits.append(timeout)

    def ask() -> None:
        raise TransientError("busy", retry_after=7 if not waits else 1000)

    patient = Http(Patience(attempts=3, first_wait=0, longest_wait=20))
    with pytest.raises(SiteError, match="busy"):
        patient.retry("http://site", ask, Event())  # type: ignore[arg-type]
    assert waits == [7, 20]


def test_waits_grow() -> None:
    waits: list[float] = []

    class Event:
        def wait(self, timeout: float) -> None:
            waits.append(timeout)

    def ask() -> None:
        raise TransientError("busy")

    with pytest.raises(SiteError):
        Http(Patience(attempts=4, first_wait=1)).retry("http://site", ask, Event())  # type: ignore[arg-type]
    for wait, least in zip(waits, (1, 2, 4), strict=True):
        assert least <= wait <= least + 1


def test_no_wait_begins_that_ends_after_patience(site: FaultySite) -> None:
    site.faults += [status(429, Retry_After="60")] * 5
    with pytest.raises(SiteError, match="Gave up after 1 attempt in 0 s"):
        Http(Patience(give_up_after=5)).json(f"{site.url}/api")


def test_retry_after_is_read_in_seconds_and_as_a_date() -> None:
    assert _retry_after("12") == 12
    assert 50 < _retry_after(email.utils.formatdate(time.time() + 60, usegmt=True)) <= 60
    assert _retry_after(email.utils.formatdate(0, usegmt=True)) == 0
    assert _retry_after("soon") == _retry_after("") == 0


def test_bodies_go_through_the_proxy_of_the_environment(
    site: FaultySite, http: Http, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", site.url)
    monkeypatch.setenv("no_proxy", "")
    # The proxy is asked for the whole address; this one answers as the site it is.
    site.put("/file", b"x")
    with http.body("http://cms.example/file", {}) as response:
        assert response.read() == b"x"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.body(f"{site.url}/file", {}) as response:
        assert response.read() == b"x"
