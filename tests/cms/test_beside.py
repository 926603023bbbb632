"""Files beside simulated payments: they add up to the payment files, to the cent."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path
from statistics import median

import pytest

from openpay_assets.cms.names import FileKind, parse_beside_name
from openpay_assets.cms.simulator import SimulatedFile, publications, simulate
from openpay_assets.cms.simulator.beside import read_contract
from openpay_assets.contracts.model import Dataset
from openpay_assets.contracts.registry import allowed_values, layout_of

PHYSICIAN = "Covered Recipient Physician"
PRACTITIONER = "Covered Recipient Non-Physician Practitioner"
HOSPITAL = "Covered Recipient Teaching Hospital"
COMPANY = "applicable_manufacturer_or_applicable_gpo_making_payment_id"
NATURE = "nature_of_payment_or_transfer_of_value"
Row = dict[str, str]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[SimulatedFile]:
    """Two program years in one publication, dirty in every way."""
    return simulate(
        tmp_path_factory.mktemp("beside"),
        years=[2020, 2022],
        rows=500,
        release="2024-06-28",
        dirt=0.3,
        beside=True,
        threads=1,
    )


@pytest.fixture(scope="module")
def payments(files: list[SimulatedFile]) -> list[Row]:
    """Every record of the payment files by canonical names, with its dataset and file year."""
    rows = []
    for file in files:
        layout = layout_of(file.dataset, file.program_year, file.release.isoformat())
        canonical = dict(layout.columns)
        with file.path.open(newline="", encoding="ascii") as lines:
            for record in csv.DictReader(lines, strict=True):
                row = {canonical[name]: value for name, value in record.items()}
                rows.append({**row, "dataset": file.dataset, "year": str(file.program_year)})
    return rows


Reader = Callable[..., list[Row]]


@pytest.fixture(scope="module")
def read(files: list[SimulatedFile]) -> Reader:
    """Read a file beside the payments, by CMS's column names."""
    folder, day = files[0].path.parent, files[0].release

    @cache
    def read(kind: FileKind, year: int | None = None) -> list[Row]:
        path = folder / publications.beside_name(kind, day, year)
        with path.open(newline="", encoding="utf-8") as lines:
            return list(csv.DictReader(lines, strict=True))

    return read


def _dollars(text: str) -> Decimal:
    """Return an amount that is a number; anything else counts as nothing."""
    return Decimal(text) if re.fullmatch(r"\d+(\.\d{1,2})?", text) else Decimal(0)


def _total(rows: list[Row], column: str = "amount") -> Decimal:
    return sum((_dollars(row[column]) for row in rows), Decimal(0))


def _grouped(rows: list[Row], *columns: str) -> dict[tuple[str, ...], list[Row]]:
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[name] for name in columns)].append(row)
    return groups


def _with_all(rows: list[Row], spelling: str) -> list[Row]:
    """Repeat each record for the line that adds up the years."""
    return [*rows, *({**row, "year": spelling} for row in rows)]


def _disputed(rows: list[Row]) -> int:
    return sum(row["dispute_status_for_publication"] == "Yes" for row in rows)


def test_payments_by_company_and_nature_of_a_year(payments: list[Row], read: Reader) -> None:
    codes = {row["nature"]: row["code"] for row in read_contract("nature_codes.csv")}
    assert set(codes) == set(allowed_values("nature_of_payment"))
    general = [row for row in payments if row["dataset"] == "general"]
    for year in (2020, 2022):
        rows = [
            {**row, "code": codes.get(row[NATURE], "")}
            for row in general
            if row["year"] == str(year)
        ]
        expected = {
            key: (str(len(group)), f"{_total(group):.2f}")
            for key, group in _grouped(rows, COMPANY, "code").items()
        }
        found = {
            (row["AMGPO_ID"], row["Nature_Of_Payment_Type_Code"]): (
                row["Number_of_Transaction"],
                row["Total_Amount"],
            )
            for row in read(FileKind.ENTITY_NATURE_SUMMARY, year)
        }
        assert found == expected
        assert {"", "1E+11"} <= {company for company, _ in found}, "damaged keys are kept"
        assert "" in {code for _, code in found}, "so are natures without a code"


