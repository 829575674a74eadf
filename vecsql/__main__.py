"""python -m vecsql: the command line."""

from vecsql._cli import main

if __name__ == "__main__":
    main(prog_name="vecsql")
