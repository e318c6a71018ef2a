"""Clean documents: filters, redaction, decontamination, near-duplicates. steps.py has their order."""
