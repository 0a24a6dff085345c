"""The page in a real browser: drawn, filtered, played, driven by keys, in the dark, on a phone, on paper."""

import json
import time

import pytest

from flightsim.causes import MISS_CAUSES, MissCause
from flightsim.report import material

from . import browser as chromium
from .reports import real_run, statistical_run

pytestmark = pytest.mark.skipif(
    chromium.find() is None,
    reason=f"SKIPPED LOUDLY: no browser ({', '.join(chromium.NAMES)}); nothing checked that the page works in one",
)


@pytest.fixture(scope="module")
def chrome():
    with chromium.Browser() as found:
        yield found


@pytest.fixture
def tab(chrome):
    """A browser on the page of the run without pictures, at a desktop's size."""
    chrome.script(allowed=True)
    chrome.media()
    chrome.size(1200, 900)
    chrome.open(statistical_run() / "report.html")
    return chrome


@pytest.fixture
def pictured(chrome):
    """The same for the run with pictures."""
    chrome.script(allowed=True)
    chrome.media()
    chrome.size(1200, 900)
    chrome.open(real_run() / "report.html")
    return chrome


def text_of(tab, selector):
    return tab.run(f"document.querySelector({json.dumps(selector)}).textContent")


def box_of(tab, selector):
    return tab.run(
        f"(() => {{ const b = document.querySelector({json.dumps(selector)}).getBoundingClientRect(); "
        "return [b.x, b.y, b.width, b.height]; })()"
    )


def choose(tab, name, value):
    """Pick an entry of a filter the way a person does: the select changes and says so."""
    tab.run(
        f"(() => {{ const s = document.querySelector('#f-{name}'); s.value = {json.dumps(value)}; "
        "s.dispatchEvent(new Event('change')); })()"
    )


def tiles_shown(tab):
    return int(text_of(tab, "#count").split()[0].replace(",", ""))


def set_time(tab, time_s):
    tab.run(
        f"(() => {{ const s = document.querySelector('#time'); s.value = {time_s}; "
        "s.dispatchEvent(new Event('input')); })()"
    )


def wait_until(tab, expression):
    """Asks until something holds; a film needs its frames."""
    until = time.monotonic() + 20.0
    while not tab.run(expression):
        assert time.monotonic() < until, f"never: {expression}"


def focus(tab, selector):
    tab.run(f"document.querySelector({json.dumps(selector)}).focus()")


@pytest.mark.parametrize("run", [statistical_run, real_run])
def test_no_complaints_and_no_requests(chrome, run):
    chrome.script(allowed=True)
    chrome.size(1200, 900)
    chrome.open(run() / "report.html")
    assert chrome.complaints() == []
    asked = [url for url in chrome.requests() if not url.startswith("data:")]
    assert asked == [(run() / "report.html").resolve().as_uri()]
    assert chrome.run("document.documentElement.classList.contains('live')")


def test_a_script_that_is_not_the_pages_own_is_blocked(tab):
    tab.run(
        "(() => { const s = document.createElement('script'); s.textContent = 'window.bad = 1'; "
        "document.body.append(s); })()"
    )
    assert tab.run("window.bad === undefined")
    assert any("Content Security Policy" in text for text in tab.complaints())


@pytest.mark.parametrize("run", [statistical_run, real_run])
def test_every_figure_is_drawn(chrome, run):
    chrome.script(allowed=True)
    chrome.size(1200, 900)
    chrome.open(run() / "report.html")
    boxes = chrome.run(
        "[...document.querySelectorAll('main figure, figure svg, ol.bars')].filter(e => !e.closest('.card.extra'))"
        ".map(e => [e.id || e.tagName, e.getBoundingClientRect().width, e.getBoundingClientRect().height])"
    )
    assert len(boxes) > 15
    assert all(width > 10 and height > 5 for _, width, height in boxes), boxes
    # What is drawn lies inside of its drawing.
    for shape in (".land", "#areas .area", "#stations .station", ".plane .run", ".lane .level", ".lane .radiated"):
        _, _, width, height = box_of(chrome, shape)
        assert width > 0.5, shape
        assert height > 0.0, shape


