"""Run untrusted programs and judge them: judge pool -> judge -> sandbox -> worker -> bubblewrap."""
