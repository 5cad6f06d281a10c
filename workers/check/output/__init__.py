"""A check's report as a person or a program reads it: terminal, Markdown, JUnit, JSON. Pure functions of the report."""
