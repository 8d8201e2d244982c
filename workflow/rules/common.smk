# What the rules share: the typed config, where files lie, and which library files a step depends on.
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

from snakemake.resources import Resource
from snakemake_logger_plugin_slimline.command_line import one_screen, options
from snakemake_logger_plugin_slimline.words import count

from slimline.code_hash import code_hash
from slimline.config.compress import trials_of_round
from slimline.config.dataset import FOLDER
from slimline.config.load import load_cluster, load_experiment
from slimline.config.recipes import recipe_for
from slimline.config.variants import DENSE
from slimline.config.weights import with_digests
from slimline.cpu import let_waiting_threads_sleep
from slimline.errors import SlimlineError
from slimline.files import read_json
from slimline.data.identity import dataset_id, prepared_id, source_fingerprint
from slimline.launch.memory import COPIES_SIDE_BY_SIDE, COPIES_TO_CONVERT, COPIES_TO_OPEN, memory_mb
from slimline.launch.stale_lock import enter
from slimline.search.outcome import compared_pairs, with_outcome

BASE = Path(workflow.basedir)


def read_config():
    """The experiment, its cluster and a digest of its source; or one screen with all that is wrong, and exit code 1."""
    with one_screen():
        clusters = BASE / "config/clusters"
        experiment = load_experiment(config, [Path(file) for file in workflow.configfiles], clusters=clusters)
        experiment = with_digests(experiment)
        return experiment, load_cluster(experiment.cluster, clusters), source_fingerprint(experiment.dataset)


def tried(compress):
    """Every variant that a search may measure, dense among them; none where nothing is searched."""
    if compress is None:
        return set()
    epochs = compress.round_epochs
    rounds = [trials_of_round(compress, epochs, number, None) for number in range(len(epochs))]
    return {DENSE, *(trial.variant for trials in rounds for trial in trials)}


EXPERIMENT, CLUSTER, SOURCE = read_config()
SEEDS = EXPERIMENT.train.seeds
TRIED = tried(EXPERIMENT.compress)
ADDED_CONTROLS = EXPERIMENT.controls.added
TRAINED = [variant for variant in EXPERIMENT.variant_names if EXPERIMENT.trains(variant)]

# Rules are sent to a cluster; `--jobs` beside `--cores` sets the number of nodes too, and sends nothing anywhere.
EXECUTOR = getattr(options(), "executor", None) or "local"
ON_CLUSTER = workflow.resource_settings.nodes is not None and EXECUTOR != "local"
if not ON_CLUSTER and CLUSTER.executor == "local":
    let_waiting_threads_sleep(workflow.resource_settings.cores or 1)


def send_jobs_where_training_goes():
    """Account, partition and the like of the cluster file hold for all rules, unless the profile says otherwise."""
    defaults = workflow.resource_settings.default_resources
    site = {"slurm_account": CLUSTER.account, "slurm_partition": CLUSTER.partition}
    site |= {"qos": CLUSTER.qos, "constraint": CLUSTER.constraint}
    for name, value in site.items():
        if value is not None and name not in defaults:
            # As an expression, quoted: so it is handed on to Snakemake in the job.
            defaults[name] = Resource.from_cli_expression(name, repr(value), with_threads_arg=True)


def refuse_training_on_the_login_node():
    """A `--config` on the command line takes the place of the profile's, and with it goes the name of the cluster."""
    if CLUSTER.executor == "local" and "cluster" not in workflow.config_settings.config:
        raise SlimlineError(
            "Rules would go to a cluster, and training jobs to this machine.",
            where="the profile's `config:`, which `--config` on the command line takes the place of",
            got=f"cluster {CLUSTER.name} (local), executor {EXECUTOR}",
            next_step="add `cluster=slurm` to --config, or `cluster=local` if that is meant",
        )


if ON_CLUSTER:
    with one_screen():
        refuse_training_on_the_login_node()
    send_jobs_where_training_goes()

DATA = f"data/{dataset_id(EXPERIMENT.dataset)}"
PREPARED = f"{DATA}/{prepared_id(EXPERIMENT.dataset)}"
RESULTS = f"results/{EXPERIMENT.experiment}"
LOGS = f"{RESULTS}/logs"
BENCHMARKS = f"{RESULTS}/benchmarks"
RUN = f"{RESULTS}/{{variant}}/seed-{{seed}}"
REPORT = f"{RESULTS}/report.html"
METRICS_CSV = f"{RESULTS}/metrics.csv"
# What comes first of all that is ready: plans, since one may refuse the experiment; then what a search waits for; then
# dense, which all else waits for; then its controls, which take longest of what is left: a long job that starts last
# leaves cores idle; then what takes all cores, which are seldom free at once.
PLAN_PRIORITY, SEARCH_PRIORITY, DENSE_PRIORITY, CONTROL_PRIORITY, LATENCY_PRIORITY = 5, 4, 3, 2, 1


