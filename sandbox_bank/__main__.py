"""``python -m sandbox_bank``: the command of the sandbox bank."""

from sandbox_bank.cli import main

if __name__ == "__main__":
    main(prog_name="python -m sandbox_bank")