def test_the_first_screen_answers(tab):
    """On a laptop the three answers stand above the fold: what was saved, what is known, what was missed and why."""
    _, y, width, height = box_of(tab, "#answer")
    assert y + height <= 900
    assert width > 1000
    said = text_of(tab, "#answer")
    for words in ("What was saved?", "What is still known?", "What was missed, and why?", "cloud hid it"):
        assert words in said


def test_a_bar_shows_its_tiles_and_again_all(tab):
    found = material.read_material(statistical_run())
    everything = tiles_shown(tab)
    assert everything == len(found.tiles["tile_id"])
    cause, misses = max(found.metrics["misses"].items(), key=lambda item: item[1])
    column = MISS_CAUSES.index(MissCause(cause))
    tab.click(f"a[data-filter$='cause={cause}']")
    assert tiles_shown(tab) == int((found.missed == column).any(axis=1).sum()) < everything
    assert f"{misses:,} events" in text_of(tab, "#count")
    assert tab.run(f"document.querySelector('#f-cause').value === {json.dumps(cause)}")
    rows = tab.run("[...document.querySelectorAll('#tile-table tbody tr')].map(r => r.cells[4].textContent)")
    assert rows
    words = text_of(tab, f"a[data-filter$='cause={cause}'] .name")
    assert all(words in row for row in rows)
    assert tab.run(f"document.querySelector(\"a[data-filter$='cause={cause}']\").classList.contains('chosen')")
    tab.click("#clear")
    assert tiles_shown(tab) == everything


def test_filters_count_what_the_tables_hold(tab):
    found = material.read_material(statistical_run())
    choose(tab, "outcome", "missed")
    assert tiles_shown(tab) == int((found.missed >= 0).any(axis=1).sum())
    choose(tab, "schema", found.schemas[0])
    assert tiles_shown(tab) == int((found.missed[:, 0] >= 0).sum())
    choose(tab, "outcome", "")
    choose(tab, "schema", "")
    area = found.tiles["area"][0]
    choose(tab, "area", area)
    assert tiles_shown(tab) == int((found.tiles["area"] == area).sum())
    choose(tab, "area", "")
    choose(tab, "action", "thumbnail")
    assert tiles_shown(tab) == int((found.tiles["action"] == "thumbnail").sum())
    choose(tab, "action", "")
    choose(tab, "outcome", "quiet")
    positive = found.questions["changed"] & found.questions["labelled"]
    assert tiles_shown(tab) == int((~positive.any(axis=1) & ~(found.alarms >= 0).any(axis=1)).sum())


def test_the_table_sorts_and_turns_pages(tab):
    assert tab.run("document.querySelectorAll('#tile-table tbody tr').length") == 25
    first = "document.querySelector('#tile-table tbody tr').cells[7].textContent"
    tab.click("#tile-table th:nth-child(8) button")
    assert tab.run("document.querySelector('#tile-table th:nth-child(8)').ariaSort") == "descending"
    largest = tab.run(first)
    tab.click("#tile-table th:nth-child(8) button")
    assert tab.run(first) == "0 B" != largest
    before = text_of(tab, "#tile-table tbody")
    tab.click("#pager [data-page='1']")
    assert text_of(tab, "#page").startswith("page 2 of ")
    assert text_of(tab, "#tile-table tbody") != before


def test_play_moves_the_spacecraft_and_reveals_what_is_known(tab):
    assert text_of(tab, "#clock") == "whole run"
    final = text_of(tab, "#ticker")
    tab.click("#play")
    wait_until(
        tab, "document.querySelector('#craft .craft') !== null && Number(document.querySelector('#time').value) > 0"
    )
    early = tab.run("document.querySelector('#craft .craft').getAttribute('transform')")
    wait_until(tab, f"document.querySelector('#craft .craft').getAttribute('transform') !== {json.dumps(early)}")
    tab.click("#play")
    assert tab.run("document.querySelector('#play').getAttribute('aria-pressed')") == "false"
    stopped = tab.run("document.querySelector('#time').value")
    assert tab.run("new Promise(done => setTimeout(() => done(document.querySelector('#time').value), 60))") == stopped
    set_time(tab, 60)
    assert text_of(tab, "#ticker").startswith("0 tiles imaged")
    counts = []
    for share in (0.2, 0.5, 0.8):
        set_time(tab, share * 3 * 86400)
        counts.append(int(text_of(tab, "#ticker").split(" radiated · ")[1].split()[0].replace(",", "")))
    assert counts == sorted(counts)
    set_time(tab, 1e9)
    assert text_of(tab, "#ticker") == final