wildcard_constraints:
    seed=r"\d+",
    variant=r"[a-z0-9-]+",


# How to make all of this again. Part of the provenance, so it says nothing that changes from run to run.
# The cluster is no part of it: it is named where a run goes, and decides nothing about the result.
CONFIG_FILES = [os.path.relpath(file) for file in workflow.overwrite_configfiles]
CONFIG_VALUES = [
    f"{key}={value if isinstance(value, str) else json.dumps(value)}"
    for key, value in workflow.config_settings.config.items()
    if key != "cluster"
]
COMMAND = shlex.join(
    [
        *("snakemake", "--cores", "all"),
        *(["--configfile", *CONFIG_FILES] if CONFIG_FILES else []),
        *(["--config", *CONFIG_VALUES] if CONFIG_VALUES else []),
    ]
)


def one_of(names):
    """Regular expression for these variants; it matches nothing when there are none."""
    return "|".join(names) if names else "(?!)"


def names_of(*steps):
    """Regular expression for the variants that these steps make."""
    return one_of([variant for variant in EXPERIMENT.variant_names if EXPERIMENT.step(variant) in steps])


def quantization_aware():
    """Regular expression for the variants that are trained to be quantized."""
    return one_of([variant for variant in EXPERIMENT.by_step("quantize") if EXPERIMENT.trains(variant)])


def files_to_quantize(wildcards):
    """Input function: the float file of the parent, or of the variant itself where it was trained to be quantized."""
    if not EXPERIMENT.trains(wildcards.variant):
        # Nothing is made of a file that cannot be used: the mark of that is in the place of its proof.
        names = {
            "onnx": "model.onnx",
            "report": "export.json",
            "reference": "reference.safetensors",
            "proof": "proof.json",
        }
        return {name: parent_file(file)(wildcards) for name, file in names.items()}
    own = f"{RESULTS}/{wildcards.variant}/seed-{wildcards.seed}"
    return {
        "onnx": f"{own}/float.onnx",
        "report": f"{own}/float.json",
        "reference": f"{own}/reference.safetensors",
        "trained": f"{own}/model.json",
    }


def compared():
    """The experiment that is compared and reported: with a search, its finalists are known once it has ended.

    For inputs only: a param that waits for a checkpoint would be filled with a placeholder.
    """
    if EXPERIMENT.compress is None:
        return EXPERIMENT
    return with_outcome(EXPERIMENT, Path(checkpoints.search.get().output[0]))


def of_compared(file, trained=False):
    """Input function: the file of that name of every variant and seed that is compared, or of those that are trained."""
    return lambda wildcards: per_run(file, compared_pairs(compared(), trained=trained))


def trained_while_searching(wildcards):
    """Input function: what is compared whichever network a search chooses, so that its training need not wait for it.

    That is dense of all seeds, what is declared beside the search, and controls that all networks have in common.
    """
    if EXPERIMENT.compress is None:
        return []
    names = [structure.name for structure in EXPERIMENT.compress.structures]
    outcomes = [compared_pairs(EXPERIMENT.with_finalists([name]), trained=True) for name in names]
    common = [pair for pair in outcomes[0] if all(pair in outcome for outcome in outcomes)]
    # A search over one network may still end without it.
    return per_run("job.json", [(variant, seed) for variant, seed in common if variant not in names])


def outcome_of_search(wildcards):
    """Input function: what the search has chosen; nothing where nothing is searched."""
    return {"search": f"{RESULTS}/search.json"} if EXPERIMENT.compress is not None else {}


def code_of(script):
    """Digest of the library files that a rule's script can reach: its params change when one of them does."""
    return code_hash(BASE / "scripts" / f"{script}.py")


def dumped(model):
    """A config model as plain values under the names that the config file uses."""
    return model.model_dump(mode="json", by_alias=True)


def per_run(file, pairs):
    """The file of that name of every variant and seed in `pairs`."""
    return [f"{RESULTS}/{variant}/seed-{seed}/{file}" for variant, seed in pairs]


def parent_file(file):
    """Input function: the file of that name of the parent at the same seed."""
    return lambda wildcards: f"{RESULTS}/{EXPERIMENT.parent(wildcards.variant)}/seed-{wildcards.seed}/{file}"


def teacher_files(wildcards):
    """Input function: model and weights of the parent at every seed, where all of them teach; nothing else."""
    distil = EXPERIMENT.made[wildcards.variant].distil
    parent = EXPERIMENT.parent(wildcards.variant)
    pairs = [(parent, seed) for seed in SEEDS] if distil.teachers == "seeds" else []
    return per_run("model.json", pairs) + per_run("weights.safetensors", pairs)


