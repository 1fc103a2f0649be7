"""Check that every kind of model computes the same on a device as on the CPU in float64.

    python scripts/check_device.py cpu|cuda|fake [--variants NAME ...]
    python scripts/check_device.py cpu|cuda --patterns [--variants NAME ...]

For each variant in tests/models/variants.py, in fp32 and in bf16, the script compares the losses and gradients of a
training step, forced targets, greedy search and beam search. Of a search it compares scores and not texts, because
hypotheses with equal scores may come in any order: each score is compared with that of the same text forced in float64
and, in fp32, with the score at the same place of a search in float64. Then the model trains with dropout and R-Drop,
and the CPU must not wait for the GPU meanwhile. `cpu` compares float32 and bf16 on the CPU. TF32, which cuDNN's RNNs
use for fp32 by default, is switched off.

`--patterns` compares, instead of models, attention patterns by FlexAttention with their dense form, in values and
gradients, and measures the time of both at lengths from 512 to 16,384: see benchmarks/pattern_kernels.py.

`fake` needs no GPU, only a build of torch with CUDA: see benchmarks/fake_tensors.py.

Prints one line per variant, with the largest differences as fractions of what is allowed. Exits with 1 if one failed.
"""

from __future__ import annotations

import math
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from benchmarks import pattern_kernels
from benchmarks.fake_tensors import go_through
from torch import Tensor, nn

from nmt.cli.common import Parser, run_command
from nmt.config.schema import PRECISIONS, SearchConfig
from nmt.data.batch import collate
from nmt.data.tokenizer import EOS
from nmt.device import autocast, choose_device, describe_hardware
from nmt.errors import NmtError, UsageError
from nmt.inference.engines.native import NativeEngine
from nmt.models.build import build_model
from nmt.models.seq2seq import Seq2Seq
from nmt.search.penalties import LengthPenalty
from nmt.training.loss import batch_loss

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.models.variants import VARIANTS, VOCABULARY, tiny_model

CPU = torch.device("cpu")
LENGTHS = ((5, 5), (12, 1), (1, 12), (9, 7), (3, 8), (10, 10))  # source and target lengths, without the end of sentence
SMOOTHING, COVERAGE = 0.1, 0.2


class Limits(NamedTuple):
    """The largest allowed differences between results in a precision and those in float64."""

    loss: float  # relative
    gradient: float  # norm of the difference over the norm of the gradient, for each weight
    log_prob: float  # log-probability of a token or score of a hypothesis, in nats


LIMITS: dict[PRECISIONS, Limits] = {"fp32": Limits(1e-5, 1e-3, 1e-4), "bf16": Limits(0.02, 0.5, 0.1)}


class Difference(NamedTuple):
    """The difference between a result and the same result in float64, with the largest allowed one."""

    what: str
    size: float
    limit: float

    @property
    def share(self) -> float:
        """The difference as a fraction of what is allowed; infinite if it is not a number."""
        return math.inf if math.isnan(self.size) else self.size / self.limit

    def __str__(self) -> str:
        return f"{self.what} by {self.size:.2g} (at most {self.limit:g})"


def sentences(side: int) -> list[list[int]]:
    """Return random ids with the lengths of one side (0: source, 1: target) of LENGTHS."""
    generator = torch.Generator().manual_seed(side)
    return [[*torch.randint(4, VOCABULARY, (pair[side],), generator=generator).tolist(), EOS] for pair in LENGTHS]


SOURCES, TARGETS = sentences(0), sentences(1)


def check(name: str, device: torch.device) -> str:
    """Compare a variant with float64 and return its largest differences; raise NmtError if they are too large."""
    nearest: list[str] = []
    too_far: list[Difference] = []
    for precision, limits in LIMITS.items():
        exact, model = (without_dropout(make_model(name, precision)) for _ in range(2))
        exact, model = exact.double(), model.to(device)
        differences = [
            *of_training(model, exact, device, precision, limits),
            *of_forcing(model, exact, precision, limits),
            *of_search(model, exact, precision, limits),
        ]
        nearest.append(f"{precision} {max(difference.share for difference in differences):.2g}")
        too_far += [each._replace(what=f"{precision} {each.what}") for each in differences if each.share > 1]
        train_without_waiting(name, device, precision)
    if too_far:
        worst = sorted(too_far, key=lambda difference: -difference.share)
        more = [f"and {len(worst) - 3} more"] if len(worst) > 3 else []
        raise NmtError("; ".join([*map(str, worst[:3]), *more]))
    return ", ".join(nearest)


