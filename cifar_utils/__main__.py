"""`python -m cifar_utils`: the command line, see `apps.cli`."""

from cifar_utils.apps.cli import main

if __name__ == "__main__":
    main(prog_name="python -m cifar_utils")
