"""The form for a new study: cost and power first, errors at their fields, files both ways, what is submitted."""

import json
import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_pages import judge
from tests.integration.api.support import register

REFUSED = "422 (Unprocessable Entity)"


@pytest.fixture(scope="module")
def client(module_ledger, server):
    register(module_ledger[1])
    with server.client() as client:
        yield client


@pytest.fixture
def form(signed_in, client):
    """The empty form."""

    def open_form(**options) -> Page:
        page = signed_in("/studies/new", **options)
        expect(page.locator("#arms fieldset")).to_have_count(2)
        return page

    return open_form


def arm(page: Page, place: int):
    return page.locator("#arms fieldset").nth(place)


def submit(page: Page) -> None:
    page.get_by_role("button", name="Submit the study").click()


def file_of(page: Page) -> str:
    if not page.get_by_label("Study file").is_visible():
        page.locator("summary", has_text="As a file").click()
    page.get_by_role("button", name="Write the form as YAML").click()
    return page.get_by_label("Study file").input_value()


def test_cost_and_power_stand_beside_the_form_before_anything_is_submitted(form, client):
    page = form()
    page.get_by_label("Name").first.fill("how-much")
    cost = page.get_by_role("complementary", name="What it costs, what it shows")
    expect(cost).to_contain_text("2 arms × 5 replicates × (30 search + 25 select + 5 confirm) = 600 trainings, about ")
    expect(cost).to_contain_text(re.compile(r"on 2 slots\. *It detects a change of \d+ % with probability \.\d\d"))
    page.get_by_label("R, replicates").fill("10")
    expect(cost).to_contain_text("2 arms × 10 replicates × (30 search + 25 select + 5 confirm) = 1,200 trainings")
    assert client.list_studies() == []


def test_only_projecting_optimizers_have_delta_and_wd_ratio(form):
    page = form()
    assert arm(page, 0).get_by_label("delta").count() == arm(page, 0).get_by_label("wd_ratio").count() == 0
    assert arm(page, 1).get_by_label("delta").count() == arm(page, 1).get_by_label("wd_ratio").count() == 1
    arm(page, 0).get_by_label("Optimizer").select_option("SGDP")
    expect(arm(page, 0).get_by_label("delta")).to_be_visible()
    arm(page, 0).get_by_label("Optimizer").select_option("SGDW")
    expect(arm(page, 0).get_by_label("delta")).to_have_count(0)
    page.get_by_role("button", name="Add an arm").click()
    expect(arm(page, 2).get_by_label("Name")).to_be_focused()
    arm(page, 2).get_by_role("button", name="Remove this arm").click()
    expect(page.locator("#arms fieldset")).to_have_count(2)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_errors_stand_on_top_lead_to_their_fields_and_keep_what_was_typed(form, theme):
    page = form(allowed=REFUSED, color_scheme=theme)
    page.get_by_label("Name").first.fill("broken")
    page.get_by_label("T, search trials per cell").fill("0")
    page.get_by_label("Device class").fill("abacus")
    arm(page, 1).get_by_label("lr").fill("0.1, 0.001")
    submit(page)
    problems = page.get_by_role("alert")
    expect(problems).to_be_focused()
    fields = problems.get_by_role("link")
    assert {"search.trials", "device", "arms[1].search.lr"} <= set(fields.all_inner_texts())
    kept = {"T, search trials per cell": "0", "Device class": "abacus"}
    for label, value in kept.items():
        field = page.get_by_label(label)
        expect(field).to_have_value(value)
        expect(field).to_have_attribute("aria-invalid", "true")
    expect(arm(page, 1).get_by_label("lr")).to_have_value("0.1, 0.001")
    expect(page.get_by_label("Device class")).to_have_accessible_description(re.compile("cpu, cuda.*device: "))
    judge(page)
    problems.get_by_role("link", name="arms[1].search.lr").click()
    expect(arm(page, 1).get_by_label("lr")).to_be_focused()
    arm(page, 1).get_by_label("lr").fill("0.001, 0.1")
    page.get_by_label("Device class").fill("cpu")
    page.get_by_label("T, search trials per cell").fill("3")
    expect(fields).to_have_text(["select.top"])
    page.get_by_label("T, search trials per cell").fill("30")
    expect(problems).to_be_hidden()
    expect(page.get_by_label("Device class")).to_have_accessible_description("cpu, cuda, or cuda:MODEL")
    expect(page.locator("[aria-invalid]")).to_have_count(0)


