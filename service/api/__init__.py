"""The REST interface: routes over the use cases, and the one file that turns errors into HTTP."""
