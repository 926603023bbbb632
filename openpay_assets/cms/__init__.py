"""The publisher: what CMS offers, how its files are named, fetched and read; and a simulator of it.

Belongs here: everything that knows CMS's site or bytes. Does not belong: what rows mean
(contracts), where they are kept (lake).
"""
