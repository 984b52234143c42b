"""Sections of the config that matter to jobs which run again and again."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from flows.config.names import DEFAULT_REGISTRY
from flows.config.values import Flag, Place, Section


def _by_hand_so_far(value: Any) -> Any:
    if isinstance(value, dict) and "rule" in value:
        raise ValueError("not available yet: a rule that promotes. Say manual.")
    return value


_MANUAL = WithJsonSchema(
    {"title": "manual", "const": "manual", "enum": ["manual"], "type": "string"}
)


class RegistryConfig(Section):
    """Where models are registered, and how one becomes champion."""

    enabled: Flag = Field(True, description="Whether the run's model is registered")
    storage: Place = Field(DEFAULT_REGISTRY, description="Folder or fsspec URL of the models")
    promote: Annotated[Literal["manual"], BeforeValidator(_by_hand_so_far), _MANUAL] = Field(
        "manual", description="How a later model becomes champion; manual: by a command"
    )

    @property
    def limited(self) -> list[str]:
        """Places that a process must be allowed to use.

        The default isn't among them: it lies in the state folder, where every run writes.
        """
        return [self.storage] if self.enabled and self.storage != DEFAULT_REGISTRY else []
