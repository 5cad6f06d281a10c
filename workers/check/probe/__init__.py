"""What runs on each side, in its own interpreter: plain files that need torch and the standard library alone."""
