"""Decides which tokens a local engine computes in each step, and runs the steps in a worker process.

Nothing here imports torch or OpenVINO.
"""
