"""The dashboard's routes, one module for each kind of page."""
