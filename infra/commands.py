"""The commands of ``python -m infra``."""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from getpass import getpass
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from infra import privileges
from infra.calls import called_here, invoked
from infra.costs import SECONDS, Month, bill, limit_usd, read_unit_prices
from infra.deployment import ARTIFACTS, Build, Deployment, kept
from infra.stacks import Change, Stacks
from infra.stage import Stage
from infra.templates import FOLDER
from store.aws import client
from store.prices import load_prices
from store.settings import SsmSettings
from store.settings_sections import SECRETS
from strategy.errors import ConfigError

ROOT = FOLDER.parent
LAYER = ROOT / "var" / "layer"

console = Console()


def add(commands: Any) -> None:
    """Add the commands to a parser."""
    deploy = commands.add_parser("deploy", help="deploy the system, or bring it up to date")
    _about_stage(deploy)
    deploy.add_argument("--preview", action="store_true", help="show what would change, only")
    deploy.add_argument(
        "--separately",
        action="store_true",
        help="each stack by itself, as the pipeline does; for moto, which cannot nest them",
    )
    deploy.add_argument("--layer", type=Path, default=LAYER / "layer.zip", help="(%(default)s)")
    deploy.add_argument(
        "--functions", type=Path, default=LAYER / "functions.zip", help="(%(default)s)"
    )
    deploy.add_argument("--image-tag", help="of the training image (the commit's 12 first letters)")
    deploy.set_defaults(run=run_deploy)

    pipeline = commands.add_parser("pipeline", help="deploy the pipeline, which deploys the rest")
    _about_stage(pipeline)
    pipeline.add_argument("--connection", help="ARN of the connection to GitHub; stays once set")
    pipeline.add_argument("--branch", help="whose pushes are deployed (main); stays once set")
    pipeline.add_argument("--preview", action="store_true", help="show what would change, only")
    pipeline.set_defaults(run=run_pipeline)

    teardown = commands.add_parser("teardown", help="delete the stacks; data is kept")
    _about_stage(teardown)
    teardown.set_defaults(run=run_teardown)

    call = commands.add_parser("call", help="call a deployed function")
    call.add_argument("--stage", required=True, help="name of the deployment, as prod")
    call.add_argument(
        "--here",
        action="store_true",
        help="its handler in this process, with this shell's rights; for moto without Docker",
    )
    call.add_argument("function", help="as config_service")
    call.add_argument("event", type=_event, help="as JSON")
    call.set_defaults(run=run_call)

    secrets = commands.add_parser("secrets", help="set keys and tokens, unseen, as SecureStrings")
    secrets.set_defaults(run=run_secrets)

    costs = commands.add_parser("costs", help="estimate a month's bill from the templates")
    costs.add_argument("--campaigns", type=float, default=Month.campaigns, help="(%(default)s)")
    costs.add_argument("--deployments", type=float, default=Month.deployments, help="(%(default)s)")
    costs.set_defaults(run=run_costs)

    table = commands.add_parser("privileges", help="write docs/privileges.md from the templates")
    table.set_defaults(run=run_privileges)


def run_deploy(options: argparse.Namespace) -> int:
    """Publish what was built, deploy it, and say what a shell needs to use it."""
    if options.preview and options.separately:
        raise ConfigError("--preview shows main.yaml's changes: leave --separately out")
    deployment = _deployment(options)
    other = [deployment.root] if options.separately else deployment.separate
    deployment.ensure_alone(deployment.pipeline, *other)
    build = Build(options.layer, options.functions, options.image_tag or _commit())
    parameters = deployment.publish(build)
    if options.separately:
        outputs: Mapping[str, str] | None = deployment.deploy_separately(parameters)
    else:
        outputs = deployment.deploy(parameters, _confirming(not options.preview))
    if outputs is None:
        return 0
    deployment.upload_config(outputs)
    console.print("\nFor the shell that asks for campaigns:\n", highlight=False)
    for name, value in variables(parameters, outputs).items():
        console.print(f"export {name}={value}", highlight=False, soft_wrap=True)
    return 0


def run_pipeline(options: argparse.Namespace) -> int:
    """Deploy the pipeline for the repository that the lever names."""
    deployment = _deployment(options)
    deployment.ensure_alone(deployment.root)
    own = {"ConnectionArn": options.connection, "Branch": options.branch}
    parameters = {
        **deployment.publish_templates(),
        **deployment.by_hand(SsmSettings(client("ssm")).environment().github_repo),
        **deployment.given,
        **{name: value for name, value in own.items() if value},
    }
    deployment.deploy_pipeline(parameters, _confirming(not options.preview))
    return 0


