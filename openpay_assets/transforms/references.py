"""Reference tables from the text of the files that CMS publishes once for all partitions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import reduce
from typing import TYPE_CHECKING

import ibis

from openpay_assets.contracts.published import PublishedLayout
from openpay_assets.contracts.rules import PHYSICIAN
from openpay_assets.transforms import cleaning
from openpay_assets.transforms.shape import as_curated

if TYPE_CHECKING:
    import ibis.expr.types as ir

ALTERNATE_NAMES = 5
LONGEST_CHAIN = 64
"""Mappings that a chain of primaries may have; a longer one is taken for a cycle."""

_PROFILE = "covered_recipient_profile"
_SUPPLEMENT = {
    "profile_id": f"{_PROFILE}_id",
    "first_name": f"{_PROFILE}_first_name",
    "middle_name": f"{_PROFILE}_middle_name",
    "last_name": f"{_PROFILE}_last_name",
    "name_suffix": f"{_PROFILE}_suffix",
    "alternate_first_name": f"{_PROFILE}_alternate_first_name",
    "alternate_middle_name": f"{_PROFILE}_alternate_middle_name",
    "alternate_last_name": f"{_PROFILE}_alternate_last_name",
    "alternate_name_suffix": f"{_PROFILE}_alternate_suffix",
    "address_line1": f"{_PROFILE}_address_line_1",
    "address_line2": f"{_PROFILE}_address_line_2",
    "city": f"{_PROFILE}_city",
    "state": f"{_PROFILE}_state",
    "zip_code": f"{_PROFILE}_zipcode",
    "province": f"{_PROFILE}_province_name",
    **{f"taxonomy_{n}": f"{_PROFILE}_ops_taxonomy_{n}" for n in range(1, 7)},
    **{f"license_state_{n}": f"{_PROFILE}_license_state_code_{n}" for n in range(1, 6)},
    "associated_profile_id_1": "associated_covered_recipient_profile_id_1",
    "associated_profile_id_2": "associated_covered_recipient_profile_id_2",
}
"""Curated columns that are a column of the supplement, renamed."""


@dataclass(frozen=True)
class ReferenceInput:
    """What is known of a reference file besides its rows."""

    layout: PublishedLayout
    release: date
    source_file: str


def supplement(text: ir.Table, source: ReferenceInput) -> ir.Table:
    """Return ``curated.supplement``: one row per clinician profile, of any layout."""
    reported = _canonical(text, source, [*_SUPPLEMENT.values(), *_SUPPLEMENT_CLEANED])
    t = cleaning.with_npi(reported, "covered_recipient_npi")
    return _curated(
        t,
        "supplement",
        source,
        {
            **{name: t[column] for name, column in _SUPPLEMENT.items()},
            # Until 2021 there was no type: every profile was a physician.
            "profile_type": cleaning.recipient_type(t[f"{_PROFILE}_type"].fill_null(PHYSICIAN)),
            "npi": t.npi,
            "country": cleaning.country(t[f"{_PROFILE}_country_name"]),
            "specialty": cleaning.taxonomy_path(t[f"{_PROFILE}_primary_specialty"]),
        },
    )


_SUPPLEMENT_CLEANED = (
    f"{_PROFILE}_type",
    "covered_recipient_npi",
    f"{_PROFILE}_country_name",
    f"{_PROFILE}_primary_specialty",
)


def profile_mapping(text: ir.Table, source: ReferenceInput) -> ir.Table:
    """Return ``curated.profile_mapping``, chains of primaries followed to their end.

    Each round doubles how far a mapping reaches, so that a few joins follow any chain. In a
    cycle there is no end; the check of the table finds those.
    """
    t = _canonical(text, source, ["primary_profile_id", "secondary_profile_id"])
    # One primary each, or a doubled mapping would double in every round.
    once = t.group_by("secondary_profile_id").aggregate(resolved=t.primary_profile_id.min())
    resolved = reduce(lambda found, _: _further(found), range(LONGEST_CHAIN.bit_length()), once)
    joined = t.join(resolved, "secondary_profile_id", how="left")
    return _curated(joined, "profile_mapping", source, {"resolved_primary": joined.resolved})


def _further(found: ir.Table) -> ir.Table:
    step = found.view().select(at="secondary_profile_id", further="resolved")
    both = found.left_join(step, found.resolved == step.at).select(*found.columns, "further")
    return both.select("secondary_profile_id", resolved=ibis.coalesce(both.further, both.resolved))


def entity_profiles(text: ir.Table, source: ReferenceInput) -> ir.Table:
    """Return ``curated.entity_profiles``: one row per company that reports or pays."""
    columns = ["company_id", "company_name", "company_state", "company_country"]
    t = _canonical(text, source, [*columns, *_ALTERNATES])
    country = cleaning.country(t.company_country)
    values = {"company_country": country, "alternate_names": _alternates(t)}
    return _curated(t, "entity_profiles", source, values)


def hospital_profiles(text: ir.Table, source: ReferenceInput) -> ir.Table:
    """Return ``curated.hospital_profiles``: one row per teaching hospital."""
    columns = ["hospital_ccn", "hospital_name", "address_line1", "address_line2"]
    t = _canonical(text, source, [*columns, "city", "state", "zip_code", *_ALTERNATES])
    return _curated(t, "hospital_profiles", source, {"alternate_names": _alternates(t)})


Transform = Callable[["ir.Table", ReferenceInput], "ir.Table"]
REFERENCES: Mapping[str, Transform] = {
    "supplement": supplement,
    "profile_mapping": profile_mapping,
    "entity_profiles": entity_profiles,
    "hospital_profiles": hospital_profiles,
}
"""What makes each reference table."""

_ALTERNATES = tuple(f"alternate_name_{n}" for n in range(1, ALTERNATE_NAMES + 1))


def _alternates(t: ir.Table) -> ir.StringValue:
    named = ibis.array([t[name] for name in _ALTERNATES]).filter(lambda x: x.notnull())
    return named.join("|").nullif("")


def _canonical(text: ir.Table, source: ReferenceInput, columns: list[str]) -> ir.Table:
    """Rename the layout's columns; columns that other layouts have are NULL."""
    source_of = source.layout.source_of
    return text.select(
        **{
            name: text[source_of[name]] if name in source_of else ibis.null("string")
            for name in columns
        }
    )


