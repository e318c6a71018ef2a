"""Plan what a recipe needs on cards, host and disk: `finetune/train.py --dry-run`."""
