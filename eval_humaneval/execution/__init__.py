"""Running strangers' programs and judging them: judge -> sandbox -> worker -> bubblewrap -> the program."""