def test_companies_of_all_years(payments: list[Row], read: Reader) -> None:
    groups = _grouped(_with_all(payments, "All"), COMPANY, "year")
    found = read(FileKind.ENTITY_SUMMARY)
    assert len(found) == len(groups)
    for row in found:
        group = groups[row["AMGPO_Making_Payment_ID"], row["Program_Year"]]
        of = {x: [r for r in group if r["dataset"] == x] for x in Dataset}
        assert row["Total_Amount_General"] == f"{_total(of[Dataset.GENERAL]):.2f}"
        assert row["Total_Amount_Research"] == f"{_total(of[Dataset.RESEARCH]):.2f}"
        assert row["Total_Amount_Investment"] == f"{_total(of[Dataset.OWNERSHIP]):.2f}"
        interest = _total(of[Dataset.OWNERSHIP], "value_of_interest")
        assert row["Total_Amount_Interest"] == f"{interest:.2f}"
        for name, dataset in (
            ("General", Dataset.GENERAL),
            ("Research", Dataset.RESEARCH),
            ("Invested", Dataset.OWNERSHIP),
        ):
            assert row[f"Trans_{name}"] == str(len(of[dataset]))
        hospitals = [r for r in of[Dataset.GENERAL] if r["covered_recipient_type"] == HOSPITAL]
        assert row["Trans_General_Teachinghospital"] == str(len(hospitals))
        assert row["Total_Disputed_Transactions"] == str(_disputed(group))
        assert row["Total_Undisputed_Transactions"] == str(len(group) - _disputed(group))


def test_hospitals_of_all_years(payments: list[Row], read: Reader) -> None:
    rows = [
        row
        for row in payments
        if row.get("covered_recipient_type") == HOSPITAL and row["teaching_hospital_ccn"]
    ]
    groups = _grouped(_with_all(rows, "All"), "teaching_hospital_ccn", "year")
    profiles = {row["Teaching_Hospital_CCN"]: row for row in read(FileKind.HOSPITAL_PROFILES)}
    found = read(FileKind.HOSPITAL_SUMMARY)
    assert len(found) == len(groups) > 2
    for row in found:
        group = groups[row["Teaching_Hospital_CCN"], row["Program_Year"]]
        for name, dataset in (("General", "general"), ("Research", "research")):
            of = [r for r in group if r["dataset"] == dataset]
            assert row[f"{name}_Total_Payment"] == f"{_total(of):.2f}"
            assert row[f"{name}_Total_Transactions"] == str(len(of))
        assert row["Total_Disputed_Transactions"] == str(_disputed(group))
        name = profiles[row["Teaching_Hospital_CCN"]]["Teaching_Hospital_NAME"]
        assert row["Teaching_Hospital_NAME"] == name


def test_clinicians_of_all_years(payments: list[Row], read: Reader) -> None:
    direct, associated = [], []
    for row in payments:
        if row["dataset"] == "ownership" and row["physician_profile_id"]:
            direct.append({**row, "profile": row["physician_profile_id"]})
        elif row.get("covered_recipient_type") in (PHYSICIAN, PRACTITIONER):
            direct.append({**row, "profile": row["covered_recipient_profile_id"]})
        if row["dataset"] == "research":
            people = {row[f"principal_investigator_{n}_profile_id"] for n in range(1, 6)} - {""}
            associated += [{**row, "profile": person} for person in people]
    direct = [row for row in direct if row["profile"]]
    paid = _grouped(_with_all(direct, "All"), "profile", "year")
    named = _grouped(_with_all(associated, "All"), "profile", "year")
    mapped = {x for row in read(FileKind.PROFILE_MAPPING) for x in row.values()}
    found = read(FileKind.PHYSICIAN_SUMMARY)
    keys = [(row["Covered_Recipient_Profile_ID"], row["Program_Year"]) for row in found]
    assert set(keys) == {*paid, *named}
    assert len(keys) == len(set(keys))
    for key, row in zip(keys, found, strict=True):
        of = {x: [r for r in paid.get(key, []) if r["dataset"] == x] for x in Dataset}
        investigated = named.get(key, [])
        assert row["General_Total_Payment"] == f"{_total(of[Dataset.GENERAL]):.2f}"
        assert row["Research_Total_Payment"] == f"{_total(of[Dataset.RESEARCH]):.2f}"
        assert row["Invested_Total_Amount"] == f"{_total(of[Dataset.OWNERSHIP]):.2f}"
        interest = _total(of[Dataset.OWNERSHIP], "value_of_interest")
        assert row["Interest_Total_Amount"] == f"{interest:.2f}"
        assert row["General_Total_Transactions"] == str(len(of[Dataset.GENERAL]))
        assert row["Invested_Total_Transactions"] == str(len(of[Dataset.OWNERSHIP]))
        assert row["Total_Associated_Research_Payments"] == f"{_total(investigated):.2f}"
        assert row["Total_Associated_Research_Transactions"] == str(len(investigated))
        assert row["Total_Disputed_Transactions"] == str(_disputed(paid.get(key, [])))
        assert row["Has_Multiple_IDs"] == ("Yes" if key[0] in mapped else "No")