def test_a_contact_draws_its_line(tab):
    found = material.read_material(statistical_run())
    booked = found.contacts["booked"].astype(bool)
    middle = 0.5 * (found.contacts["aos_s"] + found.contacts["los_s"])[booked][0]
    set_time(tab, round(middle / 60) * 60)
    assert tab.run("document.querySelectorAll('#craft .link').length") == 1
    assert text_of(tab, ".station.linked text") == found.contacts["station"][booked][0]


def test_the_spacecraft_stands_over_the_tile_that_it_images(tab):
    found = material.read_material(statistical_run())
    captured = float(found.tiles["captured_s"][100])
    set_time(tab, round(captured / 60) * 60)
    where = tab.run("document.querySelector('#craft .craft').getAttribute('transform')")
    lon, lat = (float(x) for x in where[where.index("(") + 1 : where.index(")")].split(","))
    assert abs(-lat - found.tiles["lat_deg"][100]) < 4.5
    assert abs(lon - found.tiles["lon_deg"][100]) < 12.0


def view(tab):
    return [float(x) for x in tab.run("document.querySelector('#map-svg').getAttribute('viewBox')").split()]


def moved(tab, selector, before):
    """Waits until a drawing shows another part of itself: clicks are answered in the browser's own time."""
    wait_until(tab, f"document.querySelector('{selector}').getAttribute('viewBox').split(' ').some("
               f"(x, k) => Math.abs(Number(x) - {before}[k]) > 1e-9)")  # fmt: skip


def test_the_map_zooms_by_key_button_drag_and_area(tab):
    whole = view(tab)
    focus(tab, "#map .map")
    tab.key("+", text="+")
    near = view(tab)
    assert near[2] < whole[2]
    tab.key("ArrowRight")
    assert view(tab)[0] > near[0]
    tab.key("0", text="0")
    assert view(tab) == whole
    tab.click("[data-map='in']")
    moved(tab, "#map-svg", whole)
    assert view(tab)[2] < whole[2]
    before = view(tab)
    tab.run("document.querySelector('#map').scrollIntoView({block: 'start', behavior: 'instant'})")
    x, y, width, height = box_of(tab, "#map-svg")
    tab.drag((x + width / 2, y + height / 2), (x + width / 4, y + height / 2))
    moved(tab, "#map-svg", before)
    assert view(tab)[0] > before[0]
    tab.click("[data-map='reset']")
    wait_until(tab, f"document.querySelector('#map-svg').getAttribute('viewBox').split(' ')[2] == {whole[2]}")
    name = tab.run("document.querySelector('#areas .area').dataset.area")
    tab.click("#areas .area")
    moved(tab, "#map-svg", whole)
    assert tab.run("document.querySelector('#f-area').value") == name
    assert view(tab)[2] < 1.0
    # Close up every tile of the area is a mark of its own.
    assert tab.run("document.querySelectorAll('#tile-marks > *').length") == tiles_shown(tab)


def test_space_plays_on_the_map(tab):
    focus(tab, "#map .map")
    tab.key(" ", code=32, text=" ")
    assert tab.run("document.querySelector('#play').getAttribute('aria-pressed')") == "true"
    tab.key(" ", code=32, text=" ")
    assert tab.run("document.querySelector('#play').getAttribute('aria-pressed')") == "false"


def test_arrows_move_the_time(tab):
    set_time(tab, 86400)
    focus(tab, "#time")
    tab.key("ArrowRight", code=39)
    assert tab.run("document.querySelector('#time').value") == "87000"
    tab.key("ArrowLeft", code=37)
    assert tab.run("document.querySelector('#time').value") == "86400"


def span(tab):
    return [float(x) for x in tab.run("document.querySelector('.lane svg').getAttribute('viewBox')").split()]


