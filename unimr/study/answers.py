"""The study in sentences: every word follows from a verdict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from unimr.study.compare import Comparison
from unimr.study.variants import ALL, PEERS, SEPARATE

STAGES = {"no_stage_1": "stage 1 (pre-training of the text encoder)", "no_stage_2": "stage 2 (intents and slots)"}
INTENT_RICH = ("intent_to_item.mrr", "intent_distractor_to_item.mrr")
_UNITS = {"mrr": "MRR", "recall_at_10": "recall@10", "slot_f1": "slot F1", "intent_accuracy": "intent accuracy"}


@dataclass(frozen=True)
class Answer:
    """A question of the study: a sentence that answers it, and one for each comparison it rests on."""

    question: str
    sentence: str
    details: tuple[str, ...]


def answers(
    comparisons: Sequence[Comparison], together: Sequence[Comparison], saved: dict[str, dict[str, float]]
) -> list[Answer]:
    """All questions that the runs can answer, in the order of the page.

    Args:
        comparisons: of everything with `unified`.
        together: of the separate models and peers with `unified_long`; empty where that was not run.
        saved: see `unimr.study.saving.saving`.
    """
    names = {each.name for each in comparisons}
    found = [_separate(comparisons, together)] if names & set(SEPARATE) else []
    found += [_fusion(comparisons)] if names & {"no_fusion", "no_nlu"} else []
    found += [_stages(comparisons)] if names & STAGES.keys() else []
    found.append(_saved(saved))
    found += [_peers(comparisons, together)] if names & PEERS.keys() else []
    return found


def readable(measure: str) -> str:
    """`name_to_name.mrr` → `name to name (MRR)`."""
    task, _, name = measure.partition(".")
    return _UNITS[name] if task == "nlu" else f"{task.replace('_', ' ')} ({_UNITS.get(name, name)})"


def gain(each: Comparison) -> str:
    """What `unified` is ahead by, with its interval: `+0.031 (0.012 to 0.050)`."""
    if each.difference is None:
        return ""
    found = each.difference
    return f"{-found.value:+.3f} ({-found.high:+.3f} to {-found.low:+.3f})"


def _separate(comparisons: Sequence[Comparison], together: Sequence[Comparison]) -> Answer:
    each, all_of_them = (
        [row for row in rows if row.name in SEPARATE and row.difference] for rows in (comparisons, together)
    )
    behind = _split(each)[1]
    verdict = "Not on every task" if behind and len(behind) < len(each) else "No" if behind else "Yes, as far as shown"
    sentence = f"{verdict}: with the budget of one of them, one model is {_counted(each)}."
    if all_of_them:
        sentence += f" With the budget that the three spend together it is {_counted(all_of_them)}."
    details = [_detail(ALL[name].label, each, name) for name in SEPARATE]
    details += [_detail(f"{ALL[name].label}, with three budgets", all_of_them, name) for name in SEPARATE]
    return Answer("Does one model match the separate ones on each task?", sentence, tuple(filter(None, details)))


def _fusion(comparisons: Sequence[Comparison]) -> Answer:
    """Of intent-rich queries; of everything that was measured where the data has none."""
    measured = {each.measure for each in comparisons}
    rich = measured & set(INTENT_RICH)
    rows = [each for each in comparisons if each.measure in (rich or measured)]
    elsewhere = [each for each in comparisons if rich and each.measure not in rich]
    fusion, nlu = ([each for each in rows if each.name == name] for name in ("no_fusion", "no_nlu"))
    said = [] if rich else ["The data has no intent-rich queries; this is of all that was measured."]
    said += [f"Fusing the NLU features {_effect(fusion)}{' on intent-rich queries' if rich else ''}."] if fusion else []
    whole = "The NLU module as a whole (its loss, its stage and the fusion)"
    said += [f"{whole} {_effect(nlu)}{' on them' if rich else ''}."] if nlu else []
    details = [
        _detail("no fusion", rows, "no_fusion"),
        _detail("no NLU at all", rows, "no_nlu"),
        _detail("no fusion, elsewhere", elsewhere, "no_fusion"),
        _detail("no NLU at all, elsewhere", elsewhere, "no_nlu"),
    ]
    question = f"Does fusion help{' intent-rich queries' if rich else ''}?"
    return Answer(question, " ".join(said), tuple(filter(None, details)))


def _stages(comparisons: Sequence[Comparison]) -> Answer:
    parts, details = [], []
    for name, label in STAGES.items():
        rows = [each for each in comparisons if each.name == name]
        if rows:
            ahead, behind, unclear = _split(rows)
            parts.append(
                f"{label} helps in {len(ahead)} of {_measures(len(rows))}, harms in {len(behind)}, and in "
                f"{len(unclear)} nothing is shown"
            )
            details.append(_detail(f"the same budget without {label}", rows, name))
    sentence = "; ".join(parts)
    return Answer("What do the stages buy?", f"{sentence[:1].upper()}{sentence[1:]}.", tuple(details))


def _saved(saved: dict[str, dict[str, float]]) -> Answer:
    ratio, unified, apart = saved["ratio"], saved["unified"], saved["separate"]
    words = {"parameters": "parameters", "bytes": "bytes on disk", "ms_per_query": "time of a query"}
    less = [f"{1 - ratio[key]:.0%} of the {word}" for key, word in words.items() if ratio[key] < 1]
    more = [f"{ratio[key] - 1:.0%} more {word}" for key, word in words.items() if ratio[key] >= 1]
    sentence = f"One model in place of three saves {_joined(less)}" if less else "One model saves nothing"
    sentence += f", and takes {_joined(more)}." if more else "."
    details = (
        f"One model: {unified['parameters'] / 1e6:.1f} M parameters, {unified['bytes'] / 1e6:.1f} MB, "
        f"{unified['ms_per_query']:.2f} ms a query; the three together: {apart['parameters'] / 1e6:.1f} M, "
        f"{apart['bytes'] / 1e6:.1f} MB, {apart['ms_per_query']:.2f} ms.",
    )
    return Answer("What does one model save?", sentence, details)


def _peers(comparisons: Sequence[Comparison], together: Sequence[Comparison]) -> Answer:
    parts, details = [], []
    for name in PEERS:
        rows, long_rows = ([row for row in part if row.name == name] for part in (comparisons, together))
        if rows:
            parts.append(f"against {name} one model is {_counted(rows)}")
            details.append(_detail(ALL[name].label, rows, name))
        if long_rows:
            parts.append(f"with three budgets it is {_counted(long_rows)}")
            details.append(_detail(f"{ALL[name].label}, with three budgets", long_rows, name))
    sentence = "; ".join(parts)
    question = "Is it ahead of the field's own tools on their ground?"
    return Answer(question, f"{sentence[:1].upper()}{sentence[1:]}.", tuple(details))


def _split(rows: Iterable[Comparison]) -> tuple[list[Comparison], list[Comparison], list[Comparison]]:
    """Where `unified` is ahead, where it is behind, and where nothing is shown."""
    rows = list(rows)
    return (
        [each for each in rows if each.verdict == "worse"],
        [each for each in rows if each.verdict == "better"],
        [each for each in rows if each.verdict == "not shown"],
    )


def _effect(rows: list[Comparison]) -> str:
    ahead, behind, _ = _split(rows)
    if ahead and behind:
        return f"helps in {len(ahead)} of {_measures(len(rows))} and harms in {len(behind)}"
    if ahead:
        return "helps" if len(ahead) == len(rows) else f"helps in {len(ahead)} of {_measures(len(rows))}"
    if behind:
        return "harms" if len(behind) == len(rows) else f"harms in {len(behind)} of {_measures(len(rows))}"
    return "shows no effect"


def _detail(label: str, rows: Sequence[Comparison], name: str) -> str:
    """What the comparisons with one variant came to, from the side of `unified`."""
    rows = [each for each in rows if each.name == name]
    if not rows:
        return ""
    said = [
        f"{words}: {_listed(part)}"
        for words, part in zip(("ahead", "behind", "nothing shown"), _split(rows), strict=True)
        if part
    ]
    return f"Against {label}: {'; '.join(said)}."


def _listed(rows: list[Comparison]) -> str:
    return ", ".join(f"{readable(each.measure)} {gain(each)}" for each in rows)


def _counted(rows: Sequence[Comparison]) -> str:
    ahead, behind, unclear = _split(rows)
    return (
        f"ahead in {len(ahead)} of {_measures(len(rows))}, behind in {len(behind)}, and in {len(unclear)} nothing is "
        "shown"
    )


def _measures(count: int) -> str:
    return f"{count} measure{'' if count == 1 else 's'}"


def _joined(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