def test_a_file_fills_the_form_and_the_form_is_a_file(form, client):
    page = form()
    page.get_by_label("Name").first.fill("as a file")
    arm(page, 1).get_by_label("delta").fill("0.01, 1")
    arm(page, 1).get_by_label("lr").fill("0.003")
    text = file_of(page)
    answer = client.validate(text)["spec"]
    assert (answer["name"], answer["arms"][1]["search"]) == ("as a file", {**answer["arms"][1]["search"], "lr": 0.003})
    changed = text.replace("as a file", "from a file").replace("trials: 30", "trials: 12") + "\nmax_running: 3\n"
    page.get_by_label("Study file").fill(changed)
    page.get_by_role("button", name="Fill the form from this file").click()
    expect(page.get_by_label("Name").first).to_have_value("from a file")
    expect(page.get_by_label("T, search trials per cell")).to_have_value("12")
    expect(arm(page, 1).get_by_label("delta")).to_have_value("0.01, 1")
    expect(arm(page, 1).get_by_label("lr")).to_have_value("0.003")
    assert client.validate(file_of(page))["spec"] == client.validate(changed)["spec"]
    again = json.dumps({**client.validate(changed)["spec"], "name": "from JSON"})
    page.get_by_label("Study file").fill(again)
    page.get_by_role("button", name="Fill the form from this file").click()
    expect(page.get_by_label("Name").first).to_have_value("from JSON")
    assert client.validate(file_of(page))["spec"] == client.validate(again)["spec"]


def test_a_file_that_cannot_be_read_is_said_and_changes_nothing(form):
    page = form(allowed="Failed to load resource: the server responded with a status of 4")
    page.locator("summary", has_text="As a file").click()
    page.get_by_label("Name").first.fill("kept")
    page.get_by_label("Study file").fill("name: [unfinished")
    page.get_by_role("button", name="Fill the form from this file").click()
    expect(page.get_by_role("alert")).to_be_focused()
    expect(page.get_by_role("alert")).to_contain_text("YAML")
    expect(page.get_by_label("Name").first).to_have_value("kept")
    expect(page.get_by_label("Study file")).to_have_value("name: [unfinished")


def test_what_is_submitted_is_what_the_form_says(form, client):
    page = form()
    page.get_by_label("Name").first.fill("small but whole")
    page.get_by_label("Workload", exact=True).select_option("digits-mlp")
    page.get_by_label("epochs").fill("3")
    for label, value in {"T, search trials per cell": "4", "Select: top": "2", "R, replicates": "3"}.items():
        page.get_by_label(label).fill(value)
    page.get_by_label("Sampler").select_option("tpe")
    arm(page, 0).get_by_label("weight_decay").fill("0.01, 0.1")
    text = file_of(page)
    submit(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("small but whole")
    study = client.show(int(page.url.rsplit("/", 1)[1]))
    assert study["spec"] == client.validate(text)["spec"]
    assert study["spec"]["search"]["sampler"] == "tpe"
    assert study["spec"]["workload"]["options"]["epochs"] == 3
    assert study["spec"]["arms"][0]["search"]["weight_decay"] == {"log": [0.01, 0.1]}


def test_a_server_that_does_not_answer_loses_nothing(form):
    page = form(allowed="net::ERR_")
    page.get_by_label("Name").first.fill("patience")
    page.route("**/api/v1/studies*", lambda route: route.abort())
    submit(page)
    expect(page.locator("#problems")).to_contain_text("the server does not answer")
    expect(page.locator("#banner")).to_contain_text("nothing can be changed now")
    expect(page.get_by_label("Name").first).to_have_value("patience")
    expect(page.get_by_role("button", name="Submit the study")).to_be_enabled()
