"""Dagster, thin: what runs, when, and with which resources.

Belongs here: assets, checks, IO managers, resources, jobs. Does not belong: what is computed
(transforms, engines) or how it is kept (lake). Nothing outside this folder, ``definitions`` and
the command line imports Dagster.
"""
