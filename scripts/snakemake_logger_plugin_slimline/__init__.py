"""What the terminal shows of a run: Snakemake finds this logger by the name of the package.

One line per finished job instead of pages; all details stay in Snakemake's own log under .snakemake/log.
`logger: slimline` in profiles/default switches it on.
"""

from snakemake_logger_plugin_slimline.handler import LogHandler

__all__ = ["LogHandler"]