def _covered(payments: list[Row]) -> list[Row]:
    types = {
        PHYSICIAN: "Physician",
        PRACTITIONER: "Non_Physician_Practitioner",
        HOSPITAL: "Teaching_Hospital",
    }
    return [
        {
            **row,
            "who": types[row["covered_recipient_type"]],
            "type": row["dataset"].title(),
            "party": row["teaching_hospital_ccn"]
            if row["covered_recipient_type"] == HOSPITAL
            else row["covered_recipient_profile_id"],
        }
        for row in payments
        if row.get("covered_recipient_type") in types
    ]


def _half_up(value: Decimal | float) -> str:
    from decimal import ROUND_HALF_UP

    return str(Decimal(value).quantize(Decimal("0.01"), ROUND_HALF_UP))


def _check_by_party(row: Row, who: str, group: list[Row]) -> None:
    parties = _grouped([r for r in group if r["party"]], "party")
    assert row[f"Total_Number_of_{who}s"] == str(len(parties))
    assert row[f"Total_Payment_Amount_{who}"] == f"{_total(group):.2f}"
    assert row[f"Total_Payment_Count_{who}"] == str(len(group))
    if parties:
        mean, sums = _total(group) / len(parties), [_total(x) for x in parties.values()]
        assert row[f"Mean_Total_Payment_Amount_{who}"] == _half_up(mean)
        assert row[f"Median_Total_Payment_Amount_{who}"] == _half_up(median(sums))
        counts = [Decimal(len(x)) for x in parties.values()]
        assert row[f"Mean_Total_Payment_Count_{who}"] == _half_up(
            Decimal(len(group)) / len(parties)
        )
        assert row[f"Median_Total_Payment_Count_{who}"] == _half_up(median(counts))
    others = {"Physician", "Non_Physician_Practitioner", "Teaching_Hospital"} - {who}
    assert all(row.get(f"Total_Payment_Amount_{x}", "") == "" for x in others)


@pytest.mark.parametrize(
    ("kind", "keys", "columns"),
    [
        (FileKind.NATIONAL_SUMMARY, (), ()),
        (
            FileKind.STATE_SUMMARY,
            ("recipient_country", "recipient_state"),
            ("Country_Name", "State_Code"),
        ),
    ],
    ids=str,
)
def test_the_nation_and_its_states(
    payments: list[Row],
    read: Reader,
    kind: FileKind,
    keys: tuple[str, ...],
    columns: tuple[str, ...],
) -> None:
    rows = _with_all(_covered(payments), "ALL")
    if kind is FileKind.NATIONAL_SUMMARY:
        rows = [row for row in rows if row["who"] != "Teaching_Hospital"]
    groups = _grouped(rows, *keys, "type", "covered_recipient_type", "year")
    found = read(kind)
    assert len(found) == len(groups)
    for row in found:
        key = tuple(row[x] for x in (*columns, "Payment_Type", "Recipient_Type", "Program_Year"))
        _check_by_party(row, groups[key][0]["who"], groups[key])
    if columns:
        names = {(row["Country_Code"], row["State_Code"], row["State_Name"]) for row in found}
        assert ("US", "OH", "Ohio") in names
        assert ("US", "ZZ", "") in names, "a state that is none is kept"