def _curated(
    t: ir.Table, name: str, source: ReferenceInput, values: Mapping[str, ir.Value]
) -> ir.Table:
    lineage = {
        "release": ibis.literal(source.release),
        "source_file": ibis.literal(source.source_file),
    }
    return as_curated(t, name, {**values, **lineage})


# --- what the checks ask --------------------------------------------------------------------


def mapping_faults(mapping: ir.Table) -> ir.Table:
    """Return the mappings that are no sane ones: ``fault``, ``secondary_profile_id``, primary.

    Faults: ``itself`` (a profile secondary to itself), ``several`` (more than one primary),
    ``cycle`` (a chain that comes back, or is longer than any real one).
    """
    t = mapping.select("secondary_profile_id", "primary_profile_id", "resolved_primary")
    itself = t.filter(t.secondary_profile_id == t.primary_profile_id)
    primaries = t.group_by("secondary_profile_id").aggregate(n=t.primary_profile_id.nunique())
    several = t.semi_join(primaries.filter(primaries.n > 1), "secondary_profile_id")
    # The end of a chain is secondary to none.
    cycle = t.semi_join(t.select(resolved_primary="secondary_profile_id"), "resolved_primary")
    cycle = cycle.filter(cycle.secondary_profile_id != cycle.primary_profile_id)
    found = {"itself": itself, "several": several, "cycle": cycle}
    return ibis.union(
        *(
            rows.select("secondary_profile_id", "primary_profile_id", fault=ibis.literal(fault))
            for fault, rows in found.items()
        ),
        distinct=True,
    )


def shared_values(t: ir.Table, value: str, key: str) -> ir.Table:
    """Return the values that several keys have: ``value``, ``keys`` (how many), ``first``."""
    known = t.filter(t[value].notnull())
    grouped = known.group_by(value=known[value]).aggregate(
        keys=known[key].nunique(), first=known[key].min(), last=known[key].max()
    )
    return grouped.filter(grouped["keys"] > 1)


def company_names(profiles: ir.Table) -> ir.Table:
    """Return companies with their names in one letter case, to compare them."""
    return profiles.select("company_id", company_name=cleaning.upper(profiles.company_name))


def unknown_profiles(physicians: ir.Table, supplement: ir.Table, mapping: ir.Table) -> ir.Table:
    """Return the clinicians whose profile, or the primary one, is not in the supplement."""
    resolved = _with_primary(physicians, mapping)
    known = supplement.select(primary="profile_id")
    either = supplement.select("profile_id")
    return resolved.anti_join(known, "primary").anti_join(either, "profile_id")


def other_npis(physicians: ir.Table, supplement: ir.Table, mapping: ir.Table) -> ir.Table:
    """Return the clinicians whose reported NPI is not that of their profile, with both.

    A profile that the supplement has no NPI for is compared with its primary one.
    """
    resolved = _with_primary(physicians, mapping)
    own = supplement.select("profile_id", own_npi="npi")
    of_primary = supplement.select(primary="profile_id", primary_npi="npi")
    both = resolved.left_join(own, "profile_id").select(*resolved.columns, "own_npi")
    all_three = both.left_join(of_primary, "primary").select(*both.columns, "primary_npi")
    known = all_three.mutate(profile_npi=ibis.coalesce(all_three.own_npi, all_three.primary_npi))
    return known.filter(known.npi != known.profile_npi)


def _with_primary(physicians: ir.Table, mapping: ir.Table) -> ir.Table:
    resolved = mapping.select(profile_id="secondary_profile_id", resolved="resolved_primary")
    people = physicians.select("profile_id", "npi")
    both = people.left_join(resolved, "profile_id").select("profile_id", "npi", "resolved")
    return both.select("profile_id", "npi", primary=ibis.coalesce(both.resolved, both.profile_id))


def missing_keys(rows: ir.Table, known: ir.Table, key: str) -> ir.Table:
    """Return the keys of rows that a reference table does not have."""
    named = rows.filter(rows[key].notnull()).select(key)
    return named.anti_join(known.select(key), key)
