"""The operator's console in a real Chromium: what an operator sees and does when the data platform fails, comes
back, and refuses an event for good. Run by `run` beside servers of its own."""

import json
import re
import signal
import sys
import time
from contextlib import contextmanager

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

from system import ROOT, TOKEN, Customers, System, call, eventually

PICTURES = ROOT / "docs/img"
LAPTOP = {"width": 1280, "height": 860}
PHONE = {"width": 390, "height": 844}
# From the request to the status on the page.
USEFUL_SECONDS = 1.0
# Longest wait for something that the page is to show.
PATIENCE_MS = 30_000

# A line of the chart that has been drawn.
LINE = re.compile(r"^M[\d.]+ [\d.]+")

# Noted before any script of the page runs.
NOTE_VIOLATIONS = """
    window.violations = [];
    document.addEventListener("securitypolicyviolation", (event) =>
        window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
"""


class Watched:
    """A page whose console errors and violations of its policy are noted, and are none at the end."""

    def __init__(self, browser, system, **options):
        self.context = browser.new_context(base_url=system.operator, **options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.add_init_script(NOTE_VIOLATIONS)
        self.errors = []
        self.page.on("console", self._note_complaint)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._note_elsewhere)
        self.base = system.operator

    def _note_complaint(self, message):
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def _note_elsewhere(self, request):
        if not request.url.startswith((self.base, "data:")):
            self.errors.append(f"asked elsewhere: {request.url}")

    def check(self):
        assert self.errors == [], self.errors
        assert self.page.evaluate("window.violations") == []

    def sign_in(self):
        self.page.goto("/console")
        self.page.get_by_label("Operator’s token").fill(TOKEN)
        self.page.keyboard.press("Enter")
        self.page.wait_for_url("**/console")

    def is_accessible(self):
        """Contrast, names, landmarks and more, as axe-core finds them."""
        found = Axe().run(self.page)
        assert found.violations_count == 0, found.generate_report()

    def fits(self):
        """Nothing is wider than the window, once the picture and the chart are made anew for it."""
        width = self.page.evaluate("window.innerWidth")
        is_within = "document.documentElement.scrollWidth <= window.innerWidth"
        eventually(f"all is within {width} px", lambda: self.page.evaluate(is_within), seconds=5)

    def picture(self, name, element=None):
        if "--screenshots" in sys.argv:
            PICTURES.mkdir(parents=True, exist_ok=True)
            (element or self.page).screenshot(path=PICTURES / f"{name}.png")


@contextmanager
def step(title):
    started = time.monotonic()
    yield
    print(f"✓ {title} ({time.monotonic() - started:.1f} s)", flush=True)


def word(page):
    return page.locator("#word")


def node(page, title):
    """A box of the picture, by its title."""
    return page.locator("#pipeline .node").filter(has_text=title)


def number(page, title):
    text = node(page, title).locator(".count").first.text_content()
    return int(text.replace(",", "").replace("–", "0"))


def choose_fault(page, mode, subjects=None):
    page.get_by_role("radio", name=mode, exact=True).check()
    if subjects:
        page.get_by_label("Orders").fill(" ".join(subjects))
    page.get_by_role("button", name="Switch").click()
    expect(node(page, "Data platform")).to_contain_text(f"mock: {mode}")


# MARK: the steps


def asks_for_the_token(browser, system):
    watched = Watched(browser, system)
    page = watched.page
    page.goto("/console")
    page.wait_for_url("**/console/sign-in")
    watched.is_accessible()
    page.get_by_label("Operator’s token").fill("not the token")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("This is not the operator’s token.")
    # Chromium itself notes that the sign-in was answered with 401.
    assert all("401" in error for error in watched.errors), watched.errors
    watched.context.close()


def is_useful_at_once(watched, system):
    watched.sign_in()
    started = time.monotonic()
    watched.page.goto("/console")
    expect(word(watched.page)).to_have_text("ok")
    seconds = time.monotonic() - started
    print(f"  shows the status after {seconds:.2f} s")
    assert seconds < USEFUL_SECONDS, f"useful after {seconds:.2f} s only"
    [cookie] = watched.context.cookies()
    assert cookie["httpOnly"] and cookie["sameSite"] == "Strict", cookie


def shows_what_flows(page):
    expect(page.locator("#live")).to_contain_text("live")
    eventually("orders are seen to be committed", lambda: "0 orders/s" != page.locator(".label").first.text_content())
    expect(page.locator("#chart path.p99")).to_have_attribute("d", LINE)
    expect(page.locator("#jobs")).to_contain_text("popular-products")
    expect(node(page, "order-api")).to_have_attribute("data-state", "ok")


def shows_what_sells(page):
    """Once the scheduler has run its job, which it does each minute."""
    expect(page.locator("#popular progress").first).to_be_visible(timeout=70_000)
    expect(page.locator("#popular tr").first).to_contain_text("1")
    expect(page.locator("#jobs .badge").first).to_have_text("ok")


