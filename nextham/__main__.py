"""``python -m nextham`` is the command ``nextham``."""

from nextham.cli import main

main()
