"""The lake: zones and paths, Iceberg tables and commits, raw files, audits and manifests.

Belongs here: what is kept and when it becomes visible. Does not belong: what is computed, or
which engine computed it.
"""
