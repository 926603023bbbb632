"""Names of CMS files, of every generation of names."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openpay_assets.cms.names import (
    CODES,
    BesideFile,
    DetailFile,
    FileKind,
    parse_beside_name,
    parse_name,
)
from openpay_assets.contracts.model import Dataset


@pytest.mark.parametrize(
    ("name", "dataset", "year", "release"),
    [
        ("OPPR_ALL_DTL_GNRL_09302014.csv", "general", 2013, date(2014, 9, 30)),
        ("OPPR_ALL_DTL_OWNRSHP_12192014.csv", "ownership", 2013, date(2014, 12, 19)),
        ("OP_DTL_RSRCH_PGYR2013_P06302015.csv", "research", 2013, date(2015, 6, 30)),
        ("OP_DTL_GNRL_PGYR2016_P06302017.csv", "general", 2016, date(2017, 6, 30)),
        ("OP_DTL_OWNRSHP_PGYR2023_P01302025.csv", "ownership", 2023, date(2025, 1, 30)),
        ("OP_DTL_GNRL_PGYR2024_P06302025_06162025.csv", "general", 2024, date(2025, 6, 30)),
        ("op_dtl_gnrl_pgyr2016_p06302017.CSV", "general", 2016, date(2017, 6, 30)),
    ],
)
def test_a_name_says_dataset_program_year_and_release(
    name: str, dataset: str, year: int, release: date
) -> None:
    assert parse_name(name) == DetailFile(Dataset(dataset), year, release, name)


@pytest.mark.parametrize(
    "name",
    [
        "OP_REMOVED_DELETED_PGYR2016_P06302017.csv",
        "OP_PGYR2016_README_P06302017.txt",
        "OP_PH_PRFL_SPLMTL_P06302017.csv",
        "OPPR_MASKDTL_GNRL_09302014.csv",
        "OP_DTL_GNRL_PGYR2016_P13012017.csv",
        "OP_DTL_GNRL_PGYR2016_P02302017.csv",
        "OP_DTL_GNRL_PGYR16_P06302017.csv",
        "OP_DTL_GNRL_PGYR2016_P06302017.csv.partial",
        "OP_DTL_GNRL_PGYR2016_P06302017.csv\n",
        "my_OP_DTL_GNRL_PGYR2016_P06302017.csv",
        "OP_DTL_GNRL_PGYR2016_P06302017 (1).csv",
        "OP_DTL_PHYS_PGYR2016_P06302017.csv",
        "",
    ],
)
def test_a_name_of_anything_else_is_none(name: str) -> None:
    assert parse_name(name) is None


@given(
    st.sampled_from(list(Dataset)),
    st.integers(2013, 2099),
    st.dates(date(2014, 9, 30), date(2099, 12, 31)),
    st.none() | st.dates(date(2025, 1, 1), date(2099, 12, 31)),
)
def test_any_stamped_name_is_read_back(
    dataset: Dataset, year: int, release: date, generated: date | None
) -> None:
    second = f"_{generated:%m%d%Y}" if generated else ""
    name = f"OP_DTL_{CODES[dataset]}_PGYR{year}_P{release:%m%d%Y}{second}.csv"
    assert parse_name(name) == DetailFile(dataset, year, release, name)


@given(st.text(max_size=60))
def test_no_text_is_an_error(name: str) -> None:
    parsed = parse_name(name)
    assert parsed is None or parsed.name == name


@pytest.mark.parametrize(
    ("name", "kind", "year", "release"),
    [
        ("OP_REMOVED_DELETED_PGYR2016_P01182024.csv", "removed", 2016, date(2024, 1, 18)),
        ("OPPR_SPLMTL_PH_PRFL_09302014.csv", "supplement", None, date(2014, 9, 30)),
        ("OP_PH_PRFL_SPLMTL_P01152016.csv", "supplement", None, date(2016, 1, 15)),
        ("OP_CVRD_RCPNT_PRFL_SPLMTL_P06302026_06032026.csv", "supplement", None, date(2026, 6, 30)),
        (
            "PBLCTN_PRVDR_PRFL_MAPPING_P06302026_06032026.csv",
            "profile_mapping",
            None,
            date(2026, 6, 30),
        ),
        (
            "PBLCTN_STATE_SMRY_P06302026_06032026-joined.csv",
            "state_summary",
            None,
            date(2026, 6, 30),
        ),
        (
            "PBLCTN_SMRY_BY_AMGPO_BY_NTR_OF_PYMT_PGYR2024_P06302025_06162025.csv",
            "entity_nature_summary",
            2024,
            date(2025, 6, 30),
        ),
    ],
)
def test_a_name_beside_the_payments_says_kind_year_and_release(
    name: str, kind: str, year: int | None, release: date
) -> None:
    assert parse_beside_name(name) == BesideFile(FileKind(kind), year, release, name)


@pytest.mark.parametrize(
    "name",
    [
        "OP_DTL_GNRL_PGYR2024_P06302025_06162025.csv",
        "OP_PGYR2016_README_P06302017.txt",
        "PBLCTN_SMRY_BY_AMGPO_BY_NTR_OF_PYMT_PGYRALL_P06302025_06162025.csv",
        "PBLCTN_DSHBRD_P13012025.csv",
        "PBLCTN_SOMETHING_NEW_P06302025.csv",
    ],
)
def test_other_names_are_not_beside_the_payments(name: str) -> None:
    assert parse_beside_name(name) is None
