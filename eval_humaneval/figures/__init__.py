"""From samples to figures, tables and pages."""
