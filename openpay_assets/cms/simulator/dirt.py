"""Dirt: rows that each break one known rule, in the ways real files do.

A ``Damage`` replaces columns of a clean row. Where it only makes sense on a certain row (an NPI
needs a clinician, an NDC a drug), it asks for one and the row is drawn that way. A row that
breaks a quarantine rule may break warnings with it: a date in the year 2 is also outside its
program year. Otherwise a dirty row breaks nothing but its rule.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from openpay_assets.cms.simulator.records import EMPTY
from openpay_assets.cms.simulator.vocabulary import (
    fill_table,
    read_data,
    read_sql,
    set_variables,
)
from openpay_assets.contracts.model import Dataset
from openpay_assets.contracts.registry import allowed_values
from openpay_assets.contracts.rules import (
    RULES,
    PartitionFacts,
    investigator_fields,
    product_slots,
    rules_for,
)
from openpay_assets.contracts.sql import sql_name, sql_text

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

FOOD = "Food and Beverage"
NATURE = "nature_of_payment_or_transfer_of_value"
FORM = "form_of_payment_or_transfer_of_value"
MOVING = ("product_slots_contiguous", "investigator_slots_contiguous")
"""Rules that are broken by moving all columns of a slot, whichever a layout has."""

LATER_SLOTS = (2, 3, 5)
"""Where the content of the first slot may end up."""


@dataclass(frozen=True)
class Damage:
    """One way to break one rule.

    ``columns`` gives the SQL that replaces a canonical column; it sees the clean columns of the
    row. The other fields ask for a row: its recipient (physician, hospital, entity), products
    (none, drug, device), nature, number of investigators, amounts in cents. ``repeats_id`` gives
    the row the record id of the dirty row before it.
    """

    rule: str
    columns: Mapping[str, str] = field(default_factory=dict)
    recipient: str | None = None
    products: str | None = None
    nature: str | None = None
    investigators: int | None = None
    cents: int | None = None
    interest_cents: int | None = None
    repeats_id: bool = False

    @property
    def loses_amount(self) -> bool:
        """Whether the amount no longer is a number."""
        return self.rule == "amount_valid"

    @property
    def loses_interest(self) -> bool:
        """Whether the value of interest no longer is a number."""
        return self.rule == "value_of_interest_valid"


def check_rule_names(names: Collection[str]) -> None:
    """Raise ``ValueError`` on a name that no rule has, with the names that rules have."""
    known = sorted({rule.name for rule in RULES})
    if unknown := sorted(set(names) - set(known)):
        raise ValueError(f"No such rule: {', '.join(unknown)}. Known: {', '.join(known)}.")


def damages_for(facts: PartitionFacts, without: Collection[str] = ()) -> list[Damage]:
    """Return every damage that a layout can suffer, in the order of the rules.

    A rule that rows of this partition cannot break has none: from program year 2021 on no
    practitioner is too early.
    """
    possible = [*_listed(facts), *_repeated_ids(), *_amounts(facts), *_of_other_years(facts)]
    possible += [*_states(), *_third_parties(), *_moved_products(facts), *_moved_people(facts)]
    possible += _people()
    return [
        damage
        for rule in rules_for(facts)
        for damage in possible
        if damage.rule == rule.name
        and rule.name not in without
        and set(damage.columns) <= facts.layout_columns
    ]


def plan_dirt(
    connection: DuckDBPyConnection, damages: Sequence[Damage], rows: int, share: float
) -> None:
    """Say which rows are dirty and how, in the table ``plan``.

    One row per dirty row: its number ``n``, ``damage`` (position in ``damages``), ``id_of``
    (number of the row whose record id it carries) and what it asks for. Dirty rows are spread
    evenly; rules take turns, and so do the damages of a rule.
    """
    turns = _turns(damages)
    dirty = round(rows * share) if turns else 0
    if dirty and _is_half_a_pair(turns, dirty, damages):
        dirty -= 1
    set_variables(connection, rows=rows, dirty=dirty, turns=len(turns))
    asked = {
        "recipient": "VARCHAR",
        "products": "VARCHAR",
        "nature": "VARCHAR",
        "investigators": "BIGINT",
        "cents": "BIGINT",
        "interest_cents": "BIGINT",
        "repeats_id": "BOOLEAN",
    }
    fill_table(
        connection,
        "damages",
        ({"damage": i, **{x: getattr(d, x) for x in asked}} for i, d in enumerate(damages)),
        **{"damage": "BIGINT", **asked},
    )
    fill_table(
        connection,
        "turns",
        ({"turn": i, "damage": x} for i, numbers in enumerate(turns) for x in numbers),
        turn="BIGINT",
        damage="BIGINT",
    )
    connection.execute(read_sql("plan.sql"))


def damaged(column: str, damages: Sequence[Damage]) -> str | None:
    """Return the SQL of a column with the planned damage done; None when nothing damages it.

    It sees the clean columns by their canonical names, and ``damage``.
    """
    cases = [
        f"WHEN {number} THEN {damage.columns[column]}"
        for number, damage in enumerate(damages)
        if column in damage.columns
    ]
    if not cases:
        return None
    clean = sql_name(column)
    done = f"CASE damage {' '.join(cases)} ELSE {clean} END"
    return f"CASE WHEN damage IS NULL THEN {clean} ELSE {done} END"  # Most rows leave at once.


def _turns(damages: Sequence[Damage]) -> list[list[int]]:
    """Give each rule a turn with its damages, and a row that repeats the one before its own."""
    turns: dict[tuple[str, bool], list[int]] = defaultdict(list)
    for number, damage in enumerate(damages):
        turns[damage.rule, damage.repeats_id].append(number)
    return list(turns.values())


def _is_half_a_pair(turns: Sequence[Sequence[int]], dirty: int, damages: Sequence[Damage]) -> bool:
    following = turns[dirty % len(turns)]
    return damages[following[0]].repeats_id


def _listed(facts: PartitionFacts) -> list[Damage]:
    """Return the damages of ``data/damages.csv``: one column each, a value or an expression."""
    day = timedelta(days=1)
    words = {
        "year": str(facts.program_year),
        "year_before": str(facts.program_year - 1),
        "year_after": str(facts.program_year + 1),
        "day_before_release": f"{facts.release - day:%m/%d/%Y}",
        "day_after_release": f"{facts.release + day:%m/%d/%Y}",
        "iso_release": facts.release.isoformat(),
        "short_release": f"{facts.release:%m/%d/%y}",
    }
    return [
        Damage(
            row["rule"],
            {row["column"]: row["sql"] or _literal(row["value"].format(**words))},
            recipient=row["recipient"] or None,
            products=row["products"] or None,
            nature=row["nature"] or _nature_for(row["recipient"]),
        )
        for row in read_data("damages.csv")
        if int(row["first_program_year"] or 0) <= facts.program_year
        and facts.program_year <= int(row["last_program_year"] or 9999)
    ]


def _nature_for(recipient: str) -> str | None:
    """Return a nature that suits an asked recipient: space is rented from hospitals alone."""
    return FOOD if recipient == "physician" else None


def _literal(value: str) -> str:
    return sql_text(value) if value else EMPTY


def _repeated_ids() -> list[Damage]:
    return [Damage("record_id_unique"), Damage("record_id_unique", repeats_id=True)]


def _amounts(facts: PartitionFacts) -> list[Damage]:
    huge = (100_000_000_01, 120_500_000_00, 9_999_999_999_99)
    if facts.dataset is Dataset.OWNERSHIP:
        nothing = Damage("interest_not_empty", cents=0, interest_cents=0)
    else:
        nothing = Damage("amount_not_zero", cents=0)
    return [nothing, *(Damage("amount_not_huge", cents=cents) for cents in huge)]


def _of_other_years(facts: PartitionFacts) -> list[Damage]:
    """Return natures and forms that CMS uses, but not in this program year."""
    lists = (
        ("nature_in_era", NATURE, "nature_of_payment"),
        ("form_in_era", FORM, "form_of_payment"),
    )
    return [
        Damage(rule, {column: sql_text(value)}, nature=FOOD if column == NATURE else None)
        for rule, column, name in lists
        for value in allowed_values(name)
        if value not in allowed_values(name, facts.program_year)
        and not value.startswith("Space rental")
    ]


def _states() -> list[Damage]:
    """Return states that are none, of recipients in the United States: others need no state."""
    country = {"recipient_country": sql_text("United States")}
    return [
        Damage("state_known", {"recipient_state": sql_text(state), **country})
        for state in ("0R", "ZZ", "Ohio", "--")
    ]


def _third_parties() -> list[Damage]:
    who = "third_party_payment_recipient_indicator"
    name = "name_of_third_party_entity_receiving_payment_or_transfer_of_value"
    is_recipient = "third_party_equals_covered_recipient_indicator"
    nobody = sql_text("No Third Party Payment")
    return [
        Damage("third_party_coherent", {who: sql_text("Entity"), name: EMPTY}),
        Damage("third_party_coherent", {who: nobody, name: sql_text("Northgate Consulting LLC")}),
        Damage("third_party_coherent", {who: nobody, name: EMPTY, is_recipient: sql_text("Yes")}),
    ]


def _moved_products(facts: PartitionFacts) -> list[Damage]:
    slots = dict(product_slots(facts.layout_columns))
    return [
        _moved(MOVING[0], slots[1], slots[later], products="drug") for later in LATER_SLOTS if slots
    ]


def _moved_people(facts: PartitionFacts) -> list[Damage]:
    slots = {
        slot: [name for name in investigator_fields(slot) if name in facts.layout_columns]
        for slot in (1, *LATER_SLOTS)
    }
    return [_moved(MOVING[1], slots[1], slots[later], investigators=1) for later in LATER_SLOTS]


def _people() -> list[Damage]:
    """Return wrong NPIs and types of a first and of a second investigator."""
    npis = ("042697983", "0000000000", "1234567890")
    types = ("Physician", "Covered Recipient Teaching Hospital")
    wrong = (
        ("investigator_npis_valid", "npi", npis),
        ("investigator_types_known", "covered_recipient_type", types),
    )
    return [
        Damage(rule, {f"principal_investigator_{n}_{field}": sql_text(x)}, investigators=n)
        for rule, field, values in wrong
        for x in values
        for n in (1, 2)
    ]


def _moved(rule: str, first: Sequence[str], later: Sequence[str], **asked: Any) -> Damage:
    """Move what stands in the first slot, and in no other, to a later one."""
    moved = {new: sql_name(old) for old, new in zip(first, later, strict=True)}
    return Damage(rule, {**dict.fromkeys(first, EMPTY), **moved}, **asked)
