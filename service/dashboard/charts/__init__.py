"""Data of charts: small, aggregated JSON that `static/js/chart.js` draws. Each chart names its estimator and source."""
