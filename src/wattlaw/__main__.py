"""``python -m wattlaw`` is ``wattlaw``."""

from wattlaw.cli.main import main

main()
