"""The gate for changes to an optimizer: a candidate's code against a baseline's (`python -m workers.check`)."""