def test_specialties(payments: list[Row], read: Reader) -> None:
    rows = [
        row for row in _with_all(_covered(payments), "ALL") if row["who"] != "Teaching_Hospital"
    ]
    groups = _grouped(
        rows, "covered_recipient_specialty_1", "type", "covered_recipient_type", "year"
    )
    found = read(FileKind.SPECIALTY_SUMMARY)
    assert len(found) == len(groups)
    levels = ("Provider_Type_Description", "Classification", "Specialization")
    for row in found:
        specialty = "|".join(filter(None, (row[level] for level in levels)))
        key = (specialty, row["Payment_Type"], row["Recipient_Type"], row["Program_Year"])
        _check_by_party(row, groups[key][0]["who"], groups[key])
    codes = {row["Classification"]: row["Taxonomy_Code"] for row in found}
    assert codes["Family Medicine"] == "207Q00000X"


def test_the_dashboard(payments: list[Row], read: Reader) -> None:
    found = read(FileKind.DASHBOARD)
    assert list(found[0]) == ["Dashboard_Row_Number", "Data_Metrics", "PY_2020", "PY_2022", "Total"]
    spans = {"PY_2020": {"2020"}, "PY_2022": {"2022"}, "Total": {"2020", "2022"}}
    for row, metric in zip(found, read_contract("dashboard_metrics.csv"), strict=True):
        assert row["Dashboard_Row_Number"] == metric["row_number"]
        assert row["Data_Metrics"] == metric["metric"]
        for column, years in spans.items():
            rows = [
                r
                for r in payments
                if r["year"] in years
                and metric["dataset"] in ("", r["dataset"])
                and metric["recipient_type"] in ("", r.get("covered_recipient_type"))
                and metric["disputed"]
                in ("", "Yes" if r["dispute_status_for_publication"] == "Yes" else "No")
            ]
            assert row[column] == _measure(metric["measure"], rows), (metric, column)


def _measure(measure: str, rows: list[Row]) -> str:
    if measure == "records":
        return str(len(rows))
    if measure in ("amount", "value_of_interest"):
        return f"{_total(rows, measure):.2f}"
    if measure == "companies":
        return str(len({row[COMPANY] for row in rows} - {""}))
    who = {"physicians": PHYSICIAN, "practitioners": PRACTITIONER, "hospitals": HOSPITAL}[measure]
    column = "teaching_hospital_ccn" if who == HOSPITAL else "covered_recipient_profile_id"
    ids = {row[column] for row in rows if row.get("covered_recipient_type") == who}
    if who == PHYSICIAN:
        ids |= {row["physician_profile_id"] for row in rows if row["dataset"] == "ownership"}
    return str(len(ids - {""}))


def test_sums_agree_with_what_stands_beside_the_payments(
    files: list[SimulatedFile], read: Reader
) -> None:
    rows = {row["Data_Metrics"]: row for row in read(FileKind.DASHBOARD)}
    named = {
        Dataset.GENERAL: "Total Dollar Amount of Payment Records - General Payments",
        Dataset.RESEARCH: "Total Dollar Amount of Payment Records - Research Payments",
        Dataset.OWNERSHIP: "Total Dollar Amount Invested of all Payment Records",
    }
    for file in files:
        shown = rows[named[file.dataset]][f"PY_{file.program_year}"]
        assert Decimal(shown) * 100 == file.expected["cents"]


# --- who is who -----------------------------------------------------------------------------------


