"""Contracts: what every table must be, as data files and rules.

Belongs here: columns, types, meanings, layouts, allowed values, rules, and what is made from
them (Pandera schemas, documentation). Does not belong: how rows are moved or where they lie.
"""
