"""A simulator of CMS: payment files as CMS publishes them, in any layout, of any size.

Made-up people, companies and studies with CMS's names, bytes, values and habits; the same
arguments give the same bytes. A chosen share of rows is dirty, each in one known way, and a
JSON file beside every CSV says what a correct reader must find. ``site`` and ``server`` publish
the files as CMS does: catalog, query API, downloads.
"""

from openpay_assets.cms.simulator.expected import expected_changes
from openpay_assets.cms.simulator.simulation import SimulatedFile, simulate
from openpay_assets.cms.simulator.site import catalog

__all__ = ["SimulatedFile", "catalog", "expected_changes", "simulate"]
