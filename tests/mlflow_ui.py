"""The MLflow UI as ``make ui`` starts it, and the ways through it that a person goes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from selenium.webdriver.common.keys import Keys

from tests.chromium import Browser
from tests.mlflow_server import mlflow_server

AXIS = "//*[@class='axis-title']"
ARTIFACT = "//*[@data-testid='artifact-tree-node'][@artifact-name='{}']"
AXIS_ENDS = "//*[local-name()='text'][starts-with(@class, 'axis-extent-')]"
CELL = "//*[@role='row'][@row-id='{}']//*[@role='gridcell'][@col-id='{}']"
DIALOG = "//*[@role='dialog']"
FACT = (
    "//*[@data-testid='descriptions-item'][*[normalize-space()='{}']]"
    "/*[@data-testid='descriptions-item-content']"
)
"""A value at the head of a page, by its label."""
MOVE = "//*[@role='menuitem'][starts-with(., 'Transition to')][.//*[text()='{}']]"
NEW_REGISTRY = "//button[@role='switch'][@aria-label='New model registry UI']"
SEARCH = "//input[@data-testid='search-box']"


def mlflow_ui(folder: Path) -> AbstractContextManager[str]:
    """The address of the UI of ``var/mlflow.db`` in that folder, until the block ends."""
    return mlflow_server(folder, "ui", "--backend-store-uri", "sqlite:///var/mlflow.db")


@dataclass(frozen=True)
class Ui:
    """A visitor at the MLflow UI."""

    browser: Browser
    address: str

    def enter(self) -> None:
        """Open it for the first time, and leave its assistant and language models alone."""
        self.browser.driver.get(self.address)
        self.browser.click("//*[contains(@data-component-id, 'assistant.chat_panel.close')]")
        self.browser.click("//*[@role='button'][normalize-space()='Model training']")

    def open_experiment(self, name: str) -> None:
        self.browser.click("//a[normalize-space()='Experiments']")
        self.browser.click(f"//a[@data-testid='experiment-list-item-link'][.='{name}']")
        # Else the answer to the first question may come after, and in place of, that to a filter.
        self.browser.see("//*[@role='row'][@row-id]")

    def open_tab(self, name: str) -> None:
        self.browser.click(f"//button[@role='tab'][normalize-space()='{name}']")

    def hide_sidebar(self) -> None:
        """There is more room for a plot without it."""
        self.browser.click("//button[@aria-label='Toggle sidebar']")

    def open_image(self, path: str) -> bytes:
        """In the artifacts view, whose folder must be open."""
        self.browser.click(ARTIFACT.format(Path(path).name))
        return self.browser.bytes_of(self.browser.see(f"//img[@alt='{path}']"))

    def filter_runs(self, condition: str, found: int) -> None:
        """Until so many are left; the campaign that they belong to counts as well."""
        self.browser.click(SEARCH)
        self.browser.type(condition + Keys.ENTER)
        self.browser.see(f"//*[normalize-space()='{found} matching runs']")

    def toggle_columns(self, names: Sequence[str]) -> None:
        """Show those columns of the table of runs that are not shown, and hide the others."""
        self.browser.click(
            "//button[@data-testid='column-selection-dropdown'][normalize-space()='Columns']"
        )
        for name in names:
            self.browser.click("//input[@placeholder='Search columns']")
            self.browser.type(Keys.CONTROL + "a" + Keys.NULL + name)
            entry = f"//*[contains(@class, 'tree-treenode')][normalize-space()='{name}']"
            self.browser.click(f"{entry}//*[contains(@class, 'tree-checkbox')]")
        self.browser.type(Keys.ESCAPE)

    def sort_runs(self, column: str) -> None:
        """By a click on the column's head: the largest come first."""
        self.browser.click(f"//*[@role='columnheader']//*[text()='{column}']")
        self.browser.see(f"//button[normalize-space()='Sort: {column}']")

    def runs(self) -> list[str]:
        """Identifiers of the runs in the table, from top to bottom."""
        rows = self.browser.visible("//*[@role='row'][@row-id]")
        by_place = {int(str(row.get_attribute("row-index"))): row for row in rows}
        return [str(by_place[place].get_attribute("row-id")) for place in sorted(by_place)]

    def select_run(self, run_id: str) -> None:
        row = f"//*[@role='row'][@row-id='{run_id}']"
        self.browser.click(f"{row}//*[contains(@class, 'ag-checkbox-input-wrapper')]")
        self.browser.see(f"{row}[contains(@class, 'ag-row-selected')]")

    def plot(self, parameters: Sequence[str], metrics: Sequence[str]) -> None:
        """Have the compared runs drawn as lines through these, and nothing else."""
        self.browser.click("//button[normalize-space()='Clear All']")
        for label, names in (("Parameters:", parameters), ("Metrics:", metrics)):
            chooser = f"//*[text()='{label}']/following::*[contains(@class, 'select-selector')][1]"
            for name in names:
                self.browser.click(chooser)
                self.browser.type(name)
                self.browser.click(f"//*[contains(@class, 'item-option')][@title='{name}']")
                self.browser.type(Keys.ESCAPE)

    def open_version(self, model: str, version: int) -> None:
        self.browser.click("//a[normalize-space()='Model registry']")
        # It praises the new registry, which has no stages, once.
        self.browser.click(f"{DIALOG}//button[@aria-label='Close']")
        self.browser.gone(DIALOG)
        self.browser.click(f"//a[normalize-space()='{model}']")
        self.browser.click(f"//a[normalize-space()='Version {version}']")
        self.browser.see(NEW_REGISTRY)

    def show_stages(self) -> None:
        """Go back to the registry in which versions have stages."""
        self.browser.click(NEW_REGISTRY)
        self.browser.click(f"{DIALOG}//button[normalize-space()='Disable']")
        self.browser.gone(DIALOG)

    def open_stages(self) -> None:
        """The menu of those that the version at hand may be moved to."""
        self.browser.click(f"{FACT.format('Stage')}//*[@role='status']")
        self.browser.see(MOVE.format("Production"))

    def move(self, stage: str) -> None:
        """Choose it from the menu, and archive what was in that stage before."""
        self.browser.click(MOVE.format(stage))
        self.browser.see(f"{DIALOG}[contains(., 'Stage transition')]")
        self.browser.click(f"{DIALOG}//label[.//input[@type='checkbox']]")
        self.browser.click(f"{DIALOG}//button[normalize-space()='OK']")
        self.browser.gone(DIALOG)
