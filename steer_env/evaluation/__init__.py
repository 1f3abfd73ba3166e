"""Play policies on suites, and turn the traces into tables, plots and reports."""
