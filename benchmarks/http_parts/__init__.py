"""The processes that over_http.py runs beside each other: load, service, bare engine, null."""
