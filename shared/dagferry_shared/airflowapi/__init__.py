"""A small client of Airflow's REST API, 3.x and 2.11, for both sides; standard library only.

Nothing is imported here: ``http`` costs 4 MiB, so a puller that is not told of an Airflow must not load it.
"""
