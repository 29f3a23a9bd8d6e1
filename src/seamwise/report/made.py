"""How a study's numbers were made, as terms and what to say of them."""

from pathlib import Path

from seamwise.runs import Study


def made(study: Study) -> dict[str, str]:
    """{term: words}; terms with nothing to say are left out."""
    record = study.record
    seeds = sorted({t.seed for t in study.trials})
    held = {f: n for f, n in record.held.items() if f != record.vary}
    parts = {
        "seamwise": record.version,
        "Task": record.task + (f" ({Path(record.source).name})" if record.source.endswith(".py") else ""),
        "Trials": f"{len(study.trials):,} of {len(record.trials):,} planned; {len(study.failed):,} failed, "
        f"{len(study.untrained):,} did not train{_left_out(study)}",
        "Budgets": f"{', '.join(f'{n:,}' for n in record.budgets)} labels of {record.vary}",
        "Other labels": ", ".join(f"{n:,} of {f}" for f, n in held.items()),
        "Label noise": _noise(study),
        "Items from elsewhere": record.elsewhere,
        "Seeds": f"{', '.join(map(str, seeds))}; each draws its own subsets and its own start" if seeds else "",
        "Validation labels": "choose stopping point and learning rate; they are not counted in the budgets",
        "Test items": f"every regime saw the same {len(study.bootstrap.groups):,}",
        "Intervals": "90 %, hierarchical bootstrap over seeds and test groups; differences are paired",
        "Forecasts": "by learning curves fitted to the trials that trained; none where too few budgets are measured",
        "Prices of a label": ", ".join(f"{f} {p:g}" for f, p in record.prices.items() if f in record.held),
        "Chains": "; ".join(f"{v}: {' → '.join(s.name for s in stages)}" for v, stages in record.variants.items()),
        "Signatures": ", ".join(f"{v} {signature}" for v, signature in record.signatures.items()),
    }
    return {term: text for term, text in parts.items() if text}


def _left_out(study: Study) -> str:
    left_out = set(study.record.left_out) - {t.id for t in study.trials}
    return f"; {len(left_out):,} left out once the best way was sure" if left_out else ""


def _noise(study: Study) -> str:
    return ", ".join(f"{field} {noise:g}" for field, noise in study.record.noise.items() if noise)
