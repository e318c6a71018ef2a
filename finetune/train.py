"""Tune a model on a corpus. This file has the whole course: parse, load, loop, evaluate, save, export.

    deepspeed finetune/train.py --config finetune/configs/smoke.yaml [key=value ...]
    python finetune/train.py --config finetune/configs/codegen-2b-vue-full.yaml --dry-run

The first command trains on every card of this machine (`--num_gpus 2` for two cards, `--hostfile` for several
machines). The second prints the memory plan: which settings fit which cards. After a kill, the same command
resumes the run at its last checkpoint.
"""

import math
import os
import sys
import warnings
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if sys.path and Path(sys.path[0]).resolve() == ROOT / "finetune":
    sys.path[0] = str(ROOT)  # launched by path: Python would look for `finetune` inside finetune/

# The imports below read these: no usage statistics are sent, not every process draws bars, and DeepSpeed does
# not look for a GPU on a machine without one.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("DEEPSPEED_LOG_LEVEL", "warning")

import torch  # noqa: E402

if not torch.cuda.is_available():
    os.environ.setdefault("DS_ACCELERATOR", "cpu")

import datasets  # noqa: E402
import deepspeed  # noqa: E402
import transformers  # noqa: E402
from deepspeed import comm  # noqa: E402
from transformers.integrations.deepspeed import HfDeepSpeedConfig  # noqa: E402

from acepilot.cli import program, text_console  # noqa: E402
from acepilot.errors import ConfigError  # noqa: E402
from acepilot.models.registry import CURRENT  # noqa: E402
from acepilot.models.resolve import resolve  # noqa: E402
from acepilot.settings import home  # noqa: E402
from finetune.export import Exported, export_run  # noqa: E402
from finetune.modeling.base_model import TINY, base_folder  # noqa: E402
from finetune.modeling.loss_model import DTYPES, LossModel, load_model  # noqa: E402
from finetune.modeling.tiny import make_tiny_corpus  # noqa: E402
from finetune.planner.memory_report import print_plan  # noqa: E402
from finetune.training.batches import Rows, check_tokenizer, corpus_hash, indices_of  # noqa: E402
from finetune.training.checkpoint import load_checkpoint, save_checkpoint, save_weights  # noqa: E402
from finetune.training.config import TrainConfig, load_config  # noqa: E402
from finetune.training.heldout import ALL, held_out_losses  # noqa: E402
from finetune.training.launch import all_reduced, deepspeed_config, join_processes, resolved_precision  # noqa: E402
from finetune.training.metrics import ProgressReporter, peak_flops  # noqa: E402
from finetune.training.run_folder import (  # noqa: E402
    RunState,
    find_resume_point,
    log_loss,
    truncate_loss_log,
    write_recipe,
)
from finetune.training.stability import StabilityGuard  # noqa: E402


@program(resumes=True)
def main() -> int:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--config", type=Path, required=True, help="the recipe, e.g. finetune/configs/smoke.yaml")
    add("--dry-run", action="store_true", help="print the plan for memory and disk, and train nothing")
    add("--local_rank", type=int, default=-1, help="set by the deepspeed launcher")
    add("overrides", nargs="*", metavar="key=value", help="overrides of the recipe, e.g. zero.stage=3")
    arguments = parser.parse_args()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    # The user cannot act on deprecations inside the libraries; in the tests our own are errors.
    warnings.simplefilter("ignore", FutureWarning)
    config = load_config(arguments.config, arguments.overrides)
    if arguments.dry_run:
        print_plan(config, text_console())
        return 0
    exported = train(config, arguments.local_rank)
    if exported is not None:
        print(f"The tuned model is in {exported.folder}", file=sys.stderr)
        if exported.gguf_folder:
            print(f"Serve it: python -m server --model {exported.gguf_folder}", file=sys.stderr)
    return 0


