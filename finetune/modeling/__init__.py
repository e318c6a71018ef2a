"""The model in training: its base, packed attention, loss, and the merge of what was trained."""
