"""What runs inside Airflow's own processes. Importing this costs nothing beyond the standard library.

Everything here needs Airflow only where it is used, and none of it runs in the sidecar.
"""
