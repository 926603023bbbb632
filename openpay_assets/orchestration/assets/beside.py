"""What files beside the payments share as assets: landing them, judging them, remembering them.

Belongs here: how they get into the raw zone. What is read from them is in ``removed``,
``references`` and ``reconciliation``.
"""

from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg

from openpay_assets.cms.csv import StrictParseError, read_header
from openpay_assets.cms.names import FileKind
from openpay_assets.cms.source import Beside, CmsSource
from openpay_assets.contracts.published import PublishedLayout, match_published
from openpay_assets.contracts.registry import UnknownLayoutError
from openpay_assets.lake.raw import RawBeside, RawZone, stated
from openpay_assets.orchestration.checks import Outcome
from openpay_assets.orchestration.io_managers import MetadataIOManager


class BesideIOManager(MetadataIOManager):
    """Remembers which landed files an asset was last run from."""

    def file_name(self, asset: dg.AssetKey, partition: str | None) -> str:
        """Return the file of an asset, of a partition if it has any."""
        return "raw_files/" + "-".join([*asset.path, *([partition] if partition else [])])

    def restored(self, found: list[dict[str, Any]]) -> list[RawBeside]:
        """Return the descriptions of the landed files."""
        return [RawBeside(**x) for x in found]


def land(
    published: Iterable[Beside], source: CmsSource, zone: RawZone, run_id: str
) -> list[RawBeside]:
    """Land files beside the payments; those that are already there are not fetched again.

    What is there is known by the size that the source states, which costs a site one small
    request a file.
    """
    return [_land(source.sized(beside), source, zone, run_id) for beside in published]


def with_landed(
    files: Sequence[RawBeside],
    zone: RawZone,
    kinds: Iterable[FileKind],
    release: date,
    program_year: int,
) -> list[RawBeside]:
    """Add the files that landed with a release before, and that the source offers no more.

    A site lists the summaries of its newest release only; a release that is run again keeps its
    own. What the source does offer stands alone, under whatever name it landed before.
    """
    offered = {(x.kind, x.program_year) for x in files}
    before = [x for kind in kinds for x in zone.landed_with(kind, release, program_year)]
    kept = {(x.kind, x.program_year): x for x in before}
    return [*files, *(x for key, x in kept.items() if key not in offered)]


def _land(beside: Beside, source: CmsSource, zone: RawZone, run_id: str) -> RawBeside:
    with zone.landing(beside.file.name):
        landed = zone.landed_beside(beside.file, beside.size)
        if landed is not None:
            return landed
        fetched = source.fetch(beside, zone.downloads)
        file = zone.land_beside(fetched, beside.file, beside.size)
        layout, _ = layout_of(file)
        zone.audit(file, run_id, layout.name if layout else None)
        return file


def judge(files: Sequence[RawBeside]) -> dict[str, Outcome]:
    """Return the outcome of every check of landed files."""
    cut = [x for x in files if x.published_size not in (None, x.size)]
    unknown = [problem for x in files if (problem := layout_of(x)[1])]
    nothing = "Nothing of this is published."
    outcomes = [
        Outcome(
            "bytes_complete",
            not cut,
            " ".join(
                f"{x.name}: {x.size:,} bytes landed, {stated(x.published_size)} published."
                for x in cut or files
            )
            or nothing,
            {x.name: x.sha256 for x in files},
        ),
        Outcome(
            "header_known",
            not unknown,
            "\n".join(unknown) or ", ".join(x.name for x in files) or nothing,
            {x.name: layout.name for x in files if (layout := layout_of(x)[0])},
        ),
    ]
    return {x.name: x for x in outcomes}


def layout_of(file: RawBeside) -> tuple[PublishedLayout | None, str]:
    """Return the layout of a landed file, or None and what is wrong with its header."""
    try:
        return match_published(file.kind, read_header(Path(file.path)), file.name), ""
    except (StrictParseError, UnknownLayoutError) as error:
        return None, str(error)


def known_layout(file: RawBeside) -> PublishedLayout:
    """Return the layout of a landed file; its header was judged when it landed."""
    return match_published(file.kind, read_header(Path(file.path)), file.name)
