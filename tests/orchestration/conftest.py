"""One lake for every test of the orchestration, with a good state of a partition of each dataset."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cms_files import COMPANY, COVERED, KIND, NAME, Row, era, hospital
from house import Base, House

GENERAL_ROWS = 60

SECOND_PRODUCT: Row = {
    f"{NAME}_2": "Ozempic",
    f"{KIND}_2": "Drug",
    f"{COVERED}_2": "Covered",
    "amount": "100.01",
}
QUARANTINED: Row = {"amount": "1E+05", f"{COMPANY}_id": "1E+11"}
LARGE: Row = {"amount": "25000000.00"}
WARNED: Row = {"recipient_state": "0R", "recipient_zip_code": "-"}


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Base]:
    """A lake with one release of three partitions: what was run, and what can be read."""
    general, research, ownership = (era(name, 2023) for name in ("G4", "R4", "O4"))
    house = House(tmp_path_factory.mktemp("house"))
    rows = [SECOND_PRODUCT, hospital(general), QUARANTINED, WARNED, WARNED, LARGE]
    house.publish(general, [*rows, *[{}] * (GENERAL_ROWS - len(rows))])
    house.publish(research, [{"principal_investigator_2_last_name": "BOHR"}, {}])
    house.publish(ownership, [{}, {}, {}])
    eras = {"general": general, "research": research, "ownership": ownership}
    runs = {name: house.run(f"{name}|2023") for name in eras}
    for run in runs.values():
        assert run.success, run.failures
    zones = ("staging", "quarantine", "curated")
    read = {name: house.contents(f"{name}|2023", zones=zones) for name in eras}
    yield Base(house, eras, runs, read)
    house.close()


@pytest.fixture(scope="session")
def house(base: Base) -> House:
    """The lakehouse itself."""
    return base.house
