"""The dashboard: server-rendered pages over the use cases, small modules of script, charts from aggregated JSON."""
