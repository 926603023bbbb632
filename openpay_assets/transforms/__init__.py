"""Transforms: pure functions from Ibis tables to Ibis tables.

Belongs here: what a zone computes, in expressions that every engine runs alike. Does not belong:
files, engines, Dagster.
"""