def shows_the_outage(watched, system, customers):
    page = watched.page
    choose_fault(page, "down")
    expect(word(page)).to_have_text("stop")
    expect(node(page, "Consumer")).to_contain_text("circuit open")
    expect(page.locator("#reasons")).to_contain_text("The circuit is open")
    assert page.title().startswith("stop"), page.title()
    before = waiting(page)
    eventually("the lag rises", lambda: waiting(page) > before + 10)
    expect(page.locator("#chart path.oldest")).to_have_attribute("d", LINE)
    # One that the platform will refuse for good.
    return customers.order()


def waiting(page):
    return number(page, "Queue") + number(page, "Retry tiers") + number(page, "Consumer")


def finds_the_refused_one(page, poison):
    choose_fault(page, "reject", [poison])
    letter = page.locator("#letters .letter")
    expect(letter).to_have_count(1, timeout=60_000)
    expect(letter).to_contain_text("422")
    expect(node(page, "Dead letters")).to_contain_text("1")
    expect(word(page)).to_have_text("warn", timeout=60_000)
    expect(node(page, "Consumer")).to_contain_text("circuit closed")
    letter.locator("summary").click()
    expect(letter.locator("pre")).to_contain_text(poison)
    letter.get_by_role("button", name="Trace the first").click()
    expect(page.locator("#trace")).to_contain_text("given up")
    expect(page.locator("#trace .badge")).to_have_text("dead letter")


def waits_for_a_slow_look(browser, system):
    """On a page whose news, and whose way to the server, are the test's: while a look at the dead letters takes long no
    other is begun, whatever is counted meanwhile, and a hidden page does not look. Then redrives get lost."""
    watched = Watched(browser, system, viewport=LAPTOP)
    page = watched.page
    watched.sign_in()
    told = watched.context.request.get("/console/api/snapshot").json()
    counted = told["snapshot"]["queues"]["value"]
    assert counted["deadLetters"] == 1, counted
    looks = []
    orders = []

    def order_again(route):
        order = route.request.post_data_json
        if order["dryRun"]:
            route.continue_()
            return
        orders.append(order)
        if len(orders) == 1:
            route.abort()
        else:
            route.fulfill(status=500 if len(orders) == 2 else 409, json={"detail": "so the test says"})

    page.route("**/console/api/events", lambda route: route.fulfill(
        content_type="text/event-stream", body=f"retry: 300\ndata: {json.dumps(told)}\n\n"))
    page.route("**/console/api/dead-letters", lambda route: looks.append(route))
    page.route("**/console/api/redrives", order_again)
    page.add_init_script("Object.defineProperty(document, 'hidden', { get: () => window.isHidden === true })")
    page.goto("/console")
    eventually("it looks", lambda: page.wait_for_timeout(50) or looks)
    counted["deadLetters"] = 0
    page.wait_for_timeout(3_000)  # longer than the pause between two looks
    assert len(looks) == 1, f"{len(looks)} looks at once"
    expect(page.locator("#letters-text")).not_to_contain_text("None")
    counted["deadLetters"] = 1
    looks[0].continue_()
    expect(page.locator("#letters .letter")).to_have_count(1)

    page.evaluate("window.isHidden = true")
    counted["deadLetters"] = 2
    page.wait_for_timeout(3_000)
    assert len(looks) == 1, "a hidden page looks"
    page.evaluate("window.isHidden = false")
    eventually("it looks again once it is seen", lambda: page.wait_for_timeout(50) or len(looks) == 2)
    looks[1].continue_()
    page.unroute("**/console/api/dead-letters")

    for said in ("It is not known how many were sent: order-api does not answer",
                 "It is not known how many were sent: so the test says", "Nothing was sent: so the test says"):
        page.get_by_role("button", name="Send again…").click()
        page.get_by_role("button", name="Send 1 again").click()
        expect(page.locator("#letters-text")).to_contain_text(said)
    assert orders[0]["redriveId"] and orders[0] == orders[1] == orders[2], orders
    watched.context.close()


def sends_it_again(page):
    """With the keyboard alone."""
    choose_fault(page, "ok")
    page.get_by_role("button", name="Send again…").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Dry run: 1 would go to the consumer once more.")
    expect(dialog.get_by_role("button", name="Send 1 again")).to_be_focused()
    # A dry run changes nothing.
    expect(page.locator("#letters .letter")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(dialog).not_to_be_visible()
    expect(page.locator("#letters .letter")).to_have_count(1)
    expect(page.get_by_role("button", name="Send again…")).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("button", name="Send 1 again")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#letters .letter")).to_have_count(0)


def follows_it(page, system, poison):
    trace = page.locator("#trace")
    expect(trace.locator(".badge")).to_have_text("delivered")
    expect(trace).to_contain_text("given up")
    expect(trace).to_contain_text("sent again")
    arrived = call("GET", f"{system.platform}/v1/events?subject={poison}")
    assert poison in str(arrived), arrived
    # Those that waited through the outage count in the percentiles for minutes.
    expect(word(page)).to_have_text(re.compile("^(ok|warn)$"))
    expect(node(page, "Dead letters").locator(".count")).to_have_text("0")


def can_be_used_by_keyboard(page):
    page.goto("/console")
    expect(word(page)).to_have_text("ok")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the status")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("textbox", name="Order")).to_be_focused()
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", f"the focus is not seen: {outline}"
    page.get_by_role("radio", name="ok").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="down")).to_be_checked()
    expect(page.get_by_label("Answers")).to_be_visible()
    page.keyboard.press("ArrowLeft")


