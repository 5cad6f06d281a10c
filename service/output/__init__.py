"""Reports as files: Markdown, one HTML page, CSV and SVG. Everything here reads the report's JSON and nothing else."""
