"""From documents to clean documents: filters, redaction, decontamination, near-duplicates."""
