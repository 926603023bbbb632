"""What a contract is made of: columns with a type and a meaning, tables, layouts.

Values only; nothing here reads a file or knows an engine. Each conversion to an engine's types
imports that engine when called.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ibis.expr.datatypes as dt
    import ibis.expr.schema as sch
    import pyarrow as pa


class Dataset(StrEnum):
    """The three kinds of records that CMS publishes."""

    GENERAL = "general"
    RESEARCH = "research"
    OWNERSHIP = "ownership"


class ColumnType(StrEnum):
    """Types that a contract may use; every engine and file format has one for each.

    ``money`` is not negative; ``signed_money``, a difference of money, may be.
    """

    TEXT = "text"
    MONEY = "money"
    SIGNED_MONEY = "signed_money"
    """Money that may be negative: differences."""
    DATE = "date"
    INTEGER = "integer"
    YEAR = "year"
    NUMBER = "number"
    BOOLEAN = "boolean"
    TEXTS = "texts"
    TEXT_MAP = "text_map"

    def to_ibis(self) -> dt.DataType:
        """Return the Ibis type; money is DECIMAL(18,2), never a float."""
        import ibis.expr.datatypes as dt

        return dt.dtype(_IBIS_TYPES[self])

    def to_arrow(self) -> pa.DataType:
        """Return the Arrow type that Iceberg and Parquet hold."""
        import pyarrow as pa

        return {
            ColumnType.TEXT: pa.string(),
            ColumnType.MONEY: pa.decimal128(18, 2),
            ColumnType.SIGNED_MONEY: pa.decimal128(18, 2),
            ColumnType.DATE: pa.date32(),
            ColumnType.INTEGER: pa.int64(),
            ColumnType.YEAR: pa.int32(),
            ColumnType.NUMBER: pa.float64(),
            ColumnType.BOOLEAN: pa.bool_(),
            ColumnType.TEXTS: pa.list_(pa.field("element", pa.string())),
            ColumnType.TEXT_MAP: pa.map_(pa.string(), pa.string()),
        }[self]


_IBIS_TYPES = {
    ColumnType.TEXT: "string",
    ColumnType.MONEY: "decimal(18, 2)",
    ColumnType.SIGNED_MONEY: "decimal(18, 2)",
    ColumnType.DATE: "date",
    ColumnType.INTEGER: "int64",
    ColumnType.YEAR: "int32",
    ColumnType.NUMBER: "float64",
    ColumnType.BOOLEAN: "boolean",
    ColumnType.TEXTS: "array<string>",
    ColumnType.TEXT_MAP: "map<string, string>",
}


@dataclass(frozen=True)
class Column:
    """One column: its name has the same meaning in every table that carries it."""

    name: str
    type: ColumnType
    required: bool
    description: str
    pattern: str = ""
    values: str = ""
    is_key: bool = False


@dataclass(frozen=True)
class Table:
    """A table of the lake: ``zone.name``, its columns in order, its key."""

    name: str
    columns: tuple[Column, ...]

    @property
    def zone(self) -> str:
        """The part before the dot: staging, quarantine or curated."""
        return self.name.split(".")[0]

    @property
    def column_names(self) -> list[str]:
        """Names in order."""
        return [column.name for column in self.columns]

    @property
    def key(self) -> list[str]:
        """Columns that identify a row."""
        return [column.name for column in self.columns if column.is_key]

    def column(self, name: str) -> Column:
        """Return one column; ``KeyError`` when the table has none of that name."""
        return {column.name: column for column in self.columns}[name]

    def to_ibis(self) -> sch.Schema:
        """Return the table as an Ibis schema."""
        import ibis

        return ibis.schema({c.name: c.type.to_ibis() for c in self.columns})

    def to_arrow(self) -> pa.Schema:
        """Return the table as an Arrow schema; every field is nullable, checks say what is not."""
        import pyarrow as pa

        return pa.schema([pa.field(c.name, c.type.to_arrow()) for c in self.columns])


class OrderedHeader:
    """What layouts of any file share: the exact order of the columns, and what each means."""

    columns: tuple[tuple[str, str], ...]
    """The CMS name and the canonical name of each, in file order."""

    @property
    def header(self) -> list[str]:
        """CMS column names in file order."""
        return [source for source, _ in self.columns]

    @property
    def source_of(self) -> dict[str, str]:
        """CMS column name by canonical name."""
        return {canonical: source for source, canonical in self.columns}


@dataclass(frozen=True)
class Layout(OrderedHeader):
    """A header of a payment file.

    A layout depends on the program year and the release, never on the program year alone.
    """

    dataset: Dataset
    name: str
    columns: tuple[tuple[str, str], ...]
    first_program_year: int
    last_program_year: int | None
    first_release: str
    last_release: str | None
    inferred: bool
    evidence: str = field(compare=False)

    def covers(self, program_year: int, release: str) -> bool:
        """Whether CMS published this program year in this layout at this release (ISO day)."""
        return self.first_program_year <= program_year <= (
            self.last_program_year or program_year
        ) and self.first_release <= release <= (self.last_release or release)
