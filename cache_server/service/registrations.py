"""What can be checked of a registration without asking its origins."""

from cache_protocol.errors import MalformedError
from cache_protocol.names import check_model, check_pipeline, shown
from cache_server.catalogue.registry import Key
from cache_server.core.content import ModelSpec
from cache_server.core.sources import Scheme, parse_source

MAX_MODELS = 100  # in one pipeline


def check_registration(key: Key, models: tuple[ModelSpec, ...]) -> None:
    """Check everything about a registration that can be checked without its origins.

    Raises:
        MalformedError: says which field is wrong.
    """
    check_pipeline(key.id)
    if not 1 <= len(models) <= MAX_MODELS:
        raise MalformedError(f"a pipeline has 1 to {MAX_MODELS} models, not {len(models)}")
    names = [check_model(m.name).casefold() for m in models]
    if len(set(names)) != len(names):
        raise MalformedError(f"two models of one name among {sorted(names)}")
    for model in models:
        source = parse_source(model.source)
        if model.revision and source.scheme is not Scheme.HF:
            raise MalformedError(f"{model.name}: only a Hugging Face source has a revision")
        if model.revision and source.revision and model.revision != source.revision:
            raise MalformedError(
                f"{model.name}: revision {shown(model.revision)} and source "
                f"{shown(model.source)} disagree"
            )
