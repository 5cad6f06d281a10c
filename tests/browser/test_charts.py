"""The charts of a study's page in real Chromium: drawn, read as a table, downloaded, redrawn, reached by keyboard."""

import csv
import io
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from service.reports import store_report
from tests.browser.filling import fill
from tests.browser.shots import see_all

CHARTS = {
    "budget": ["expected-best", "difference"],
    "sensitivity": ["importance", *(f"dependence-{i}" for i in range(1, 5)), "surface-1", "surface-2", "parallel"],
    "curves": ["curves"],
    "invariance": ["weight_norm", "effective_lr", "projection_rate"],
}
PIXELS = """const pixels = (canvas) => {
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", {willReadFrequently: true});
  copy.drawImage(canvas, 0, 0);
  return copy.getImageData(0, 0, canvas.width, canvas.height).data;
};"""
N_COLOURS = f"""canvas => {{
  {PIXELS}
  const found = pixels(canvas), seen = new Set();
  for (let i = 0; i < found.length; i += 4) seen.add(`${{found[i]}},${{found[i + 1]}},${{found[i + 2]}}`);
  return seen.size;
}}"""
GROUND = f"canvas => {{ {PIXELS} return [...pixels(canvas).slice(-4, -1)]; }}"


@pytest.fixture(scope="module")
def study(module_ledger) -> int:
    with module_ledger[1].transaction() as connection:
        study_id = fill(connection, 200)
    store_report(module_ledger[1], study_id)
    return study_id


def chart(page: Page, name: str):
    found = page.locator(f"#chart-{name}")
    found.scroll_into_view_if_needed()
    expect(found).to_have_attribute("data-drawn", "yes")
    return found


def test_every_chart_draws_in_both_themes_and_at_390_pixels(signed_in, study):
    page = signed_in(f"/studies/{study}", color_scheme="light")
    see_all(page)
    for section, names in {"overview": ["effects"], **CHARTS}.items():
        for name in names:
            canvas = page.locator(f"#{section} #chart-{name} canvas").first
            assert canvas.evaluate(N_COLOURS) > 8, name
            assert canvas.evaluate(GROUND) == [255, 255, 255], name
    page.get_by_label("Theme").select_option("dark")
    assert chart(page, "curves").locator("canvas").first.evaluate(GROUND) == [0x14, 0x16, 0x1A]
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    for name in ("effects", "expected-best", "surface-1", "parallel"):
        box = page.locator(f"#chart-{name} canvas").first.bounding_box()
        assert box is not None
        assert 300 < box["width"] <= 390, name
        assert page.locator(f"#chart-{name} canvas").first.evaluate(N_COLOURS) > 8, name


def test_a_chart_is_a_table_a_file_and_a_picture(signed_in, study):
    page = signed_in(f"/studies/{study}#chart-expected-best")
    figure = chart(page, "expected-best")
    assert "Expected best" in (page.locator("#chart-expected-best .plot").get_attribute("aria-label") or "")
    figure.get_by_role("button", name="Table").click()
    rows = figure.get_by_role("table").get_by_role("row")
    files = {}
    for name in ("CSV", "SVG", "PNG"):
        with page.expect_download() as download:
            figure.get_by_role("button", name=name).click()
        files[name] = Path(download.value.path()).read_bytes()
        assert download.value.suggested_filename == f"studies-{study}-expected-best.{name.lower()}"
    lines = list(csv.DictReader(io.StringIO(files["CSV"].decode())))
    assert len(lines) == 4 * 10 == rows.count() - 1
    assert set(lines[0]) == {"arm", "trials", "expected best", "from", "to"}
    assert files["SVG"].startswith(b"<svg")
    assert b"adamp" in files["SVG"]
    assert files["PNG"].startswith(b"\x89PNG")
    figure.get_by_role("button", name="Table").click()
    expect(figure.get_by_role("table")).to_have_count(0)


def test_a_link_to_a_section_shows_it_when_the_parts_above_have_grown(signed_in, study):
    page = signed_in(f"/studies/{study}?phase=search#curves")
    expect(page.locator("#chart-curves[data-drawn]")).to_be_in_viewport()
    page = signed_in(f"/studies/{study}?filter=state%3Dcomplete&sort=value#trials")
    expect(page.locator("#trials h2")).to_be_in_viewport()
    expect(page.locator("#trials tbody tr").first).to_be_in_viewport()


def test_the_slider_moves_by_keyboard_says_its_values_and_is_in_the_address(signed_in, study):
    page = signed_in(f"/studies/{study}?at=3#budget")
    chart(page, "expected-best")
    chart(page, "difference")
    slider = page.get_by_label("At a budget of")
    expect(slider).to_have_attribute("aria-valuetext", "3 trials per cell")
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuetext", "4 trials per cell")
    expect(page.locator("#budget-words")).to_contain_text("adamp against adamw")
    assert "at=4" in page.url


