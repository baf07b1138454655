"""Run folders, recipes and parameters."""
