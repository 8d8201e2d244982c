# The whole chain, from a dataset to a report: `snakemake --cores 4`.
# Another experiment: `snakemake --cores 4 --configfile config/fashion-mnist.yaml`.
# On a cluster: `snakemake --profile slurm`.
from snakemake.utils import min_version

min_version("9.19")

# A config given on the command line replaces the embedded default. Snakemake would merge the two, and the
# default's variants would turn up in an experiment that never named them.
if not workflow.overwrite_configfiles:

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


if workflow.is_main_process:
    options = command_line()
    take_over(options)
    announce(options.executor or "local")


onsuccess:
    conclude()