def train(config: TrainConfig, local_rank: int) -> Exported | None:
    """Run a recipe and export the model; return it in the first process, None in the others."""
    if config.threads:
        torch.set_num_threads(config.threads)
    if config.model == CURRENT:  # a promotion during the run must not change the run's base
        config = config.model_copy(update={"model": resolve(CURRENT).name})
    device = join_processes(local_rank)
    rank, world_size = comm.get_rank(), comm.get_world_size()
    precision = resolved_precision(config, device)
    dtype = DTYPES[precision]

    # ---- load. The first process fetches and converts; the others then find the files.
    corpus = home() / "cache" / "training" / "tiny-corpus" if config.corpus == TINY else Path(config.corpus)
    if rank == 0:
        if config.corpus == TINY:
            make_tiny_corpus(corpus)
        base_folder(config.model, config.revision)
        Rows(corpus, "train", config.sequence_tokens)
    comm.barrier()
    base = base_folder(config.model, config.revision)
    train_rows = Rows(corpus, "train", config.sequence_tokens)
    heldout_rows = Rows(corpus, "heldout", config.sequence_tokens)
    heldout = heldout_rows.by_language(config.eval_rows)
    if config.watch not in {ALL, *heldout}:
        raise ConfigError(
            f"watch={config.watch} is not held out: choose all, {', '.join(heldout)}.", field="watch"
        )
    check_tokenizer(corpus, base)
    data_hash = corpus_hash(corpus)
    resume_point = find_resume_point(config.output, config, world_size, data_hash)

    settings = deepspeed_config(config, precision, world_size=world_size, on_cuda=device.type == "cuda")
    # While this object exists, transformers loads only each process's part of the weights.
    zero3 = HfDeepSpeedConfig(settings) if config.zero.stage == 3 else None
    torch.manual_seed(config.seed)  # every process must start with the same adapters
    model = load_model(base, config, dtype)
    flops_a_token = _flops_a_token(model, config)
    groups: Any = _groups(model, config)
    engine: Any = deepspeed.initialize(model=model, model_parameters=groups, config=settings)[0]
    del zero3

    state = RunState()
    if resume_point:
        load_checkpoint(engine, config.output, resume_point)
        state = resume_point.state
    if rank == 0:
        write_recipe(config.output, config, corpus)
        truncate_loss_log(config.output, state.step)

    # ---- loop
    reporter = ProgressReporter(
        config, is_first=rank == 0, flops_a_token=flops_a_token, peak=peak_flops(device, dtype) * world_size
    )
    guard = StabilityGuard(config.max_skipped_steps)
    samples_a_step = config.micro_batch * config.accumulation * world_size
    with reporter:
        reporter.log(
            f"{config.model} · {config.method} · {precision} · ZeRO-{config.zero.stage} · {world_size} "
            f"process(es) on {device.type} · {len(train_rows)} rows of {config.sequence_tokens} tokens, "
            f"{samples_a_step} a step"
        )
        if resume_point:
            reporter.log(f"resuming after step {state.step} of {config.output}")
        else:
            state.first_losses = held_out_losses(engine, heldout_rows, heldout, device)
            reporter.held_out(0, state.first_losses)
        engine.train()
        reporter.reset_clock()
        while state.step < config.steps and not state.finished:
            # Randomness depends on seed, step and process alone, so that a resumed run repeats it.
            torch.manual_seed(hash((config.seed, state.step, rank)) % 2**63)
            first = state.step * samples_a_step + rank * config.micro_batch
            starts = range(first, first + samples_a_step, config.micro_batch * world_size)
            batches = [
                train_rows.batch(indices_of(start, config.micro_batch, len(train_rows), config.seed))
                for start in starts
            ]
            (step_tokens,) = all_reduced([sum(batch.loss_tokens for batch in batches)], device)
            rate = learning_rate(config, state.step)
            for group in engine.optimizer.param_groups:
                group["lr"] = rate
            skipped_before = engine.skipped_steps
            loss_sum = 0.0
            for batch in batches:
                on_device = batch.to(device)
                total, _ = engine(on_device.input_ids, on_device.position_ids, on_device.labels)
                # DeepSpeed averages over processes and accumulation; the factor makes it a mean over tokens.
                engine.backward(total * (world_size * config.accumulation / max(step_tokens, 1.0)))
                engine.step()
                loss_sum += float(total.detach())
            loss = all_reduced([loss_sum], device)[0] / max(step_tokens, 1.0)
            norm = float(engine.get_global_grad_norm() or 0.0)
            state.step += 1
            state.tokens += int(step_tokens)
            guard.check(state.step, loss=loss, norm=norm, was_skipped=engine.skipped_steps > skipped_before)
            reporter.step(state.step, loss=loss, rate=rate, norm=norm, tokens=int(step_tokens), device=device)
            if rank == 0:
                log_loss(config.output, state.step, loss)

            # ---- evaluate and save
            is_last = state.step == config.steps
            if state.step % config.eval_every == 0 or is_last:
                state.last_losses = held_out_losses(engine, heldout_rows, heldout, device)
                reporter.held_out(state.step, state.last_losses)
                if state.last_losses[config.watch] < state.best_losses.get(config.watch, math.inf):
                    state.best_losses, state.best_step = state.last_losses, state.step
                    state.evaluations_since_best = 0
                    save_weights(engine, config.output, "best", state)
                else:
                    state.evaluations_since_best += 1
                if config.patience and state.evaluations_since_best >= config.patience:
                    reporter.log(
                        f"{config.patience} held-out losses without a new best: stopping at step {state.step}"
                    )
                    is_last = True
                reporter.reset_clock()
            if state.step % config.save_every == 0 or is_last:
                state.finished = is_last
                save_checkpoint(engine, config.output, config, state, data_hash)
                reporter.reset_clock()
        save_weights(engine, config.output, "last", state)
    comm.destroy_process_group()  # NCCL warns about a process that exits without this
    if rank != 0:
        return None
    del engine, model  # make room: the export loads the base model and the tuned weights
    return export_run(config.output)


def learning_rate(config: TrainConfig, step: int) -> float:
    """Return the rate of a step: linear warm-up, then a cosine down to `final_rate_ratio` of the peak."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(config.steps - config.warmup_steps, 1)
    lowest = config.learning_rate * config.final_rate_ratio
    return lowest + (config.learning_rate - lowest) * (1 + math.cos(math.pi * done)) / 2


def _groups(model: LossModel, config: TrainConfig) -> list[dict[str, Any]]:
    """Return the trained weights in two groups: matrices with weight decay, biases and norms without."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    # Under ZeRO-3 a weight is an empty placeholder; `ds_shape` is its real shape.
    matrices = [weight for weight in trained if len(getattr(weight, "ds_shape", weight.shape)) > 1]
    others = [weight for weight in trained if len(getattr(weight, "ds_shape", weight.shape)) <= 1]
    groups = (matrices, config.weight_decay), (others, 0.0)
    return [{"params": weights, "weight_decay": decay} for weights, decay in groups if weights]


def _flops_a_token(model: LossModel, config: TrainConfig) -> float:
    weights = sum(int(getattr(weight, "ds_numel", weight.numel())) for weight in model.parameters())
    return (6.0 if config.method == "full" else 4.0) * weights


if __name__ == "__main__":
    sys.exit(main())
