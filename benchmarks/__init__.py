"""Performance, measured as ratios side by side in one run: seconds differ between machines."""
