"""Puts a build where CloudFormation finds it, and deploys the stacks from there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.stacks import Change
from infra.stage import Stage
from infra.templates import FOLDER, children, defaults, resources, template
from store.objects import Objects, open_objects
from strategy.errors import ConfigError

TAGS = {"Project": "CryptoTradingSystem"}
ARTIFACTS = "trading-system-artifacts"
"""The first stack: its bucket is shared by all deployments."""
CONFIG = FOLDER.parent / "config.json"

Confirm = Callable[[list[Change]], bool]
"""Shown what would change, says whether it shall."""


@dataclass(frozen=True)
class Build:
    """What a build made, and which training image holds the same code."""

    layer: Path
    functions: Path
    image_tag: str


@dataclass(frozen=True)
class Deployment(Stage):
    """A stage of the system as it is to be: with what is chosen for it.

    Parameters
    ----------
    given
        Values of main.yaml's parameters that the operator chose.
    """

    given: Mapping[str, str]

    def __post_init__(self) -> None:
        super().__post_init__()
        if unknown := set(self.given) - set(defaults("main")):
            raise ConfigError(
                f"nothing is called {', '.join(sorted(unknown))}: what can be chosen is "
                f"{', '.join(defaults('main'))}"
            )

    def publish_templates(self) -> dict[str, str]:
        """Upload templates alone; returns those of main.yaml's parameters that then are known.

        Raises
        ------
        StoreError, RetryError
            The artifact bucket cannot be made or written.
        """
        place = self.artifacts()
        files = open_objects(f"s3://{place['BucketName']}")
        return {
            **defaults("main"),
            **self.chosen_before(),
            "Stage": self.stage,
            "ArtifactBucket": place["BucketName"],
            "RepositoryName": place["RepositoryName"],
            "TemplatePrefix": self._upload_templates(files),
            **self.given,
        }

    def publish(self, build: Build) -> dict[str, str]:
        """Upload templates, layer and code; returns main.yaml's parameters.

        Names follow from contents: what is unchanged changes nothing.

        Raises
        ------
        ConfigError
            A file of the build is missing.
        StoreError, RetryError
            The artifact bucket cannot be made or written.
        """
        known = self.publish_templates()
        files = open_objects(f"s3://{known['ArtifactBucket']}")
        keys = {}
        for parameter, path in (("LayerKey", build.layer), ("CodeKey", build.functions)):
            try:
                content = path.read_bytes()
            except OSError as error:
                raise ConfigError(
                    f"{path} cannot be read ({error.strerror}): build it, "
                    "python -m infra.layer build"
                ) from error
            keys[parameter] = f"builds/{path.stem}-{_digest(content)}.zip"
            files.replace(keys[parameter], content)
        return {**known, "ImageTag": build.image_tag, **keys}

    def deploy(self, parameters: Mapping[str, str], confirm: Confirm) -> dict[str, str] | None:
        """Deploy main.yaml; returns its outputs, or None where it was not confirmed."""
        return self.changed(self.root, parameters, self._url(parameters, "main"), confirm)

    def deploy_separately(self, parameters: Mapping[str, str]) -> dict[str, str]:
        """Deploy each of main.yaml's stacks by itself; returns main.yaml's outputs.

        So does the pipeline, and so it is done where stacks within stacks are not known.
        """
        outputs: dict[str, Mapping[str, str]] = {}
        for child in children():
            outputs[child.logical_id] = self.stacks.put(
                self.name_of(child),
                child.resolved(parameters, outputs),
                self._tags,
                TemplateURL=self._url(parameters, child.name),
            )
        return {
            name: outputs[source][path.removeprefix("Outputs.")]
            for name, declared in template("main")["Outputs"].items()
            for source, path in [declared["Value"]["Fn::GetAtt"]]
        }

    def upload_config(self, outputs: Mapping[str, str]) -> None:
        """Put config.json where the functions read it."""
        open_objects(f"s3://{outputs['BucketName']}").replace("config.json", CONFIG.read_bytes())

    def changed(
        self, name: str, parameters: Mapping[str, str], url: str, confirm: Confirm
    ) -> dict[str, str] | None:
        """Bring one stack up to date; returns its outputs, or None where it was not confirmed."""
        changes = self.stacks.propose(name, parameters, self._tags, TemplateURL=url)
        if changes and confirm(changes):
            return self.stacks.carry_out(name)
        self.stacks.withdraw(name)
        return None if changes else self.stacks.outputs(name)

    def deploy_pipeline(
        self, parameters: Mapping[str, str], confirm: Confirm
    ) -> dict[str, str] | None:
        """Deploy pipeline.yaml; returns its outputs, or None where it was not confirmed.

        Parameters
        ----------
        parameters
            Of main.yaml and of pipeline.yaml, which takes its own. What is not given of them
            stays as it was.

        Raises
        ------
        ConfigError
            The connection to the repository was never given.
        """
        known = template("pipeline")["Parameters"]
        all_of_them = {**self.stacks.parameters(self.pipeline), **parameters}
        own = {name: value for name, value in all_of_them.items() if name in known}
        if "ConnectionArn" not in own:
            raise ConfigError("the first time the pipeline needs its --connection to GitHub")
        url = self._url(parameters, "pipeline")
        return self.changed(self.pipeline, own, url, confirm)

    def _upload_templates(self, files: Objects) -> str:
        bodies = {path.name: path.read_bytes() for path in sorted(FOLDER.glob("*.yaml"))}
        prefix = f"templates/{_digest(b''.join(bodies.values()))}"
        for name, body in bodies.items():
            files.replace(f"{prefix}/{name}", body)
        return prefix

    def _url(self, parameters: Mapping[str, str], name: str) -> str:
        bucket, prefix = parameters["ArtifactBucket"], parameters["TemplatePrefix"]
        region = self.stacks.client.meta.region_name
        return f"https://{bucket}.s3.{region}.amazonaws.com/{prefix}/{name}.yaml"

    @property
    def _tags(self) -> dict[str, str]:
        return TAGS | {"Stage": self.stage}

    def artifacts(self) -> dict[str, str]:
        """Make the stack where builds go, unless it is there; returns its outputs."""
        body = (FOLDER / "artifacts.yaml").read_text(encoding="utf-8")
        return self.stacks.put(ARTIFACTS, {}, TAGS, TemplateBody=body)


def kept() -> Iterator[tuple[str, str]]:
    """Stack and logical id of everything that outlives its stack."""
    for child in children():
        for logical_id, resource in resources(child.name):
            if resource.get("DeletionPolicy") == "Retain":
                yield child.name, logical_id


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
