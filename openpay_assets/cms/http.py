"""Asking a CMS site over HTTP: timeouts, retries that back off, and errors that name the URL.

The site throttles (403, 429), fails (5xx), stalls and resets connections; each of these is worth
another attempt. What stays wrong ends in a ``SiteError`` that says what was asked, what came
back and how often it was tried.
"""

from __future__ import annotations

import email.utils
import threading
import time
import urllib.request
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import openpay_assets

if TYPE_CHECKING:
    import ssl

    import httpx
    import urllib3
    from tenacity import RetryCallState

USER_AGENT = (
    f"openpay/{openpay_assets.__version__} (keeps CMS Open Payments releases; python-httpx)"
)
READ = 256 * 1024
"""Bytes read of a body at once: few enough to stay in the processor's cache until written."""
MISSING = frozenset({404, 410})
THROTTLED = frozenset({403, 408, 425, 429})
"""Statuses that a moment later may be another; so are all of 500 and above. CMS's content
delivery network answers 403 when it is asked too often."""

T = TypeVar("T")


class SiteError(RuntimeError):
    """A site did not give what it was asked for; the message names URL, answer and attempts."""


class NotPublishedError(SiteError):
    """A site says that there is no such file (404 or 410)."""


class TransientError(Exception):
    """An answer, or the lack of one, that is worth another attempt."""

    def __init__(self, reason: str, retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


@dataclass(frozen=True)
class Patience:
    """How long to wait for a site, in seconds, and how often to ask it."""

    timeout: float = 30.0
    """Without a connection or a byte for so long, a request counts as stalled."""
    attempts: int = 6
    first_wait: float = 1.0
    """Doubled with each attempt, with as much jitter."""
    longest_wait: float = 120.0
    """Also what is left of a longer Retry-After."""
    give_up_after: float = 900.0
    """No wait begins that would end later than this, counted from the first attempt."""


@dataclass(frozen=True)
class Http:
    """A client for one site; threads may share it. Its connections end with it."""

    patience: Patience = field(default_factory=Patience)
    connections: int = 8

    @cached_property
    def client(self) -> httpx.Client:
        """The connections, opened on first use."""
        import httpx

        client = httpx.Client(
            headers={"User-Agent": USER_AGENT},
            timeout=self.patience.timeout,
            verify=self._certificates,
            follow_redirects=True,
            limits=httpx.Limits(
                max_connections=self.connections + 1, max_keepalive_connections=self.connections + 1
            ),
        )
        weakref.finalize(self, client.close)
        return client

    @cached_property
    def _certificates(self) -> ssl.SSLContext:
        import httpx

        return httpx.create_ssl_context()

    @cached_property
    def _pools(self) -> dict[tuple[str, str], urllib3.PoolManager]:
        """Connections for bodies, by scheme and proxy."""
        return {}

    def json(self, url: str, params: Mapping[str, str | int] | None = None) -> Any:
        """Return a JSON answer.

        Raises ``NotPublishedError`` on 404 and ``SiteError`` when no attempt brought JSON.
        """

        def ask() -> Any:
            response = self._get(url, params)
            try:
                return response.json()
            except ValueError as error:
                # A gateway's error page comes with status 200 as well.
                raise TransientError(f"answer is not JSON: {response.text[:80]!r}") from error

        return self.retry(url, ask)

    def _get(self, url: str, params: Mapping[str, str | int] | None) -> httpx.Response:
        """Return one answer, read to its end, tried once."""
        import httpx

        try:
            response = self.client.get(url, params=params)
        except (httpx.UnsupportedProtocol, httpx.TooManyRedirects, httpx.InvalidURL) as error:
            raise SiteError(f"{url} cannot be asked for: {error}") from error
        except httpx.HTTPError as error:
            raise TransientError(f"{type(error).__name__}: {error}") from error
        if not response.is_success:
            _refuse(url, response.status_code, response.reason_phrase, response.headers)
        return response

    @contextmanager
    def body(self, url: str, headers: Mapping[str, str]) -> Iterator[urllib3.BaseHTTPResponse]:
        """Open the body of a large file, tried once, for ``read(READ)``: 2xx, 3xx or 416.

        Through urllib3: what httpx does per read holds the interpreter, and eight connections over
        loopback then bring less than half of curl's bytes; with this more (tests/bench/download.py).
        A body that is read to its end leaves its connection open for the next one.
        Raises ``TransientError`` for what another attempt may change, also while it is read.
        """
        import urllib3

        try:
            response = self._pool(url).request(
                "GET",
                url,
                headers={"User-Agent": USER_AGENT, **headers},
                timeout=self.patience.timeout,
                preload_content=False,
                decode_content=False,
                redirect=False,
                retries=False,
            )
            try:
                if response.status >= 400 and response.status != 416:
                    _refuse(url, response.status, response.reason or "", response.headers)
                yield response
            finally:
                # Also drops the connection when the body was not read to its end.
                response.close()
        except urllib3.exceptions.LocationValueError as error:
            raise SiteError(f"{url} cannot be asked for: {error}") from error
        except urllib3.exceptions.HTTPError as error:
            raise TransientError(f"{type(error).__name__}: {error}") from error

    def _pool(self, url: str) -> urllib3.PoolManager:
        import urllib3

        parts = urlsplit(url)
        by_scheme = urllib.request.getproxies()
        proxy = by_scheme.get(parts.scheme, by_scheme.get("all", ""))
        if parts.hostname and urllib.request.proxy_bypass(parts.netloc):
            proxy = ""
        key = (parts.scheme, proxy)
        if key not in self._pools:
            options: dict[str, Any] = {"maxsize": self.connections}
            if parts.scheme == "https":
                options["ssl_context"] = self._certificates
            pool = (
                urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)
            )
            weakref.finalize(self, pool.clear)
            self._pools[key] = pool
        return self._pools[key]

    def retry(
        self, url: str, ask: Callable[[], T], stop_waiting: threading.Event | None = None
    ) -> T:
        """Call ``ask`` until it raises no ``TransientError``.

        ``stop_waiting`` ends a wait early. Raises ``SiteError`` when patience ends.
        """
        from tenacity import (
            RetryError,
            Retrying,
            nap,
            retry_if_exception_type,
            stop_after_attempt,
            stop_before_delay,
            wait_exponential,
            wait_random,
        )

        patience, began = self.patience, time.monotonic()
        backoff = wait_exponential(
            multiplier=patience.first_wait, max=patience.longest_wait
        ) + wait_random(0, patience.first_wait)

        def wait(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked = error.retry_after if isinstance(error, TransientError) else 0.0
            return max(backoff(state), min(asked, patience.longest_wait))

        retrying = Retrying(
            retry=retry_if_exception_type(TransientError),
            wait=wait,
            stop=stop_after_attempt(patience.attempts) | stop_before_delay(patience.give_up_after),
            sleep=nap.sleep_using_event(stop_waiting) if stop_waiting else nap.sleep,
        )
        try:
            return retrying(ask)
        except RetryError as error:
            attempts = error.last_attempt.attempt_number
            raise SiteError(
                f"{url}: {error.last_attempt.exception()}. Gave up after {attempts} "
                f"{'attempt' if attempts == 1 else 'attempts'} in "
                f"{time.monotonic() - began:.0f} s; nothing was changed, try again later."
            ) from error.last_attempt.exception()


def _refuse(url: str, status: int, reason: str, headers: Mapping[str, str]) -> None:
    said = f"status {status} {reason}".rstrip()
    if status in MISSING:
        raise NotPublishedError(f"{url}: {said}. The site has no such file.")
    if status in THROTTLED or status >= 500:
        raise TransientError(said, _retry_after(headers.get("Retry-After", "")))
    raise SiteError(f"{url}: {said}, which another attempt does not change.")


def _retry_after(value: str) -> float:
    """Return the seconds that a Retry-After header asks for; 0 without a readable one."""
    if value.strip().isdigit():
        return float(value)
    try:
        until = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    return max(0.0, until.timestamp() - time.time())