def proof_inputs(wildcards):
    """PyTorch's answers that a file is held against, and the float file that a quantized one was made of."""
    variant = wildcards.variant
    if EXPERIMENT.step(variant) != "quantize":
        return {"reference": f"{RESULTS}/{variant}/seed-{wildcards.seed}/reference.safetensors"}
    in_float = files_to_quantize(wildcards)
    return {"reference": in_float["reference"], "parent_report": in_float["report"]}


def parent_to_time(wildcards):
    """The file that a variant was made of, proved, to be timed in turns with it; none for `dense`."""
    if EXPERIMENT.parent(wildcards.variant) is None:
        return {}
    return {"parent": parent_file("model.onnx")(wildcards), "parent_proof": parent_file("proof.json")(wildcards)}


def step_of(wildcards):
    """The settings of a variant's own step."""
    variant = EXPERIMENT.made[wildcards.variant]
    return dumped(getattr(variant, variant.step))


def recipe_of(variant):
    """The recipe of a variant's training jobs, without the list of seeds: one more is no reason to train the others."""
    return recipe_for(EXPERIMENT, variant).model_dump(mode="json", exclude={"seeds"})


def teacher_plan(variant):
    """What the plan has to know of a variant's teachers; None where labels alone teach."""
    if not EXPERIMENT.is_taught(variant):
        return None
    distil = EXPERIMENT.made[variant].distil
    return {
        "model": dumped(EXPERIMENT.model_of(EXPERIMENT.parent(variant))),
        "number": len(SEEDS) if distil and distil.teachers == "seeds" else 1,
        "feature_weight": distil.feature_weight if distil else 0.0,
    }


def comes_first(wildcards):
    """Priority: of what a search waits for, of dense, of controls: the length of the run hangs on them."""
    if wildcards.variant in TRIED and int(wildcards.seed) == SEEDS[0]:
        return SEARCH_PRIORITY
    if wildcards.variant == DENSE:
        return DENSE_PRIORITY
    return CONTROL_PRIORITY if wildcards.variant in ADDED_CONTROLS else 0


def quantized_to(wildcards):
    """Type that a variant was quantized to; None for others."""
    is_quantized = EXPERIMENT.step(wildcards.variant) == "quantize"
    return EXPERIMENT.made[wildcards.variant].quantize.dtype if is_quantized else None


def prediction_batch():
    """Images of a run of `predict`: of more than 90 x 90 pixels fewer, which take no more memory."""
    return max(1, min(256, 2**21 // EXPERIMENT.dataset.image_side_px**2))


def memory_for(copies, at_least, *names):
    """Resource: megabytes of a rule that has so many copies of these of its inputs in memory."""

    def mem_mb(wildcards, input):
        return memory_mb([input.get(name) for name in names if input.get(name)], copies, at_least)

    return mem_mb


def machine_cores():
    """Cores where a rule runs, which are those of a node if rules are sent to a cluster."""
    cores_here = None if ON_CLUSTER else workflow.resource_settings.cores
    return cores_here or CLUSTER.cpus_per_node


def training_threads(wildcards):
    """Cores a training job takes from this machine; on a cluster its rule only waits.

    All of them where it has GPUs: each job counts its GPUs from the first one on, so one follows the other.
    """
    if CLUSTER.executor == "slurm":
        return 1
    cores = CLUSTER.cpus_per_task * EXPERIMENT.train.ranks
    return max(cores, workflow.resource_settings.cores or 1) if CLUSTER.gpus_per_node else cores


def take_over():
    """Frees the working directory from the lock of a run that was killed, and notes that this one is here."""
    if enter(runs=not workflow.output_settings.dryrun):
        print("slimline: the run before this one was killed; its lock is removed.", file=sys.stderr)


def announce():
    """Says where things will run, since a misspelt workflow profile is silently ignored."""
    # How many a search will add is known when it has ended.
    known = EXPERIMENT if EXPERIMENT.compress is None else EXPERIMENT.with_finalists([])
    variants, seeds = count(len(known.variant_names), "variant"), count(len(SEEDS), "seed")
    if EXPERIMENT.compress is not None:
        variants += f" and a search over {count(len(EXPERIMENT.compress.structures), 'structure')}"
    print(
        f"slimline: experiment {EXPERIMENT.experiment}, {variants}, {seeds}.\n"
        f"Training jobs go to cluster {CLUSTER.name} ({CLUSTER.executor}), other rules to executor {EXECUTOR}.",
        file=sys.stderr,
        flush=True,
    )


def conclude():
    """Prints the verdict where the report was asked for: after another target it may be of an earlier config."""
    targets = getattr(options(), "targets", None) or ["all"]
    if not {"all", "report", REPORT}.isdisjoint(targets) and Path(REPORT).exists():
        subprocess.run([sys.executable, "-m", "slimline.evaluation.verdict", f"{RESULTS}/metrics.json"], check=False)
        print(f"Report: {REPORT}", flush=True)
