"""`python -m fastwsh.record`."""

from fastwsh.process import interrupts

with interrupts.EndingAtInterrupts():
    from fastwsh.record.program import main

if __name__ == "__main__":
    interrupts.exit_with(main)
