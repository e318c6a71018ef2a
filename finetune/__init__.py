"""From repositories to a tuned model: `finetune.data` prepares the corpus, `train.py` tunes on it."""
