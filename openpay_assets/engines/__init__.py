"""Engines: where an Ibis expression runs and becomes Parquet files.

Belongs here: one module an engine, all with the same four operations. Does not belong: what is
computed (transforms) or when files become visible (lake).
"""