def says_when_a_source_is_silent(watched, system):
    page = watched.page
    system.signal("consumer", signal.SIGSTOP)
    try:
        expect(node(page, "Consumer")).to_contain_text("no data since")
        expect(word(page)).to_have_text("unknown")
        expect(page.locator("#chart-text")).to_contain_text("No data since")
        # Whoever else answers is shown as before.
        expect(node(page, "order-api")).to_have_attribute("data-state", "ok")
        watched.picture("console-silent-consumer")
    finally:
        system.signal("consumer", signal.SIGCONT)
    expect(word(page)).not_to_have_text("unknown")


def says_when_it_is_old(page, system):
    system.signal("order-api", signal.SIGSTOP)
    try:
        expect(page.locator("#old")).to_contain_text("No news from order-api since")
        expect(page.locator("#live")).to_have_text("not live")
    finally:
        system.signal("order-api", signal.SIGCONT)
    expect(page.locator("#old")).to_be_hidden(timeout=PATIENCE_MS)


def fits_a_phone(browser, system):
    watched = Watched(browser, system, viewport=PHONE, has_touch=True, is_mobile=True, device_scale_factor=2)
    watched.sign_in()
    expect(word(watched.page)).to_have_text("ok")
    expect(watched.page.locator("#newest button").first).to_be_visible()
    watched.fits()
    watched.is_accessible()
    watched.picture("console-phone")
    watched.check()
    watched.context.close()


def can_be_read_in_the_dark(browser, system):
    watched = Watched(browser, system, viewport=LAPTOP, color_scheme="dark", reduced_motion="reduce")
    watched.sign_in()
    page = watched.page
    expect(word(page)).to_have_text("ok")
    eventually("something flows", lambda: page.locator(".arrow[data-state=flowing]").count() > 0)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(int(part) for part in background[4:-1].split(",")) < 64, background
    motion = page.evaluate("getComputedStyle(document.querySelector('.arrow[data-state=flowing] .flow')).animationName")
    assert motion == "none", "it moves although that is not wanted"
    watched.is_accessible()
    watched.picture("console-dark")
    watched.check()
    watched.context.close()


def fits_every_window(watched):
    for width in (1600, 1001, 1000, 820, 760, 600, 390, 320):
        watched.page.set_viewport_size({"width": width, "height": 860})
        watched.fits()
    watched.page.set_viewport_size(LAPTOP)


def use_console(browser, system):
    with step("asks for the token"):
        asks_for_the_token(browser, system)
    watched = Watched(browser, system, viewport=LAPTOP)
    page = watched.page
    with Customers(system, orders_per_second=20) as customers:
        with step("is useful at once"):
            is_useful_at_once(watched, system)
        with step("shows what flows"):
            shows_what_flows(page)
            watched.is_accessible()
        if "--screenshots" in sys.argv:
            page.wait_for_timeout(60_000)  # for a chart with something on it, and places that have changed
        watched.picture("console")
        with step("can be used by keyboard"):
            can_be_used_by_keyboard(page)
        with step("fits every window"):
            fits_every_window(watched)
        with step("fits a phone"):
            fits_a_phone(browser, system)
        with step("can be read in the dark, without motion"):
            can_be_read_in_the_dark(browser, system)
        with step("shows the outage"):
            poison = shows_the_outage(watched, system, customers)
            watched.is_accessible()
            watched.picture("console-outage")
        with step("finds the event that is refused"):
            finds_the_refused_one(page, poison)
            watched.is_accessible()
            page.locator("#letters-title").evaluate("title => title.scrollIntoView()")
            watched.picture("console-dead-letter")
        with step("waits for a slow look, and says when it does not know what was sent"):
            waits_for_a_slow_look(browser, system)
        with step("sends it again, with the keyboard"):
            sends_it_again(page)
        with step("follows it to the platform"):
            follows_it(page, system, poison)
            watched.picture("console-trace", page.locator("section", has=page.locator("#trace-title")))
        with step("shows what sells"):
            shows_what_sells(page)
        with step("says when a source is silent"):
            says_when_a_source_is_silent(watched, system)
        with step("says when all is old"):
            says_when_it_is_old(page, system)
        watched.check()
    assert customers.failures == [], customers.failures[:5]
    with step("ends with its viewers"):
        for name in list(system.running):
            system.stop(name)
        expect(page.locator("#live")).to_have_text("not live")


def main():
    started = time.monotonic()
    expect.set_options(timeout=PATIENCE_MS)
    with System() as system, sync_playwright() as playwright:
        # As root Chromium refuses to run with its sandbox.
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        try:
            use_console(browser, system)
        finally:
            browser.close()
    print(f"The console does what it should, in {time.monotonic() - started:.0f} s.")


if __name__ == "__main__":
    main()
