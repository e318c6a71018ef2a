"""Recall and false alarms of the rules that find secrets; `python -m bench secrets`."""