def test_a_choice_reloads_its_section_alone_and_stays_in_a_copied_link(signed_in, study):
    page = signed_in(f"/studies/{study}?layer=conv2.weight#curves")
    chart(page, "curves")
    page.evaluate("window.stayed = true")
    page.get_by_label("Metric").select_option("train_loss")
    expect(page.locator("#chart-curves h3")).to_have_text("Train loss over training")
    page.get_by_label("Smoothing").select_option("0.6")
    expect(page.locator("#chart-curves figcaption")).to_contain_text("smoothed with weight 0.6")
    assert page.evaluate("window.stayed") is True
    assert all(part in page.url for part in ("layer=conv2.weight", "metric=train_loss", "smooth=0.6"))
    kept = page.locator("#chart-curves").element_handle()
    with page.expect_response("**/charts/curves?*"):
        page.locator("#curves").get_by_role("button", name="Show").click()
    assert kept is not None
    assert kept.evaluate("figure => figure.isConnected"), "the chart moves to its new data instead of flashing"
    assert page.locator("#chart-curves canvas").first.evaluate(N_COLOURS) > 8
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    copy = page.locator("#chart-curves").get_by_role("button", name="Copy link")
    copy.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#toast")).to_have_text("Copied")
    page.goto(page.evaluate("navigator.clipboard.readText()"))
    expect(page.locator("#chart-curves h3")).to_have_text("Train loss over training")
    expect(page.locator("#chart-curves")).to_be_in_viewport()


HEAT = """async () => {
  const loaded = performance.getEntriesByType("resource").map(({name}) => name);
  const {drawHeat} = await import(loaded.find((name) => name.includes("/draw-heat")));
  const data = {title: "", caption: "", x: {name: "delta", names: ["1", "2", "3"]}, y: {name: "wd_ratio", names: ["1"]},
                cells: [[0, 0, 0.1, 2], [1, 0, 0.05, 40], [2, 0, 0.2, 3]], best: [1, 0], scale: [0.05, 0.2]};
  const {option} = drawHeat(data, {}, 600);
  const cells = option.series[0].data.map(({cell, itemStyle}) => [cell[0], "decal" in itemStyle]);
  return {decals: option.aria.decal.show, cells};
}"""


def test_a_heat_map_hatches_only_cells_of_few_trials_and_draws_the_best_over_its_neighbours(signed_in, study):
    page = signed_in(f"/studies/{study}#sensitivity")
    chart(page, "surface-1")
    assert page.evaluate(HEAT) == {"decals": False, "cells": [[0, True], [2, False], [1, False]]}


def test_a_failed_refresh_keeps_the_chart_and_says_since_when(browser, server, study):
    with browser.new_context(base_url=server.address) as context, server.client() as client:
        page = context.new_page()
        page.goto(client.login_link(f"/studies/{study}"))
        effects = chart(page, "effects")
        page.route("**/charts/effects", lambda route: route.fulfill(status=503, json={"detail": "the ledger is away"}))
        effects.dispatch_event("refresh")
        # A chart rests after each load, the longer the load took: on a busy machine for more than the usual patience.
        expect(effects.locator(".chart-note")).to_contain_text("as of ", timeout=60_000)
        expect(effects.locator(".chart-note")).to_contain_text("the ledger is away")
        expect(effects.locator("canvas").first).to_be_visible()


def test_without_the_library_a_chart_is_its_table(browser, server, study):
    with browser.new_context(base_url=server.address) as context, server.client() as client:
        page = context.new_page()
        page.route("**/static/echarts*", lambda route: route.abort())
        page.goto(client.login_link(f"/studies/{study}"))
        effects = page.locator("#chart-effects")
        expect(effects.get_by_role("table")).to_contain_text("sgdp against sgdw")
        expect(effects.locator(".chart-note")).to_contain_text("did not load")
        expect(effects.get_by_role("button", name="CSV")).to_be_visible()
        expect(effects.get_by_role("button", name="PNG")).to_be_hidden()


def test_a_study_without_trials_says_so_instead_of_empty_axes(signed_in, module_ledger):
    with module_ledger[1].transaction() as connection:
        study_id = fill(connection, 150, name="no-search")
    page = signed_in(f"/studies/{study_id}#sensitivity")
    figure = page.locator("#chart-parallel")
    figure.scroll_into_view_if_needed()
    expect(figure).to_have_attribute("data-drawn", "empty")
    expect(figure.locator(".chart-note")).to_contain_text("no finished")
    expect(figure.locator("canvas")).to_have_count(0)