def make_model(name: str, precision: PRECISIONS) -> Seq2Seq:
    """Return a variant with large weights; for bf16, which would round too much, with the usual initial weights."""
    if precision == "fp32":
        return tiny_model(name)
    torch.manual_seed(1)
    return build_model(VARIANTS[name], VOCABULARY, VOCABULARY)


def without_dropout(model: Seq2Seq) -> Seq2Seq:
    """Put the model into evaluation mode, except its RNNs: cuDNN's have gradients only in training mode."""
    for module in model.eval().modules():
        if isinstance(module, nn.RNNBase):
            module.train()
            module.dropout = 0.0
    return model


def of_training(
    model: Seq2Seq, exact: Seq2Seq, device: torch.device, precision: PRECISIONS, limits: Limits
) -> Iterator[Difference]:
    """Yield the differences in the losses of a batch and in the gradient of each weight."""
    losses, gradients = training_step(model, device, precision)
    exact_losses, exact_gradients = training_step(exact, CPU, "fp32")
    for name, loss, exact_loss in zip(("loss", "nll", *model.loss_names), losses, exact_losses, strict=True):
        yield Difference(name, abs(loss - exact_loss) / max(abs(exact_loss), 1e-3), limits.loss)
    # the gradient of a weight with little effect, such as a bias before a softmax, is mostly rounding error
    least = 0.01 * torch.stack([gradient.norm() for gradient in exact_gradients.values()]).norm()
    for name, gradient in exact_gradients.items():
        size = (gradients[name] - gradient).norm() / torch.maximum(gradient.norm(), least)
        yield Difference(f"gradient of {name}", float(size), limits.gradient)


def training_step(model: Seq2Seq, device: torch.device, precision: str) -> tuple[list[float], dict[str, Tensor]]:
    """Return losses (smoothed, nll, named terms) and gradients in float64 on the CPU, zeros for a missing gradient."""
    model.zero_grad()
    with autocast(device, precision):
        loss = batch_loss(model, collate(SOURCES, TARGETS, 8), device, SMOOTHING)
    loss.smoothed.backward()
    gradients = {
        name: (torch.zeros_like(weight) if weight.grad is None else weight.grad).cpu().double()
        for name, weight in model.named_parameters()
    }
    return [float(part.detach()) for part in (loss.smoothed, loss.nll, *loss.terms)], gradients


def of_forcing(model: Seq2Seq, exact: Seq2Seq, precision: PRECISIONS, limits: Limits) -> Iterator[Difference]:
    """Yield the differences in log-probabilities of forced targets and in their coverage penalties."""
    forced = NativeEngine(model).score(SOURCES, TARGETS, options(model, 1, precision))
    exact_forced = NativeEngine(exact).score(SOURCES, TARGETS, options(model, 1, "fp32"))
    log_probs, exact_log_probs = ([p for one in each for p in one.token_log_probs] for each in (forced, exact_forced))
    yield Difference("forced token", apart(log_probs, exact_log_probs), limits.log_prob)
    penalties, exact_penalties = ([one.coverage for one in each] for each in (forced, exact_forced))
    yield Difference("coverage penalty", apart(penalties, exact_penalties), limits.log_prob)


def of_search(model: Seq2Seq, exact: Seq2Seq, precision: PRECISIONS, limits: Limits) -> Iterator[Difference]:
    """Yield the differences in the scores that greedy search and beam search find."""
    for search, width in (("greedy search", 1), ("beam search", 4)):
        given, in_float64 = options(model, width, precision), options(model, width, "fp32")
        found = NativeEngine(model).search(SOURCES, given, width)
        scores = [one.score for each in found for one in each]
        texts = [[*one.tokens, EOS] if one.finished else one.tokens for each in found for one in each]
        sources = [source for source, each in zip(SOURCES, found, strict=True) for _ in each]
        forced = NativeEngine(exact).score(sources, texts, in_float64)
        forced_scores = [one.score(LengthPenalty.of(given)) for one in forced]
        yield Difference(f"score of {search}", apart(scores, forced_scores), limits.log_prob)
        if precision == "fp32":
            others = [one.score for each in NativeEngine(exact).search(SOURCES, in_float64, width) for one in each]
            yield Difference(f"outcome of {search}", apart(scores, others), limits.log_prob)


