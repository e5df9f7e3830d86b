"""The puller: it keeps one verified version of a bundle live below a root, and nothing else.

It reads the store and never writes to it. See ``sync.py`` for the whole pull in one page.
"""
