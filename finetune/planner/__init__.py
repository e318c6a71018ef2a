"""What a recipe needs on a card, on the host and on the disk: `finetune/train.py --dry-run`."""