def options(model: Seq2Seq, beam_size: int, precision: PRECISIONS) -> SearchConfig:
    """Return the options of a search, with a coverage penalty if the model has attention."""
    penalty = COVERAGE if model.attends else 0.0
    return SearchConfig(beam_size=beam_size, coverage_penalty=penalty, max_length_ratio=1.0, precision=precision)


def apart(values: Sequence[float], others: Sequence[float]) -> float:
    """Return the largest difference of two lists, infinite if their lengths differ."""
    if len(values) != len(others):
        return math.inf
    return float((torch.tensor(values).double() - torch.tensor(others).double()).abs().max())


def train_without_waiting(name: str, device: torch.device, precision: str) -> None:
    """Train two steps with dropout and R-Drop; raise RuntimeError if the second one waits for the GPU."""
    model = tiny_model(name).to(device).train()
    for when_waiting in ("default", "error"):
        if device.type == "cuda":
            torch.cuda.set_sync_debug_mode(when_waiting)
        try:
            with autocast(device, precision):
                loss = batch_loss(model, collate(SOURCES, TARGETS, 8), device, SMOOTHING, rdrop=1.0)
            loss.smoothed.backward()
        finally:
            if device.type == "cuda":
                torch.cuda.set_sync_debug_mode("default")
    norm = torch.nn.utils.get_total_norm([weight.grad for weight in model.parameters() if weight.grad is not None])
    if not norm.isfinite():
        raise NmtError(f"{precision}: gradients with dropout and R-Drop are not finite")


def check_fake(name: str) -> str:
    """Run `go_through` on a variant as if there were a GPU."""
    for precision in LIMITS:
        go_through(VARIANTS[name], VOCABULARY, torch.device("cuda", 0), precision)
    return "one device, no waits"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    usage = "cpu|cuda|fake [--patterns] [--variants NAME ...]"
    parser = Parser("check_device.py", usage, "Compare every model, or every attention pattern, with float64.")
    parser.add_argument("device", metavar="cpu|cuda|fake")
    parser.add_argument("--patterns", action="store_true", help="compare patterns by FlexAttention, and time them")
    parser.add_argument("--variants", metavar="NAME", nargs="+", help="default: all")
    return run_command(parser, run, argv)


def run(given: Namespace) -> int:
    """Check each variant and return the exit status."""
    if given.device not in ("cpu", "cuda", "fake"):
        raise UsageError(f"there is no device {given.device}: choose cpu, cuda or fake")
    known = pattern_kernels.CHECKS if given.patterns else list(VARIANTS)
    names = given.variants or known
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"there is no variant {unknown[0]}: choose from {', '.join(known)}")
    if given.device == "fake":
        if given.patterns:
            raise UsageError("--patterns compares values, which fake has none of: choose cpu or cuda")
        if torch.version.cuda is None:
            raise NmtError(f"fake needs a build of torch with CUDA, and torch {torch.__version__} has none")
        return report(names, check_fake, "fake tensors")
    device = choose_device(given.device)
    torch.set_num_threads(1)  # because the tensors are tiny
    torch.backends.cudnn.allow_tf32 = False
    compare = pattern_kernels.check if given.patterns else check
    return report(names, lambda name: compare(name, device), describe_hardware(device))


def report(names: Sequence[str], check: Callable[[str], str], where: str) -> int:
    """Print a line for each variant and a summary, and return the exit status."""
    started, failed, width = time.monotonic(), [], max(map(len, names))
    for name in names:
        try:
            print(f"{name:<{width}} passed  {check(name)}", flush=True)
        except Exception as error:  # any error: the other variants are still checked
            failed.append(name)
            told = str(error) if isinstance(error, NmtError) else f"{type(error).__name__}: {error}"
            print(f"{name:<{width}} FAILED  {' '.join(told.split())}", flush=True)
    outcome = f"{len(failed)} failed: {', '.join(failed)}" if failed else "all passed"
    print(f"{len(names)} variants on {where} in {time.monotonic() - started:.0f} s: {outcome}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
