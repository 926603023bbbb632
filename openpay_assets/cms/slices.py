"""One company's rows of a partition, through the datastore API of a CMS site.

For a look at one company without gigabytes of everybody else's rows. The API gives text by
property, 500 rows a page; the CMS header comes back from the descriptions in its schema, because
property names are cut to what the database allows. Written as CMS writes its files.
https://openpaymentsdata.cms.gov/api
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urljoin

from openpay_assets.cms.http import Http, SiteError

PAGE = 500
"""Most rows that the API gives at once."""
COMPANY = "Applicable_Manufacturer_or_Applicable_GPO_Making_Payment_ID"
RECORD = "Record_ID"
COMPANY_ID = re.compile(r"\d{1,38}\Z", re.ASCII)


class SliceError(SiteError):
    """The datastore API did not give a whole and consistent slice; nothing was written."""


@dataclass(frozen=True)
class Schema:
    """Columns of a dataset in the order of the CMS header: property and header by position."""

    properties: tuple[str, ...]
    header: tuple[str, ...]

    def property_of(self, name: str) -> str:
        """Return the property behind a CMS column; ``SliceError`` when there is none."""
        if name not in self.header:
            raise SliceError(
                f"The datastore has no column {name}. It has: {', '.join(self.header)}."
            )
        return self.properties[self.header.index(name)]


def write_slice(
    http: Http,
    site: str,
    dataset_id: str,
    company_id: str,
    target: Path,
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> int:
    """Write every row of a company in a dataset to ``target``, sorted by record id; return how many.

    The file has its name only when as many rows came as the API counts, before and after, all of
    this company and none twice. Raises ``SliceError`` and ``SiteError``.
    """
    if not COMPANY_ID.match(company_id):
        raise ValueError(
            f"{company_id!r} is no company id: CMS's are digits, such as 100000000204."
        )
    url = urljoin(f"{site.rstrip('/')}/", f"api/1/datastore/query/{dataset_id}/0")
    schema, _ = _ask(http, url, {"limit": 1, "results": "false"})
    of_company = _condition(schema.property_of(COMPANY), company_id)
    expected = _count(http, url, of_company)
    if expected == 0 and _count(http, url, {}) == 0:
        raise SliceError(f"{url} counts no rows at all, of any company. Try again later.")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        with partial.open("w", encoding="utf-8", newline="") as out:
            rows = _write(out, schema, _pages(http, url, of_company, schema, expected), company_id)
            on_progress(rows, expected)
        after = _count(http, url, of_company)
        if not rows == expected == after:
            raise SliceError(
                f"{url}: {rows:,} rows of company {company_id} came, where {expected:,} were counted "
                f"before and {after:,} after. Nothing was kept; try again when CMS has finished "
                f"publishing."
            )
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return rows


def _write(out: IO[str], schema: Schema, rows: Iterator[dict[str, Any]], company_id: str) -> int:
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(schema.header)
    company, record = schema.property_of(COMPANY), schema.property_of(RECORD)
    seen: set[str] = set()
    for row in rows:
        missing = [x for x in schema.properties if x not in row]
        if missing:
            raise SliceError(f"A row came without {', '.join(missing)}: {str(row)[:200]}")
        if str(row[company]) != company_id:
            raise SliceError(
                f"A row of company {row[company]} came where {company_id} was asked for: the site "
                f"ignores conditions. Nothing was kept."
            )
        if (key := str(row[record])) in seen:
            raise SliceError(
                f"{RECORD} {key} came twice: rows moved between pages. Nothing was kept; try again."
            )
        seen.add(key)
        writer.writerow("" if row[x] is None else str(row[x]) for x in schema.properties)
    return len(seen)


def _pages(
    http: Http, url: str, of_company: dict[str, str | int], schema: Schema, expected: int
) -> Iterator[dict[str, Any]]:
    # Without an order the same row may be on two pages, and another on none.
    order: dict[str, str | int] = {
        "sorts[0][property]": schema.property_of(RECORD),
        "sorts[0][order]": "asc",
    }
    for offset in range(0, expected, PAGE):
        page: dict[str, str | int] = {"limit": PAGE, "offset": offset}
        _, answer = _ask(http, url, {**page, **of_company, **order})
        if not isinstance(answer.get("results"), list):
            raise SliceError(f"{url}: the answer has no list of results.")
        yield from answer["results"]


def _count(http: Http, url: str, conditions: dict[str, str | int]) -> int:
    _, answer = _ask(http, url, {"limit": 1, "results": "false", **conditions})
    if not str(answer.get("count", "")).isdigit():
        raise SliceError(f"{url}: the answer has no count.")
    return int(answer["count"])


def _condition(name: str, value: str) -> dict[str, str | int]:
    return {
        "conditions[0][property]": name,
        "conditions[0][value]": value,
        "conditions[0][operator]": "=",
    }


def _ask(http: Http, url: str, params: dict[str, str | int]) -> tuple[Schema, dict[str, Any]]:
    """Ask the datastore; every answer carries the schema, and counts."""
    answer = http.json(url, {**params, "count": "true", "schema": "true", "keys": "true"})
    try:
        names: Sequence[str] = answer["query"]["properties"]
        described = {
            name: str(about.get("description") or name)
            for fields in answer["schema"].values()
            for name, about in fields["fields"].items()
        }
        # The row number is the database's own.
        kept = tuple(x for x in names if x != "record_number")
        return Schema(kept, tuple(described[x] for x in kept)), answer
    except (KeyError, TypeError, AttributeError) as error:
        raise SliceError(
            f"{url}: no answer of a datastore: {str(answer)[:200]} ({error!r} is missing)."
        ) from error
