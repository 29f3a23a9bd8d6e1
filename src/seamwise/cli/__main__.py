"""`python -m seamwise.cli`, which is `seamwise`."""

from seamwise.cli import main

if __name__ == "__main__":
    main()
