"""What the inspector costs: instructions per message without and with `--inspect`.

    python3 benches/inspector.py

Counts as `instructions.py` does, and needs what that needs.
"""

from instructions import count


def main() -> None:
    """Count twice, and print both."""
    without, inspected = count(), count("--inspect")
    print("Instructions per message without and with --inspect:")
    for name, counts in without.items():
        more = inspected[name]["all"]
        print(f"  {name:32} {counts['all']:10,.0f} {more:10,.0f}  x {more / counts['all']:.2f}")


if __name__ == "__main__":
    main()
