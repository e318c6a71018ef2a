"""What scripts/replay_story.py is made of: steps.py says what is done, pipeline.py does it."""
