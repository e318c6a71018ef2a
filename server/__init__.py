"""The completion service: HTTP in, prompt, engine, filters, HTTP out."""
