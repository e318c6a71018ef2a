"""The commands that users were promised by these paths. Each imports one `main` and calls it."""
