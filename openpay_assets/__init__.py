"""openpay: CMS Open Payments as a Dagster lakehouse."""

__version__ = "0.1.0"