def test_everyone_who_is_paid_has_a_profile(payments: list[Row], read: Reader) -> None:
    profiles = {row["Covered_Recipient_Profile_ID"]: row for row in read(FileKind.SUPPLEMENT)}
    assert len(profiles) == len(read(FileKind.SUPPLEMENT))
    paid = {
        row["covered_recipient_profile_id"]: row
        for row in payments
        if row.get("covered_recipient_type") in (PHYSICIAN, PRACTITIONER)
    }
    known = paid.keys() & profiles.keys()
    assert len(known) > 0.95 * len(paid), "dirty profiles aside"
    for key in known:
        assert profiles[key]["Covered_Recipient_Profile_State"] or (
            profiles[key]["Covered_Recipient_Profile_Country_Name"] != "UNITED STATES"
        )


def test_profiles_of_one_clinician_are_mapped_also_in_chains(read: Reader) -> None:
    mapping = read(FileKind.PROFILE_MAPPING)
    assert list(mapping[0]) == ["Primary_Provider_Profile_ID", "Secondary_Provider_Profile_ID"]
    pairs = [tuple(row.values()) for row in mapping]
    first, second = zip(*pairs, strict=True)
    assert len(set(second)) == len(second)
    assert set(first) & set(second), "a secondary profile that is itself the primary of another"
    supplement = {row["Covered_Recipient_Profile_ID"]: row for row in read(FileKind.SUPPLEMENT)}
    for primary, secondary in pairs:
        assert supplement[primary]["Associated_Covered_Recipient_Profile_ID_1"] == secondary
        assert secondary in supplement


def test_companies_have_profiles(payments: list[Row], read: Reader) -> None:
    profiles = {row["AMGPO_Making_Payment_ID"] for row in read(FileKind.ENTITY_PROFILES)}
    paying = {row[COMPANY] for row in payments if re.fullmatch(r"\d{12}", row[COMPANY])}
    assert paying <= profiles


@pytest.mark.parametrize(
    ("day", "name", "first", "columns"),
    [
        ("2014-09-30", "OPPR_SPLMTL_PH_PRFL_09302014.csv", "Physician_ID", 31),
        ("2019-01-18", "OP_PH_PRFL_SPLMTL_P01182019.csv", "Physician_Profile_ID", 27),
        (
            "2022-06-30",
            "OP_CVRD_RCPNT_PRFL_SPLMTL_P06302022.csv",
            "Covered_Recipient_Profile_Type",
            32,
        ),
        (
            "2024-06-28",
            "OP_CVRD_RCPNT_PRFL_SPLMTL_P06282024_06122024.csv",
            "Covered_Recipient_Profile_Type",
            32,
        ),
    ],
)
def test_the_supplement_changes_its_name_and_layout(
    tmp_path: Path, day: str, name: str, first: str, columns: int
) -> None:
    release = date.fromisoformat(day)
    year = next(y for y in range(2013, 2024) if release in publications.publications_of(y))
    simulate(
        tmp_path,
        years=[year],
        rows=40,
        release=day,
        datasets=[Dataset.OWNERSHIP],
        beside=True,
        threads=1,
    )
    with (tmp_path / name).open(newline="", encoding="utf-8") as lines:
        rows = list(csv.reader(lines, strict=True))
    assert rows[0][0] == first
    assert {len(row) for row in rows} == {columns}
    found = {x.kind for path in tmp_path.iterdir() if (x := parse_beside_name(path.name))}
    assert (FileKind.DASHBOARD in found) == (release >= publications.SUMMARIES_SINCE)


def test_files_beside_the_payments_are_the_same_every_time(
    tmp_path: Path, files: list[SimulatedFile]
) -> None:
    simulate(
        tmp_path,
        years=[2020, 2022],
        rows=500,
        release="2024-06-28",
        dirt=0.3,
        beside=True,
        threads=2,
    )
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (files[0].path.parent / path.name).read_bytes(), path.name


@pytest.mark.parametrize("kind", [x for x in FileKind if x is not FileKind.REMOVED])
def test_names_are_read_as_they_are_written(kind: FileKind) -> None:
    for day in (date(2019, 1, 18), date(2024, 1, 18), date(2026, 6, 30)):
        name = publications.beside_name(kind, day)
        parsed = parse_beside_name(name)
        assert parsed is not None
        assert (parsed.kind, parsed.program_year, parsed.release) == (kind, None, day)
