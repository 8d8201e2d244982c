# The whole chain, from a dataset to a report: `snakemake --cores 4`.
# Another experiment: `snakemake --cores 4 --configfile config/fashion-mnist.yaml`.
# On a cluster: `snakemake --profile slurm`.
from pathlib import Path

from snakemake.utils import min_version
from snakemake_logger_plugin_slimline.command_line import one_screen

from slimline.config.load import read_yaml

min_version("9.27")

# A config given on the command line replaces the embedded default. Snakemake would merge the two, and the
# default's variants would turn up in an experiment that never named them.
if not workflow.overwrite_configfiles:
    with one_screen():  # Snakemake has no clear one for a broken file
        read_yaml(Path("config/config.yaml"))

    configfile: "config/config.yaml"


include: "workflow/rules/common.smk"


localrules:
    all,
    plan,


rule all:
    default_target: True
    input:
        REPORT,
        METRICS_CSV,


include: "workflow/rules/data.smk"
include: "workflow/rules/plan.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/compress.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/targets.smk"


if EXPERIMENT.compress is not None:

    include: "workflow/rules/search.smk"


if workflow.is_main_process:
    take_over()
    announce()


onsuccess:
    conclude()
