"""What may be sent. Unknown fields are errors: a misspelt ``exlude`` must not pull everything."""

from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from cache_protocol.errors import MalformedError
from cache_protocol.names import MODEL, PIPELINE, check_model, check_pipeline
from cache_server.core.content import ModelSpec
from cache_server.core.sources import Scheme, parse_source


def lawful(check: Callable[[str], object]) -> AfterValidator:
    """Return a validator that asks ``check`` of the core, so that its words name the field."""

    def validate(text: str) -> str:
        try:
            check(text)
        except MalformedError as error:
            raise ValueError(str(error)) from error
        return text

    return AfterValidator(validate)


def shape(pattern: str) -> WithJsonSchema:
    """Return what the description of the API says of a text; ``lawful`` is what judges it."""
    return WithJsonSchema({"type": "string", "pattern": f"^({pattern})$"})


PipelineId = Annotated[str, lawful(check_pipeline), shape(PIPELINE.pattern)]
ModelName = Annotated[str, lawful(check_model), shape(MODEL.pattern)]
SourceText = Annotated[str, lawful(parse_source), shape(f"({'|'.join(Scheme)})://.+")]
Glob = Annotated[str, Field(min_length=1, max_length=255)]


class ModelBody(BaseModel):
    """One model of a pipeline."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: ModelName
    source: SourceText
    revision: str | None = Field(None, max_length=255)
    include: list[Glob] = Field(default_factory=list, max_length=100)
    exclude: list[Glob] = Field(default_factory=list, max_length=100)
    credentials: str | None = Field(None, pattern=r"^[a-z0-9][a-z0-9._-]{0,99}$")
    allow_pickle: bool = False  # weights that run their author's code when they are loaded
    allow_code: bool = False  # the repository's own code

    def spec(self) -> ModelSpec:
        """Return it in the words of the core."""
        return ModelSpec(
            name=self.name,
            source=self.source,
            revision=self.revision,
            include=tuple(self.include),
            exclude=tuple(self.exclude),
            credentials=self.credentials,
            allow_pickle=self.allow_pickle,
            allow_code=self.allow_code,
        )


class PipelineBody(BaseModel):
    """A pipeline."""

    model_config = ConfigDict(extra="forbid", strict=True)

    models: list[ModelBody] = Field(min_length=1, max_length=100)
    pinned: bool | None = None
    warm: bool = False  # fill it now, before anybody asks


class ScrubBody(BaseModel):
    """What to look at."""

    model_config = ConfigDict(extra="forbid", strict=True)

    pipeline: str | None = Field(None, max_length=100)  # None: all


class EvictBody(BaseModel):
    """How to evict."""

    model_config = ConfigDict(extra="forbid", strict=True)

    force: bool = False  # although a replica reads it


class WarmBody(BaseModel):
    """How to warm."""

    model_config = ConfigDict(extra="forbid", strict=True)

    refresh: bool = False
