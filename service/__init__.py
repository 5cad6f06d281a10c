"""Tangent's service: the ledger, the coordinator, the API and the command line. Imports neither torch nor workers."""
