"""What a Slipway process is told by its environment."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr, StringConstraints
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Environment variables, each with the prefix SLIPWAY_. Those without a default must be set.

    `slipway dev` sets them itself.
    """

    model_config = SettingsConfigDict(env_prefix="SLIPWAY_", extra="ignore")

    store_url: Annotated[str, StringConstraints(min_length=1)] = Field(
        description="Where releases are stored: mongodb://host:27017/slipway, or sqlite:////absolute/path.db"
    )
    redis_url: Annotated[str, StringConstraints(pattern="^(rediss?|unix)://.")] = Field(
        description="Redis or Valkey for bake timers and announcements: redis://host:6379/0, rediss://, unix:///path"
    )
    admin_token: Annotated[SecretStr, Field(min_length=16)] = Field(
        description="The administrator's bearer token, at least 16 characters"
    )
    sweep_seconds: Annotated[float, Field(ge=1, le=5)] = Field(
        default=1, description="Seconds between two sweeps for due bakes that no job prompted"
    )
    poll_seconds: Annotated[float, Field(gt=0, le=60)] = Field(
        default=1, description="Seconds between two looks for changes that no announcement told of"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="debug, info, warning or error"
    )
