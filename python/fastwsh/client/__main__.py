"""`python -m fastwsh.client`."""

from fastwsh.process import interrupts

with interrupts.EndingAtInterrupts():
    from fastwsh.client.program import main

if __name__ == "__main__":
    interrupts.exit_with(main)