def test_the_timeline_zooms_by_drag_wheel_and_key_and_filters(tab):
    whole, everything = span(tab), tiles_shown(tab)
    tab.run("document.querySelector('#timeline').scrollIntoView({block: 'center', behavior: 'instant'})")
    x, y, width, height = box_of(tab, ".lanes")
    tab.drag((x + 0.25 * width, y + height / 2), (x + 0.5 * width, y + height / 2))
    moved(tab, ".lane svg", whole)
    close = span(tab)
    assert close[0] == pytest.approx(0.25 * whole[2], rel=0.02)
    assert close[2] == pytest.approx(0.25 * whole[2], rel=0.02)
    lanes = tab.run("[...document.querySelectorAll('.lane svg')].map(s => s.getAttribute('viewBox'))")
    assert len(set(lanes)) == 1
    tab.click("#span-filter")
    captured = material.read_material(statistical_run()).tiles["captured_s"] / 3600.0
    inside = int(((captured >= close[0]) & (captured <= close[0] + close[2])).sum())
    assert tiles_shown(tab) == pytest.approx(inside, abs=2)
    tab.click("#span-filter")
    assert tiles_shown(tab) == everything
    focus(tab, ".lanes")
    tab.key("+", text="+")
    assert span(tab)[2] < close[2]
    tab.key("ArrowRight")
    assert span(tab)[0] > close[0]
    tab.key("0", text="0")
    assert span(tab) == whole
    wheel = {"type": "mouseWheel", "x": x + width / 2, "y": y + height / 2, "deltaX": 0}
    tab.send("Input.dispatchMouseEvent", deltaY=-120, **wheel)
    moved(tab, ".lane svg", whole)
    assert span(tab)[2] < whole[2]


def test_pointing_at_the_timeline_reads_its_values(tab):
    tab.run("document.querySelector('#timeline').scrollIntoView({block: 'center', behavior: 'instant'})")
    x, y, width, height = box_of(tab, ".lanes")
    tab.send("Input.dispatchMouseEvent", type="mouseMoved", x=x + width / 2, y=y + height / 2)
    assert "waiting for the link" in text_of(tab, "#timeline-values")


def test_the_page_does_not_take_the_wheel_before_a_figure_was_chosen(tab):
    whole = view(tab)
    tab.run("document.querySelector('#map').scrollIntoView({block: 'center', behavior: 'instant'})")
    x, y, _, _ = box_of(tab, "#map-svg")
    tab.send("Input.dispatchMouseEvent", type="mouseWheel", x=x + 50, y=y + 50, deltaX=0, deltaY=-120)
    assert view(tab) == whole


def test_pictures_follow_the_filter_and_change_to_short_wave(pictured):
    tab = pictured
    cards = tab.run("document.querySelectorAll('.card').length")
    visible = "[...document.querySelectorAll('.card')].filter(c => c.getBoundingClientRect().height > 0)"
    assert tab.run(f"{visible}.length") == min(6, cards)
    tab.click("#more-cards")
    assert tab.run(f"{visible}.length") == cards
    choose(tab, "outcome", "found")
    shown = tab.run(f"{visible}.map(c => c.dataset.outcome)")
    assert 0 < len(shown) < cards
    assert "found" in shown
    assert text_of(tab, "#card-count").startswith(f"{len(shown)} of {cards}")
    tab.click("#clear")
    assert tab.run(
        "[...document.querySelectorAll('.frame img')].every(i => i.naturalWidth > 0 || i.loading === 'lazy')"
    )
    first = "document.querySelector('img[data-swir]')"
    plain = tab.run(f"{first}.src")
    tab.click("#swir")
    assert tab.run(f"{first}.src === {first}.dataset.swir")
    tab.click("#swir")
    assert tab.run(f"{first}.src") == plain


def test_all_pictures_decode(pictured):
    assert pictured.run(
        "Promise.all([...document.querySelectorAll('.frame img')].map(i => { const p = new Image(); p.src = i.src; "
        "return p.decode().then(() => p.naturalWidth > 0); })).then(found => found.length > 10 && found.every(Boolean))"
    )


def test_keys_reach_everything_with_a_visible_focus(tab):
    """Walk through the page with the tab key: each kind of control gets the focus and shows it."""
    wanted = {"play", "time", "speed", "f-outcome", "f-cause", "f-schema", "f-area", "clear", "span-filter"}
    seen, boxes = set(), 0
    choose(tab, "outcome", "missed")  # "Show all" can be reached once there is something to clear
    for _ in range(90):
        tab.key("Tab", code=9)
        name, style, classes = tab.run(
            "(e => [e.id, getComputedStyle(e).outlineStyle, [...e.classList].join(' ')])(document.activeElement)"
        )
        assert style != "none", (name, classes)
        seen.add(name)
        boxes += classes in ("map", "lanes")
        if wanted <= seen and boxes >= 2:
            break
    assert wanted <= seen
    assert boxes >= 2


