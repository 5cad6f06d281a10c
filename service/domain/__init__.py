"""Plain Python: what a study, an arm, a trial and a verdict are. No I/O, no clock, no torch."""