def run_teardown(options: argparse.Namespace) -> int:
    """Say what is kept, ask, and delete the rest."""
    deployment = _deployment(options)
    console.print(
        f"The stacks of stage {options.stage} are deleted. These are kept, with all data:"
    )
    for stack, logical_id in kept():
        console.print(f"  {logical_id} of {stack}.yaml")
    console.print("  the SecureStrings below /trading_system/environment/, and SageMaker's logs")
    console.print(f"  the stack {ARTIFACTS}: builds and images, of all stages")
    if going_on := deployment.to_go_on():
        chosen = " ".join(f"--set {name}={value}" for name, value in going_on.items())
        console.print(
            f"A later deployment of this stage starts afresh, or goes on with them by:\n  {chosen}",
            highlight=False,
            soft_wrap=True,
        )
    console.print("Open positions are not closed: python -m serving stop --emergency, first.")
    if console.input(f"Give the stage's name to go on ({options.stage}): ") != options.stage:
        console.print("Nothing was deleted.")
        return 1
    for name in deployment.remove():
        console.print(f"deleted {name}", highlight=False)
    return 0


def run_call(options: argparse.Namespace) -> int:
    """Call a function, and print its answer."""
    call = called_here if options.here else invoked
    stage = Stage(Stacks(client("cloudformation")), options.stage)
    name = f"{stage.root}-{options.function}"
    console.print_json(data=call(client("lambda"), name, options.event))
    return 0


def run_secrets(options: argparse.Namespace, ask: Callable[[str], str] = getpass) -> int:
    """Ask for each secret, unseen, and write what is given; what is left empty stays as it is."""
    settings = SsmSettings(client("ssm"))
    for name in (*sorted(SECRETS), "telegram_chat_id"):
        given = ask(f"{name} (not shown; empty: stays as it is): ").strip()
        if given:
            settings.set(f"environment/{name}", SecretStr(given))
        console.print(f"{name}: {'set' if given else 'as it was'}", highlight=False)
    return 0


def run_costs(options: argparse.Namespace) -> int:
    """Print the estimate with what it assumes; exit status 2 above the limit."""
    month = Month(campaigns=options.campaigns, deployments=options.deployments)
    prices, training = read_unit_prices(), load_prices()
    items = bill(month, prices, training)
    total, limit = sum(item.usd for item in items), limit_usd()
    table = Table("what", "how much", "USD a month", title="A month, estimated")
    table.columns[2].justify = "right"
    for item in items:
        table.add_row(item.what, item.quantity, f"{item.usd:.2f}")
    table.add_section()
    table.add_row("[bold]all", f"limit {limit:.2f}", f"[bold]{total:.2f}")
    console.print(table)
    console.print(f"Assumed: {month}", highlight=False)
    console.print(f"Seconds of a call: {SECONDS}", highlight=False)
    console.print(f"Prices of {prices.as_of}, {prices.region}: {prices.source}", highlight=False)
    console.print(f"Training, {training.as_of}: {training.source}", highlight=False)
    if total > limit:
        raise ConfigError(f"${total:.2f} is over the limit of ${limit:.2f} a month")
    return 0


def run_privileges(options: argparse.Namespace) -> int:
    """Write the table."""
    privileges.PATH.write_text(privileges.table(), encoding="utf-8")
    console.print(f"wrote {privileges.PATH}", highlight=False)
    return 0


def variables(parameters: Mapping[str, str], outputs: Mapping[str, str]) -> dict[str, str]:
    """What a shell sets that asks for campaigns, as INSTALL_GUIDE.md lists it."""
    role = outputs["JobRoleArn"]
    account = role.split(":")[4]
    registry = f"{account}.dkr.ecr.{client('ecr').meta.region_name}.amazonaws.com"
    return {
        "STATE_URI": f"dynamodb://{outputs['TableName']}",
        "QUEUE_URL": outputs["QueueUrl"],
        "TOPIC_ARN": outputs["TopicArn"],
        "BUCKET": outputs["BucketName"],
        "ROLE_ARN": role,
        "IMAGE_URI": f"{registry}/{parameters['RepositoryName']}:{parameters['ImageTag']}",
        "MLFLOW_TRACKING_URI": outputs["TrackingUri"],
    }


def _about_stage(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--stage", required=True, help="name of the deployment, as prod")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of main.yaml; what was set before stays so",
    )


def _deployment(options: argparse.Namespace) -> Deployment:
    chosen = dict(_pair(each) for each in options.set)
    return Deployment(Stacks(client("cloudformation")), options.stage, chosen)


def _event(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"no JSON: {error}") from error


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--set {text}: give NAME=VALUE")
    return name, value


def _confirming(carry_out: bool) -> Callable[[Sequence[Change]], bool]:
    """Show what would change, and go on or not."""

    def confirm(changes: Sequence[Change]) -> bool:
        table = Table("stack", "change", "what", "type", title=f"{len(changes)} changes")
        for each in changes:
            how = f"[red]{each.action}, replaced[/]" if each.replaced else each.action
            table.add_row(each.stack, how, each.logical_id, each.kind)
        console.print(table)
        return carry_out

    return confirm


def _commit() -> str:
    """The first letters of the commit, as builds tag images."""
    asked = ["git", "rev-parse", "HEAD"]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError("this is no checkout of git: give --image-tag")
    return done.stdout[:12]