def test_controls_have_names(tab):
    nameless = tab.run(
        "[...document.querySelectorAll('button, select, input, a')].filter(e => !(e.textContent.trim() || e.ariaLabel "
        "|| (e.labels && [...e.labels].some(l => l.textContent.trim())))).map(e => e.outerHTML.slice(0, 80))"
    )
    assert nameless == []


@pytest.mark.parametrize("run", [statistical_run, real_run])
@pytest.mark.parametrize("width", [375, 768])
def test_a_phone_shows_it_without_scrolling_sideways(chrome, run, width):
    chrome.script(allowed=True)
    chrome.size(width, 800)
    chrome.open(run() / "report.html")
    assert chrome.run("document.documentElement.scrollWidth") <= width
    small = chrome.run(
        "[...document.querySelectorAll('.plane text, #stations text')].map(e => [e.textContent, "
        "e.getBoundingClientRect()]).filter(([t, b]) => b.height > 0 && b.height < 8 && b.width < 8).map(([t]) => t)"
    )
    assert small == []


def contrast(tab, selector):
    """WCAG contrast of an element's text with the page or card behind it."""
    return tab.run(
        f"""(() => {{
        const e = document.querySelector({json.dumps(selector)});
        const rgb = c => c.match(/[\\d.]+/g).slice(0, 4).map(Number);
        let back = e;
        while (rgb(getComputedStyle(back).backgroundColor)[3] === 0) back = back.parentElement;
        const linear = v => v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4;
        const lum = c => c.slice(0, 3).map(linear).reduce((s, v, k) => s + v * [0.2126, 0.7152, 0.0722][k], 0);
        const [a, b] = [lum(rgb(getComputedStyle(e).color)), lum(rgb(getComputedStyle(back).backgroundColor))];
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        }})()"""
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_dark_and_light_differ_and_can_be_read(tab, scheme):
    tab.media(prefers_color_scheme=scheme)
    bright = tab.run("Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])")
    assert (bright > 200) == (scheme == "light")
    for selector in ("h1", ".under", ".headline .line", ".source", "figcaption", "td", "button", ".warning"):
        assert contrast(tab, selector) >= 4.5, selector


def test_less_motion_is_respected(tab):
    tab.media(prefers_reduced_motion="reduce")
    assert tab.run("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
    steps = tab.run(
        "new Promise(done => { const seen = new Set(), s = document.querySelector('#time'); "
        "document.querySelector('#play').click(); const end = performance.now() + 1300; "
        "(function look() { seen.add(s.value); if (performance.now() < end) requestAnimationFrame(look); "
        "else { document.querySelector('#play').click(); done(seen.size); } })(); })"
    )
    assert steps <= 4  # two still pictures a second


def test_without_a_script_everything_essential_stands(chrome):
    chrome.size(1200, 900)
    chrome.script(allowed=False)
    chrome.media()
    chrome.open(real_run() / "report.html")
    chrome.script(allowed=True)  # to ask the page, which is loaded and ran nothing
    assert not chrome.run("document.documentElement.classList.contains('live')")
    hidden = chrome.run(
        "[...document.querySelectorAll('.scripted')].every(e => e.getBoundingClientRect().height === 0)"
    )
    assert hidden
    assert chrome.run("[...document.querySelectorAll('.card')].every(c => c.getBoundingClientRect().height > 100)")
    assert chrome.run("document.querySelectorAll('#tile-table tbody tr').length") > 5
    for shape in (".land", "#areas .area", ".plane .run", ".lane .level", ".axis span", "ol.bars .bar"):
        assert box_of(chrome, shape)[2] > 0, shape


def test_on_paper_controls_go_and_all_pictures_come(pictured):
    pictured.media("print")
    assert pictured.run(
        "[...document.querySelectorAll('.scripted')].every(e => e.getBoundingClientRect().height === 0)"
    )
    assert pictured.run("[...document.querySelectorAll('.card')].every(c => c.getBoundingClientRect().height > 50)")
